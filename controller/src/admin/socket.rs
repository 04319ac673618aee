//! The Unix socket in the state directory, for whoever may use the controller's own files: what the admin port answers,
//! and what changes something.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_lifecycle::Tasks;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::ReceiverStream;

use super::{TEXT, answer, reply};
use crate::board::Board;
use crate::control::{OWNER, SocketError, listen};
use crate::upgrade::{self, Progress, Upgrades};

/// Its name in the state directory.
pub const FILE: &str = "admin.sock";
/// Connections at once; more wait in the kernel.
const CONNECTIONS: usize = 16;
/// A client says what it wants within this.
const HEAD: Duration = Duration::from_secs(5);
/// Largest request, bytes: names of some thousand workloads.
const LARGEST: usize = 256 << 10;
/// Pause when a connection cannot be accepted.
const PAUSE: Duration = Duration::from_millis(100);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The bound socket.
pub struct AdminSocket(UnixListener);

impl AdminSocket {
    /// Binds in the state directory.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub async fn bind(state: &Path) -> Result<Self, SocketError> {
        listen(&state.join(FILE), OWNER, "OUTRIGGER_STATE").await.map(Self)
    }

    /// Answers until dropped.
    pub async fn serve(self, board: Board, upgrades: Upgrades) {
        let mut connections = Tasks::new();
        loop {
            tokio::select! {
                Some(_) = connections.next_ended() => {}
                accepted = self.0.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn("admin connection", connection(stream, board.clone(), upgrades.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "admin socket: a connection was not accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

async fn connection(stream: UnixStream, board: Board, upgrades: Upgrades) {
    let service = service_fn(|request| {
        let (board, upgrades) = (board.clone(), upgrades.clone());
        async move { Ok::<_, Infallible>(serve(request, &board, &upgrades).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 << 10);
    // An upgrade lasts as long as it lasts; a client that hangs up ends it after the workload that it is at.
    let _ended = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(request: Request<Incoming>, board: &Board, upgrades: &Upgrades) -> Response<Body> {
    if *request.method() != Method::POST {
        return answer(&request, board).map(BodyExt::boxed_unsync);
    }
    let text = |status, what: &str| reply(status, TEXT, format!("{what}\n")).map(BodyExt::boxed_unsync);
    if request.uri().path() != "/upgrade" {
        return text(StatusCode::NOT_FOUND, "there is POST /upgrade");
    }
    let body = tokio::time::timeout(HEAD, Limited::new(request.into_body(), LARGEST).collect()).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "the request is too long, or too slow");
    };
    let request: upgrade::Request = match serde_json::from_slice(&body.to_bytes()) {
        Ok(request) => request,
        Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Some(told) = upgrades.begin(request) else {
        return text(StatusCode::CONFLICT, "an upgrade is under way: wait for its end");
    };
    let lines = ReceiverStream::new(told).map(|event| Ok(Frame::data(line(&event))));
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let json = hyper::header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn line(event: &Progress) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::*;

    async fn say(directory: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(directory.join(FILE)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn one_upgrade_at_a_time_and_what_the_admin_port_answers() {
        let directory = std::env::temp_dir().join(format!("outrigger-admin-socket-{}", std::process::id()));
        let socket = AdminSocket::bind(&directory).await.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode;
        assert_eq!(mode(&std::fs::metadata(directory.join(FILE)).unwrap().permissions()) & 0o777, 0o600);
        let (_, seen) = watch::channel(Default::default());
        let source = crate::source::Source::Docker { seen, scope: Default::default() };
        let (_, file) = watch::channel(Default::default());
        let (_, snapshot) = watch::channel(Default::default());
        let (upgrades, orders) = upgrade::upgrades();
        let mut tasks = Tasks::new();
        tasks.spawn(
            "socket",
            socket.serve(Board::new("a.internal", source, file, snapshot), upgrades.clone()),
        );

        assert!(say(&directory, "GET /live HTTP/1.1\r\nhost: a\r\n\r\n").await.ends_with("live\n"));
        let post = |body: &str| {
            format!("POST /upgrade HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        assert!(say(&directory, &post("{\"deadline_s\":1,\"x\":1}")).await.contains("unknown field `x`"));
        let under_way = upgrades.begin(serde_json::from_str("{\"deadline_s\":1}").unwrap()).unwrap();
        let busy = say(&directory, &post("{\"deadline_s\":1}")).await;
        assert!(busy.starts_with("HTTP/1.1 409") && busy.contains("under way"), "{busy}");
        drop((under_way, orders));
        assert!(
            say(&directory, &post("{\"deadline_s\":1}")).await.starts_with("HTTP/1.1 409"),
            "nobody takes it"
        );
        std::fs::remove_dir_all(directory).unwrap();
    }
}
