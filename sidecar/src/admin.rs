//! `/metrics`, `/ready`, `/live`, `/config` over HTTP/1.1, for people, probes and collectors.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_lifecycle::{Readiness, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::runtime::Runtime;

/// A client says what it wants within this.
const HEAD: Duration = Duration::from_secs(5);
/// Longest life of one connection.
const LIFE: Duration = Duration::from_secs(60);
/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 32;
/// Pause when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `relieved`; what is under way then is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    runtime: Runtime,
    readiness: Readiness,
    mut relieved: watch::Receiver<()>,
) {
    let mut connections = Tasks::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((tcp, _)) => connections.spawn("admin", connection(tcp, runtime.clone(), readiness.clone())),
                Err(error) => {
                    tracing::warn!(%error, "admin: cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_ended) = connections.next_ended() => {}
            _ = relieved.changed() => break,
        }
    }
    drop(listener);
    while connections.next_ended().await.is_some() {}
    std::future::pending().await
}

async fn connection(tcp: TcpStream, runtime: Runtime, readiness: Readiness) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &runtime, &readiness);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(tcp), service);
    let _client_gone = tokio::time::timeout(LIFE, connection).await;
}

fn answer(method: &Method, path: &str, runtime: &Runtime, readiness: &Readiness) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match path {
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            typed(StatusCode::OK, kind, runtime.telemetry().render())
        }
        "/ready" => ready(readiness),
        "/live" => text(StatusCode::OK, "live\n"),
        "/config" => config(runtime),
        _ => text(StatusCode::NOT_FOUND, "There are /metrics, /ready, /live and /config.\n"),
    }
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    if readiness.is_ready() {
        return text(StatusCode::OK, "ready\n");
    }
    let awaited = readiness.awaited();
    let lines = awaited.iter().map(|(name, seconds)| format!("awaited for {seconds:.1} s: {name}\n"));
    text(StatusCode::SERVICE_UNAVAILABLE, lines.collect::<String>())
}

/// The configuration holds no secrets: keys and certificates are not part of it.
fn config(runtime: &Runtime) -> Response<Full<Bytes>> {
    let configured = runtime.configured().borrow().clone();
    let Some(generation) = configured else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no configuration yet\n");
    };
    let mut yaml = serde_yaml::Serializer::new(Vec::new());
    // Enums as maps, as the file that `--config` reads has them; not as YAML tags.
    let written = serde_yaml::with::singleton_map_recursive::serialize(&generation.config, &mut yaml);
    match written.and_then(|()| yaml.into_inner()) {
        Ok(yaml) => {
            let yaml = String::from_utf8_lossy(&yaml);
            let text = format!("# version {}\n{yaml}", generation.version);
            typed(StatusCode::OK, "application/yaml", text)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
