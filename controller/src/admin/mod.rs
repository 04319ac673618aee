//! The controller's own HTTP, read-only: `/status` (JSON), `/metrics` (Prometheus text), `/ready`, `/live`.

pub mod assemble;
mod ejections;
mod hosts;
mod metrics;
mod plaintext;
pub mod socket;

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_lifecycle::Tasks;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::board::Board;

/// Connections at once; more wait in the kernel.
const CONNECTIONS: usize = 64;
/// One connection carries one request within this time.
const PER_CONNECTION: Duration = Duration::from_secs(10);

/// The bound socket.
pub struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Binds.
    ///
    /// # Errors
    /// The address is taken or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel cannot say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until dropped.
    pub async fn serve(self, board: Board) {
        let mut connections = Tasks::new();
        loop {
            tokio::select! {
                Some(_) = connections.next_ended() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => connections.spawn("admin connection", connection(stream, board.clone())),
                    Err(error) => {
                        tracing::warn!(%error, "admin: a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, board: Board) {
    let service = service_fn(|request| {
        let response = answer(&request, &board);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).max_buf_size(16 << 10);
    // A client that hangs up or dawdles is its own affair.
    let _ended = timeout(PER_CONNECTION, http.serve_connection(TokioIo::new(stream), service)).await;
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
    }
    match request.uri().path() {
        "/live" => reply(StatusCode::OK, TEXT, "live\n".into()),
        "/ready" if board.readiness.is_ready() => reply(StatusCode::OK, TEXT, "ready\n".into()),
        "/ready" => {
            let awaited = board.readiness.awaited().into_iter();
            let lines: String = awaited.map(|(name, s)| format!("awaiting {name} for {s:.0} s\n")).collect();
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines)
        }
        "/status" => match serde_json::to_string(&assemble::status(board)) {
            Ok(json) => reply(StatusCode::OK, "application/json", json),
            Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        },
        "/metrics" => reply(StatusCode::OK, "text/plain; version=0.0.4", metrics::text(board)),
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /status, /metrics, /ready and /live\n".into()),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn reply(status: StatusCode, content: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content));
    response
}

/// Asks a running controller whether it is ready; for the image's HEALTHCHECK. `admin` is where it listens.
///
/// # Errors
/// Nobody answers, or it is not ready: the text says what is awaited.
pub fn health(admin: SocketAddr) -> io::Result<()> {
    let ip = if admin.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { admin.ip() };
    let limit = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, admin.port()), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other(answer)) }
}

#[cfg(test)]
mod tests;
