//! One GET to the controller, plain HTTP/1.1.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// From the connection's first packet to the answer's last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes; some ten thousand workloads.
const LARGEST: usize = 32 << 20;
/// The port where a controller answers, when the address names none.
const PORT: u16 = 15021;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address.
    #[error("{0:?} is not a controller's address: write http://HOST:PORT, such as http://127.0.0.1:15021")]
    Address(String),
    /// Nobody there, or not for long.
    #[error(
        "cannot reach the controller at {address}: {what}\n\
         In compose, ask it from inside: docker compose exec outrigger /outrigger status\n\
         Elsewhere, say where it is: --controller http://HOST:15021 (or OUTRIGGER_CONTROLLER)"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What failed.
        what: String,
    },
    /// Somebody else, or a controller in trouble.
    #[error(
        "{address}{path} answered {status}, but it is not an Outrigger controller that serves it: check --controller"
    )]
    Answer {
        /// Host and port.
        address: String,
        /// Path asked for.
        path: &'static str,
        /// What it answered.
        status: StatusCode,
    },
}

/// Asks the controller at `url` for `path`.
///
/// # Errors
/// An address that is none, a controller that does not answer within 5 s, or an answer other than 200.
pub async fn get(url: &str, path: &'static str) -> Result<Bytes, FetchError> {
    let (host, port) = parse(url).ok_or_else(|| FetchError::Address(url.to_owned()))?;
    let address = format!("{host}:{port}");
    let exchange = exchange(&host, port, &address, path);
    let unreachable = |what: String| FetchError::Unreachable { address: address.clone(), what };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Err(_elapsed) => Err(unreachable(format!("no answer within {} s", TIMEOUT.as_secs()))),
        Ok(Err(what)) => Err(unreachable(what)),
        Ok(Ok((StatusCode::OK, body))) => Ok(body),
        Ok(Ok((status, _))) => Err(FetchError::Answer { address, path, status }),
    }
}

async fn exchange(host: &str, port: u16, address: &str, path: &str) -> Result<(StatusCode, Bytes), String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::get(path)
        .header(HOST, address)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("outrigger/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answered = &mut answer => answered,
        // The connection may end before the last of the body is read from it.
        _ended = connection => answer.await,
    }
}

/// Host (with brackets if IPv6) and port of `http://HOST[:PORT][/]` or `HOST[:PORT]`.
fn parse(url: &str) -> Option<(String, u16)> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = whole.parse().ok()?;
    let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|authority| plain && !authority.as_str().contains('@'))?;
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok()?,
        None if authority.as_str() == authority.host() => PORT,
        None => return None,
    };
    (!authority.host().is_empty()).then(|| (authority.host().to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let found = |url: &str| parse(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(found("http://127.0.0.1:15021").as_deref(), Some("127.0.0.1 15021"));
        assert_eq!(found("http://outrigger:80/").as_deref(), Some("outrigger 80"));
        assert_eq!(found("outrigger").as_deref(), Some("outrigger 15021"));
        assert_eq!(found("http://[::1]:9/").as_deref(), Some("[::1] 9"));
        for bad in
            ["", "https://a:1", "http://", "http://a:b", "http://a:99999", "http://a/x", "http://u@a", ":1"]
        {
            assert_eq!(found(bad), None, "{bad}");
        }
    }
}
