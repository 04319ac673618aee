//! The resolver that the application's DNS is redirected to.
//!
//! Takes: the mesh's names (a `watch` channel, so a new configuration counts at once) and the servers for all
//! other names. Gives: answers over UDP and TCP. Mesh names are answered here; everything else is forwarded
//! as the bytes it is. Guarantees: at most 1,024 queries under way, each for 5 seconds at most, then SERVFAIL; any
//! bytes are survived.

pub(crate) mod answer;
mod forward;
pub(crate) mod names;
mod serve;
mod upstreams;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
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

    /// The sockets of a predecessor, pair by pair; none if there are none.
    ///
    /// # Errors
    /// What came is no such socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn inherit(
        udp: Vec<OwnedFd>,
        tcp: Vec<OwnedFd>,
        forward: Vec<SocketAddr>,
        counters: Arc<Counters>,
    ) -> io::Result<Option<Self>> {
        let side = |(udp, tcp): (OwnedFd, OwnedFd)| Side::of(udp.into(), tcp.into());
        let sides: Vec<Side> = udp.into_iter().zip(tcp).map(side).collect::<io::Result<_>>()?;
        let address = sides.first().map(|side| side.tcp.local_addr()).transpose()?;
        Ok(address.map(|address| Self { sides, address, forward, counters }))
    }

    /// Duplicates of its sockets for a successor: UDP, TCP.
    pub(crate) fn duplicates(&self) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
        let duplicates = |side: &Side| {
            Ok((side.udp.as_fd().try_clone_to_owned()?, side.tcp.as_fd().try_clone_to_owned()?))
        };
        self.sides.iter().map(duplicates).collect()
    }

    /// Where it listens (the first of two addresses).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the sender of `stop` is gone, then only what was asked before.
    pub async fn run(self, names: watch::Receiver<Arc<Names>>, stop: watch::Receiver<()>) {
        let shared = Arc::new(Shared::new(names, self.forward, self.counters));
        join_all(self.sides.into_iter().map(|side| side.serve(shared.clone(), stop.clone()))).await;
    }
}

/// Both protocols at one port. With port 0 the port that TCP was given may be taken for UDP: try others.
fn bind_both(address: SocketAddr) -> io::Result<Side> {
    let mut left = if address.port() == 0 { 8 } else { 1 };
    loop {
        left -= 1;
        let tcp = std::net::TcpListener::bind(address)?;
        match std::net::UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Side::of(udp, tcp),
            Err(error) if left == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

impl Side {
    fn of(udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp: Arc::new(UdpSocket::from_std(udp)?), tcp: TcpListener::from_std(tcp)? })
    }
}

#[cfg(test)]
mod tests;
