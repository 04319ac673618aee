//! Opening connections: mutual TLS to a peer's sidecar, or plaintext to the application.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use outrigger_wire::Transport;
use rustls::pki_types::UnixTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::Endpoint;
use crate::stream::{self, Ahead, Stream};
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
/// and no prelude: the application itself is at the other end). `limit` covers both. Marks the endpoint
/// failed or reached.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    worker: &Worker,
    endpoint: &Endpoint,
    alpn: Alpn,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let connecting = async {
        match endpoint.transport {
            Transport::Plaintext => open(endpoint.address).await.map(Stream::Plain),
            Transport::Mesh => mutual(worker, endpoint, alpn).await,
        }
    };
    let connected = within(limit, endpoint.address, connecting).await;
    match &connected {
        Ok(_) => endpoint.reached(),
        Err(ConnectError::NoIdentity) => {}
        Err(_) => endpoint.failed(),
    }
    connected
}

/// Connects to an address in plaintext: the own application, or a destination that is not the mesh's.
///
/// # Errors
/// See [`ConnectError`].
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<Stream, ConnectError> {
    within(limit, address, async { open(address).await.map(Stream::Plain) }).await
}

/// Connects to the own application, and sends it `announce` first.
///
/// # Errors
/// See [`ConnectError`].
pub async fn application(
    address: SocketAddr,
    limit: Duration,
    announce: Option<&[u8]>,
) -> Result<Stream, ConnectError> {
    let Some(header) = announce else { return dial(address, limit).await };
    let connecting = async {
        let mut tcp = open(address).await?;
        let sent = tcp.write_all(header).await;
        sent.map_err(|source| ConnectError::Connect { address, source })?;
        Ok(Stream::Plain(tcp))
    };
    within(limit, address, connecting).await
}

async fn within(
    limit: Duration,
    address: SocketAddr,
    connecting: impl Future<Output = Result<Stream, ConnectError>>,
) -> Result<Stream, ConnectError> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::TimedOut { address, after: limit }),
    }
}

async fn open(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let connected = TcpStream::connect(address).await;
    let tcp = connected.map_err(|source| ConnectError::Connect { address, source })?;
    stream::tune(&tcp);
    Ok(tcp)
}

async fn mutual(worker: &Worker, endpoint: &Endpoint, alpn: Alpn) -> Result<Stream, ConnectError> {
    let address = endpoint.address;
    let tls_error = |source| ConnectError::Tls { address, source };
    let contexts = worker.tls().ok_or(ConnectError::NoIdentity)?;
    let config = contexts.client(&endpoint.identity, alpn).map_err(|e| tls_error(io::Error::other(e)))?;
    let tcp = open(address).await?;
    let connecting = TlsConnector::from(config).connect(endpoint.server_name.clone(), Ahead::new(tcp));
    let tls = connecting.await.map_err(tls_error)?;
    let shown = tls.get_ref().1.peer_certificates();
    contexts.peer(shown, UnixTime::now()).map_err(|error| tls_error(io::Error::other(error)))?;
    if alpn.is_http2() {
        stream::expect_reading(tls.get_ref().0.tcp());
    }
    if tls.get_ref().1.alpn_protocol() == Some(alpn.id()) {
        Ok(Stream::Tls(Box::new(tls.into())))
    } else {
        Err(tls_error(io::Error::other(
            "the peer speaks another protocol (ALPN): is it an Outrigger sidecar?",
        )))
    }
}
