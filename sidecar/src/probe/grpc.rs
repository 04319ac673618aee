//! gRPC's own health service, over HTTP/2 with prior knowledge (grpc.github.io/grpc, doc/health-checking).

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, header};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::USER_AGENT;
use super::ask::Failure;

/// Bytes of an answer's head, and of its message: one number.
const MOST: u32 = 16 * 1024;
/// Before each message: whether it is compressed, and its length.
const FRAME: usize = 5;
/// The only status that is good.
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn ask(
    io: impl AsyncRead + AsyncWrite + Unpin,
    service: &str,
    own: &str,
) -> Result<(), Failure> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(MOST).initial_window_size(MOST);
    let (sender, connection) = builder.handshake::<_, Bytes>(io).await.map_err(|error| broken(&error))?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
        let request = Request::post(format!("http://{own}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, USER_AGENT)
            .body(());
        let request = request.map_err(|error| told(format!("nothing: it cannot be asked so: {error}")))?;
        let (answer, mut stream) = sender.send_request(request, false).map_err(|error| broken(&error))?;
        stream.send_data(message(service), true).map_err(|error| broken(&error))?;
        let (head, body) = answer.await.map_err(|error| broken(&error))?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(told(format!("HTTP status {}", head.status.as_u16())));
        }
        judge(&head.headers, body).await
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        // The connection may end before its last answer has been read.
        _ended = &mut connection => exchange.await,
    }
}

fn message(service: &str) -> Bytes {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(request.encoded_len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&request.encode_to_vec());
    framed.freeze()
}

async fn judge(head: &HeaderMap, mut body: RecvStream) -> Result<(), Failure> {
    // An answer that is nothing but trailers.
    if let Some(status) = grpc_status(head) {
        return Err(told(format!("gRPC status {status}")));
    }
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        // Within the first window: there is no need to give any back.
        read.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    match trailers.as_ref().and_then(grpc_status) {
        Some("0") => {}
        Some(status) => return Err(told(format!("gRPC status {status}"))),
        None => return Err(told("without a gRPC status".to_owned())),
    }
    let answer = read.get(FRAME..).and_then(|message| HealthCheckResponse::decode(message).ok());
    match answer.map(|answer| answer.status) {
        Some(SERVING) => Ok(()),
        Some(0) => Err(told("UNKNOWN".to_owned())),
        Some(2) => Err(told("NOT_SERVING".to_owned())),
        Some(3) => Err(told("SERVICE_UNKNOWN".to_owned())),
        Some(other) => Err(told(format!("{other}"))),
        None => Err(told("what is no health status".to_owned())),
    }
}

fn grpc_status(fields: &HeaderMap) -> Option<&str> {
    let status = fields.get("grpc-status")?.to_str().ok();
    Some(status.filter(|status| status.len() <= 3).unwrap_or("that is none"))
}

fn told(what: String) -> Failure {
    Failure::Grpc(what)
}

/// Without the words that change from time to time.
fn broken(error: &h2::Error) -> Failure {
    let why = match (error.is_go_away() || error.is_reset(), error.is_io()) {
        (true, _) => "HTTP/2 was refused",
        (_, true) => "the connection closed before an answer",
        _ => "that is no answer of HTTP/2",
    };
    Failure::Broken { what: "the gRPC health service".to_owned(), why: why.to_owned() }
}
