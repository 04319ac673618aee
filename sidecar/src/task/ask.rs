use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The agent answers from memory; on a host that is full of starting tasks it may take its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer's head.
const HEAD: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not `http://HOST[:PORT]/…`.
    #[error("`{0}` is not an http URL")]
    Url(String),
    /// Nobody listens, or the connection broke.
    #[error("{url}: {source}")]
    Connect {
        /// What was asked.
        url: Uri,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not HTTP, or was cut off.
    #[error("{url}: {source}")]
    Http {
        /// What was asked.
        url: Uri,
        /// What the reader said.
        source: hyper::Error,
    },
    /// An answer, and not the one wanted.
    #[error("{url}: answered {status}")]
    Status {
        /// What was asked.
        url: Uri,
        /// The answer.
        status: StatusCode,
    },
    /// The answer is too long, or was cut off.
    #[error("{url}: the answer is cut off, or has more than {limit} bytes")]
    Body {
        /// What was asked.
        url: Uri,
        /// The most that is read.
        limit: usize,
    },
    /// No answer in time.
    #[error("{url}: no answer within {} s", PATIENCE.as_secs())]
    Slow {
        /// What was asked.
        url: Uri,
    },
}

/// Asks for `url`, plain HTTP; the answer is `200` with a body of at most `limit` bytes. A new connection each time: it
/// is asked seldom.
pub async fn get(url: &Uri, authorization: Option<&HeaderValue>, limit: usize) -> Result<Bytes, AskError> {
    let asking = tokio::time::timeout(PATIENCE, exchange(url, authorization, limit));
    asking.await.unwrap_or_else(|_| Err(AskError::Slow { url: url.clone() }))
}

async fn exchange(url: &Uri, authorization: Option<&HeaderValue>, limit: usize) -> Result<Bytes, AskError> {
    let wrong = || AskError::Url(url.to_string());
    let host = url.host().filter(|_| url.scheme_str() == Some("http")).ok_or_else(wrong)?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::get(path).header(header::HOST, url.authority().map_or(host, |found| found.as_str()));
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.header(header::ACCEPT, "application/json").header(header::CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| wrong())?;
    let place = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let tcp = TcpStream::connect(place).await;
    let tcp = tcp.map_err(|source| AskError::Connect { url: url.clone(), source })?;
    let broken = |source| AskError::Http { url: url.clone(), source };
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(tcp)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(AskError::Status { url: url.clone(), status });
        }
        let body = Limited::new(answer.into_body(), limit).collect().await;
        body.map(|body| body.to_bytes()).map_err(|_| AskError::Body { url: url.clone(), limit })
    };
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        // It may end before what it read was taken.
        _ended = &mut connection => exchange.await,
    }
}
