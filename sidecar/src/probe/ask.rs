//! One try: the application is asked, directly and in plaintext.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_wire::{Ask, Check};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::target::Target;
use super::{grpc, http};
use crate::proxy_protocol::LOCAL;

/// Why a try failed. Says the same for the same reason, so that it can be read off at any time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("nothing listens on port {0}")]
    NotListening(u16),
    #[error("the application listens on no port")]
    NoPort,
    #[error("no connection to {address}: {why}")]
    Connect { address: SocketAddr, why: String },
    #[error("{what}: no answer within {} ms", limit.as_millis())]
    TimedOut { what: String, limit: Duration },
    #[error("{what}: {why}")]
    Broken { what: String, why: String },
    #[error("GET {path} answered {status}")]
    Status { path: String, status: u16 },
    #[error("GET {path} answered {status} without {text:?}")]
    Body { path: String, status: u16, text: String },
    #[error("the gRPC health service answered {0}")]
    Grpc(String),
}

/// Asks once, at the first of the addresses that takes a connection. `own` is the name of the own service.
pub(super) async fn ask(check: &Check, target: &Target, own: &str) -> Result<(), Failure> {
    let limit = Duration::from_millis(check.timeout_ms);
    let trying = async {
        let mut tcp = connect(&target.addresses).await?;
        if target.introduced {
            // It is the sidecar's own connection.
            let written = tcp.write_all(&LOCAL).await;
            written.map_err(|error| Failure::Broken {
                what: what(&check.ask, &target.addresses),
                why: error.kind().to_string(),
            })?;
        }
        match &check.ask {
            Ask::Tcp => Ok(()),
            Ask::Grpc { service } => grpc::ask(tcp, service, own).await,
            Ask::Http { path, host, headers, status, body } => {
                let wanted = http::Wanted {
                    path,
                    host: host.as_deref().unwrap_or(own),
                    headers,
                    status,
                    body: body.as_deref(),
                };
                http::ask(tcp, &wanted).await
            }
        }
    };
    match tokio::time::timeout(limit, trying).await {
        Ok(answered) => answered,
        Err(_) => Err(Failure::TimedOut { what: what(&check.ask, &target.addresses), limit }),
    }
}

/// What is asked, for people.
fn what(ask: &Ask, addresses: &[SocketAddr]) -> String {
    match ask {
        Ask::Tcp => {
            let address = addresses.first().map(ToString::to_string).unwrap_or_default();
            format!("connecting to {address}")
        }
        Ask::Grpc { .. } => "the gRPC health service".to_owned(),
        Ask::Http { path, .. } => format!("GET {path}"),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::NoPort;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                // One small write and its answer: nothing to wait for.
                let _as_it_is = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(error) => {
                failure = Failure::Connect { address: *address, why: error.kind().to_string() };
            }
        }
    }
    Err(failure)
}
