use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use outrigger_wire::control::proof::Proof;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

use super::remote::{Remote, Unproved};

/// A controller that is gone without a word is noticed after this and the next together.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a ping may stay unanswered: a busy machine is not a dead one.
const PING_ANSWER: Duration = Duration::from_secs(20);

/// How to get to the controller.
pub enum Road {
    /// A socket of this host.
    Socket(PathBuf),
    /// TLS, and the proof of a task.
    Remote(Box<Remote>),
}

impl<P: Into<PathBuf>> From<P> for Road {
    fn from(path: P) -> Self {
        Self::Socket(path.into())
    }
}

/// Why there is no stream to the controller.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens.
    #[error("no controller answers on {path} ({source})")]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody is reached on another host.
    #[error("no controller answers on {place} ({source})")]
    Away {
        /// Its URL.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens on another host, and does not prove to be this mesh's controller.
    #[error(
        "what answers on {place} does not prove to be the controller of this mesh, and is told nothing ({source})"
    )]
    Stranger {
        /// Its URL.
        place: String,
        /// What TLS said.
        source: io::Error,
    },
    /// This sidecar cannot prove its task.
    #[error("this sidecar cannot prove which task it belongs to: {0}")]
    Unproved(#[from] Unproved),
    /// Somebody listens and does not speak HTTP/2.
    #[error("the controller cannot be talked to: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The controller turned this sidecar away.
    #[error("the controller refuses this sidecar: {0}")]
    Refused(String),
    /// The stream broke.
    #[error("the stream to the controller ended: {0}")]
    Ended(String),
}

impl DialError {
    /// Nobody listens: asking costs little, and a controller that comes back should find its sidecars soon.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Away { .. })
    }
}

impl From<Status> for DialError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied => Self::Refused(status.message().to_owned()),
            code => Self::Ended(format!("{} ({code})", status.message())),
        }
    }
}

/// Connects to the controller; the proof is for the stream that is opened on this very connection.
pub async fn dial(road: &mut Road) -> Result<(Channel, Option<Proof>), DialError> {
    match road {
        Road::Socket(path) => Ok((channel(connect(path).await?).await?, None)),
        Road::Remote(remote) => {
            let (stream, proof) = remote.connect().await?;
            Ok((channel(stream).await?, Some(proof)))
        }
    }
}

async fn connect(path: &Path) -> Result<UnixStream, DialError> {
    let stream = UnixStream::connect(path).await;
    stream.map_err(|source| DialError::Absent { path: path.to_owned(), source })
}

/// HTTP/2 over a connection: one for one channel, for a broken one is dialled anew, with its pause.
async fn channel<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Some(TokioIo::new(stream));
    let connector = service_fn(move |_| {
        std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static("http://controller.outrigger.internal")
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
