//! Asks the task metadata endpoint.

use std::time::Duration;

use bytes::Bytes;
use http::uri::{InvalidUri, Uri};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// The agent is on the same host, and answers from memory.
const LIMIT: Duration = Duration::from_secs(2);
/// Bytes of an answer: at most ten containers, each with its labels.
const LONGEST: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not an address.
    #[error("{0:?} is no address of a metadata endpoint")]
    Address(String),
    /// Nobody there.
    #[error("connecting: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// Another status than 200; 429 where the agent is asked too often.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// Too long, or broken off.
    #[error("its answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Not what was expected.
    #[error("its answer is not understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// Took too long.
    #[error("no answer within {LIMIT:?}")]
    Late,
}

/// One question, one connection.
pub(super) async fn ask<T: DeserializeOwned>(address: &str) -> Result<T, AskError> {
    tokio::time::timeout(LIMIT, exchange(address)).await.map_err(|_| AskError::Late)?
}

async fn exchange<T: DeserializeOwned>(address: &str) -> Result<T, AskError> {
    let wrong = || AskError::Address(address.to_owned());
    let uri: Uri = address.parse().map_err(|_: InvalidUri| wrong())?;
    let (Some(host), Some("http")) = (uri.host(), uri.scheme_str()) else { return Err(wrong()) };
    let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| wrong())?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(AskError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(AskError::Body)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    };
    let (answer, _closed) = tokio::join!(answer, connection);
    answer
}
