//! A sidecar that starts beside one that runs takes its listening sockets over, so that no connection is refused
//! while one takes the other's place.
//!
//! Every sidecar listens on an abstract Unix socket, whose name counts within the network namespace only. A starting
//! one (the successor) asks there first: the running one (the predecessor) sends all its listening sockets and goes on
//! accepting. Once the successor is ready it says so; then the predecessor stops accepting, tells its connections,
//! hands over those that wait for a next request, and ends with the last of the others. A successor that ends before it
//! is ready leaves everything as it was.

mod change;
mod descriptors;
mod inherited;
pub(crate) mod line;
mod offer;
mod predecessor;

use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::{Arc, OnceLock};

use outrigger_lifecycle::DrainGuard;
use outrigger_wire::port;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

pub use change::HandOver;
pub(crate) use change::{succeed, succeeded_by};
pub use inherited::Inherited;
pub(crate) use line::Role;
pub(crate) use offer::{Kept, Left, Offer};
pub use predecessor::Predecessor;

/// Where sidecars of one network namespace find each other, and who may.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the abstract socket.
    pub name: String,
    /// User of the other side.
    pub uid: u32,
    /// Group of the other side.
    pub gid: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self { name: "outrigger-handover".into(), uid: port::UID, gid: port::GID }
    }
}

impl Place {
    fn address(&self) -> std::io::Result<UnixAddr> {
        UnixAddr::from_abstract_name(&self.name)
    }

    /// Whether a sidecar is at the other end: an application in the same namespace may connect, or listen, as well.
    fn is_sidecar(&self, stream: &UnixStream) -> bool {
        let Ok(other) = stream.peer_cred() else { return false };
        let known = (other.uid(), other.gid()) == (self.uid, self.gid);
        if !known {
            let (uid, gid) = (other.uid(), other.gid());
            tracing::warn!(uid, gid, socket = %self.name, "hand-over refused: the other side is no sidecar");
        }
        known
    }
}

/// Where connections that wait for their next request go once a successor serves.
#[derive(Clone, Default)]
pub(crate) struct Succession(Arc<OnceLock<mpsc::UnboundedSender<Waiting>>>);

/// A connection on its way to the successor, whom its PROXY header named, and what makes the drain wait for it.
pub(crate) type Waiting = (TcpStream, Option<SocketAddr>, DrainGuard);

impl Succession {
    /// From here on connections are taken.
    pub fn begin(&self) -> mpsc::UnboundedReceiver<Waiting> {
        let (give, given) = mpsc::unbounded_channel();
        let _begun_already = self.0.set(give);
        given
    }

    /// Gives a connection to the successor, if there is one: no byte of its next request may have been read.
    /// `named`: by its PROXY header.
    pub fn give(&self, tcp: tokio::net::TcpStream, named: Option<SocketAddr>, guard: DrainGuard) {
        if let (Some(give), Ok(tcp)) = (self.0.get(), tcp.into_std()) {
            // A receiver that is gone means that the time is up.
            let _closed = give.send((tcp, named, guard));
        }
    }

    /// A successor serves: the application has not changed, so what still comes here may be served too.
    pub fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }
}
