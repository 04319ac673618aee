//! The successor's side.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::line::{Handed, Line, LineError, Message};
use super::{Inherited, Place};

/// The predecessor answers at once, or starting goes on without it.
const ANSWER: Duration = Duration::from_secs(5);
/// Sockets taken over at most.
const MAX_SOCKETS: usize = 4096;

/// The sidecar whose place is taken.
#[derive(Debug)]
pub struct Predecessor(Line);

impl Predecessor {
    /// Asks whether a sidecar runs in this network namespace, and for its sockets.
    pub async fn find(place: &Place) -> (Inherited, Option<Self>) {
        match timeout(ANSWER, ask(place)).await.unwrap_or(Err(LineError::Silent)) {
            Ok(Some((line, sockets))) => {
                tracing::info!(sockets = sockets.len(), "taking over from the sidecar that runs here");
                (Inherited::new(sockets), Some(Self(line)))
            }
            Ok(None) => Default::default(),
            Err(error) => {
                tracing::warn!(%error, "the sidecar that runs here hands nothing over");
                Default::default()
            }
        }
    }

    /// This sidecar serves: the predecessor stops accepting, and may take `deadline` for what still runs.
    pub(crate) async fn relieve(&self, deadline: Duration) -> Result<(), LineError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.0.send(&Message::Ready { deadline_ms }, &[]).await
    }

    /// The next connection that it hands over, and whom its PROXY header named; none once it has ended.
    pub(crate) async fn connection(&mut self) -> Result<Option<(TcpStream, Option<SocketAddr>)>, LineError> {
        while let Some((message, descriptors)) = self.0.receive().await? {
            if let Message::Connection { named } = message {
                return Ok(descriptors.into_iter().next().map(|tcp| (TcpStream::from(tcp), named)));
            }
        }
        Ok(None)
    }
}

type Answer = Option<(Line, Vec<(Handed, OwnedFd)>)>;

async fn ask(place: &Place) -> Result<Answer, LineError> {
    // tokio takes a path that begins with NUL for the name of an abstract socket.
    let stream = match UnixStream::connect(format!("\0{}", place.name)).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !place.is_sidecar(&stream) {
        return Ok(None);
    }
    let mut line = Line::new(stream);
    line.send(&Message::Hello { version: env!("CARGO_PKG_VERSION").into() }, &[]).await?;
    let mut all = Vec::new();
    while let Some((message, descriptors)) = line.receive().await? {
        let Message::Sockets { sockets, more } = message else { continue };
        all.extend(sockets.into_iter().zip(descriptors));
        if all.len() > MAX_SOCKETS {
            return Err(LineError::Shape("too many sockets"));
        }
        if !more {
            return Ok(Some((line, all)));
        }
    }
    Err(LineError::Ended)
}
