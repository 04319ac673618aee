//! The resolver that the application's DNS is redirected to.
//!
//! Takes: the mesh's names (a `watch` channel, so a new configuration counts at once) and the servers for all
//! other names. Gives: answers over UDP and TCP. Mesh names are answered here; everything else is forwarded
//! as the bytes it is. Guarantees: at most 1,024 queries under way, each for 5 seconds at most, then SERVFAIL; any
//! bytes are survived.

mod answer;
mod forward;
mod names;
mod serve;
mod upstreams;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::future::join_all;
pub use names::Names;
use serve::{Shared, Side};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
pub(crate) use upstreams::nameservers;

/// What the resolver has done since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Queries answered from the mesh's names.
    pub mesh: AtomicU64,
    /// Queries that another server answered.
    pub forwarded: AtomicU64,
    /// Queries that nobody answered, that came when too many were under way, or that were malformed.
    pub failed: AtomicU64,
}

/// A bound resolver.
pub struct Resolver {
    sides: Vec<Side>,
    address: SocketAddr,
    forward: Vec<SocketAddr>,
    counters: Arc<Counters>,
}

impl Resolver {
    /// Binds UDP and TCP at `address`. It must be a loopback address: a reply to a redirected datagram leaves
    /// with the wrong source if the socket is bound to the wildcard. With 127.0.0.1 also `[::1]` is bound at the
    /// same port, where there is IPv6: queries to IPv6 servers arrive there. `forward` are the servers for
    /// names that are not the mesh's; none: those of `/etc/resolv.conf`, read anew as it changes.
    ///
    /// # Errors
    /// The address is taken or not local.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr, forward: Vec<SocketAddr>, counters: Arc<Counters>) -> io::Result<Self> {
        let first = bind_both(address)?;
        let address = first.tcp.local_addr()?;
        let mut sides = vec![first];
        if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            match bind_both((Ipv6Addr::LOCALHOST, address.port()).into()) {
                Ok(side) => sides.push(side),
                Err(error) => tracing::debug!(%error, "no DNS on [::1]"),
            }
        }
        Ok(Self { sides, address, forward, counters })
    }

    /// Where it listens (the first of two addresses).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped. It never drains: an application that is stopping still asks.
    pub async fn run(self, names: watch::Receiver<Arc<Names>>) {
        let shared = Arc::new(Shared::new(names, self.forward, self.counters));
        join_all(self.sides.into_iter().map(|side| side.serve(shared.clone()))).await;
    }
}

/// Both protocols at one port. With port 0 the port that TCP was given may be taken for UDP: try others.
fn bind_both(address: SocketAddr) -> io::Result<Side> {
    let mut left = if address.port() == 0 { 8 } else { 1 };
    loop {
        left -= 1;
        let tcp = std::net::TcpListener::bind(address)?;
        match std::net::UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => {
                tcp.set_nonblocking(true)?;
                udp.set_nonblocking(true)?;
                return Ok(Side {
                    udp: Arc::new(UdpSocket::from_std(udp)?),
                    tcp: TcpListener::from_std(tcp)?,
                });
            }
            Err(error) if left == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
