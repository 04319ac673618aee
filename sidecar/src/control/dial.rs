use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

/// A controller that is gone without a word is noticed after this and the next together.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a ping may stay unanswered: a busy machine is not a dead one.
const PING_ANSWER: Duration = Duration::from_secs(20);

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
    /// Somebody listens and does not speak HTTP/2.
    #[error("the controller on the socket cannot be talked to: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The controller turned this sidecar away.
    #[error("the controller refuses this sidecar: {0}")]
    Refused(String),
    /// The stream broke.
    #[error("the stream to the controller ended: {0}")]
    Ended(String),
}

impl From<Status> for DialError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied => Self::Refused(status.message().to_owned()),
            code => Self::Ended(format!("{} ({code})", status.message())),
        }
    }
}

/// Connects to the control socket.
pub async fn dial(path: &Path) -> Result<Channel, DialError> {
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|source| DialError::Absent { path: path.to_owned(), source })?;
    let mut stream = Some(TokioIo::new(stream));
    // One connection for one channel: a broken one is dialled anew, with its pause.
    let connector = service_fn(move |_| {
        std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let endpoint = Endpoint::from_static("http://controller.outrigger.internal")
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector(connector).await?)
}
