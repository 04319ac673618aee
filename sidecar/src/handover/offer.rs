//! The predecessor's side.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::descriptors::MAX_DESCRIPTORS;
use super::line::{Handed, Line, LineError, Message, Role};
use super::{Inherited, Place, Waiting};

/// A successor says hello with its first bytes.
const HELLO: Duration = Duration::from_secs(5);
/// A successor that is not ready by then never will be; the next one may ask.
const READY: Duration = Duration::from_secs(300);
/// Pause when a connection cannot be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Where successors ask.
pub(crate) struct Offer {
    place: Place,
    listener: StdListener,
}

/// A socket that is handed over on demand.
pub(crate) struct Kept {
    role: Role,
    name: String,
    address: SocketAddr,
    socket: OwnedFd,
}

impl Kept {
    /// `address` is the configured one.
    pub fn new(role: Role, name: &str, address: SocketAddr, socket: OwnedFd) -> Self {
        Self { role, name: name.to_owned(), address, socket }
    }

    /// None when no descriptor is left.
    pub fn duplicate(&self) -> Option<Self> {
        Some(Self::new(self.role, &self.name, self.address, self.socket.try_clone().ok()?))
    }
}

/// A successor serves.
pub(crate) struct Left {
    line: Line,
    /// How long what still runs here may take.
    pub deadline: Duration,
}

impl Offer {
    /// The predecessor's socket, or a new one.
    ///
    /// # Errors
    /// Somebody else has the name.
    pub fn bind(place: Place, inherited: &Inherited) -> io::Result<Self> {
        let listener = match inherited.sockets(Role::HandOver, "", unaddressed()).into_iter().next() {
            Some(socket) => StdListener::from(socket),
            None => StdListener::bind_addr(&place.address()?)?,
        };
        listener.set_nonblocking(true)?;
        Ok(Self { place, listener })
    }

    /// Hands `sockets` to whoever comes, until one of them is ready to serve.
    pub async fn run(self, sockets: impl Fn() -> Vec<Kept>) -> io::Result<Left> {
        let own = self.listener.try_clone()?;
        let listener = UnixListener::from_std(self.listener)?;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "hand-over: cannot accept");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if !self.place.is_sidecar(&stream) {
                continue;
            }
            let mut sockets = sockets();
            sockets.push(Kept::new(Role::HandOver, "", unaddressed(), own.try_clone()?.into()));
            match hand_over(stream, sockets).await {
                Ok(left) => return Ok(left),
                Err(error) => tracing::warn!(%error, "a successor did not become ready: serving on"),
            }
        }
    }
}

/// A Unix socket has no address of this kind.
fn unaddressed() -> SocketAddr {
    ([0, 0, 0, 0], 0).into()
}

async fn hand_over(stream: UnixStream, sockets: Vec<Kept>) -> Result<Left, LineError> {
    let mut line = Line::new(stream);
    let hello = timeout(HELLO, line.receive()).await.map_err(|_| LineError::Silent)??;
    let Some((Message::Hello { version }, _)) = hello else { return Err(LineError::Ended) };
    tracing::info!(version, sockets = sockets.len(), "a successor starts");
    timeout(HELLO, send(&line, &sockets)).await.map_err(|_| LineError::Silent)??;
    drop(sockets);
    let deadline = timeout(READY, ready(&mut line)).await.map_err(|_| LineError::Silent)??;
    Ok(Left { line, deadline })
}

async fn send(line: &Line, sockets: &[Kept]) -> Result<(), LineError> {
    let mut chunks = sockets.chunks(MAX_DESCRIPTORS).peekable();
    while let Some(chunk) = chunks.next() {
        let handed = |kept: &Kept| Handed { role: kept.role, name: kept.name.clone(), address: kept.address };
        let descriptors: Vec<BorrowedFd<'_>> = chunk.iter().map(|kept| kept.socket.as_fd()).collect();
        let sockets = chunk.iter().map(handed).collect();
        line.send(&Message::Sockets { sockets, more: chunks.peek().is_some() }, &descriptors).await?;
    }
    Ok(())
}

async fn ready(line: &mut Line) -> Result<Duration, LineError> {
    while let Some((message, _)) = line.receive().await? {
        if let Message::Ready { deadline_ms } = message {
            return Ok(Duration::from_millis(deadline_ms));
        }
    }
    Err(LineError::Ended)
}

impl Left {
    /// Passes connections on, until no more come or the successor is gone: then they end with their last owner here.
    pub async fn forward(self, mut connections: mpsc::UnboundedReceiver<Waiting>) {
        while let Some((tcp, named, _guard)) = connections.recv().await {
            if let Err(error) = self.line.send(&Message::Connection { named }, &[tcp.as_fd()]).await {
                tracing::warn!(%error, "a connection was not handed over");
            }
        }
    }
}
