//! A connection for which there was no place: its client is told so, and it is closed.

use std::future::poll_fn;
use std::time::Duration;

use bytes::BytesMut;
use h2::Reason;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::coalesce::Coalesced;
use super::error::RequestError;
use super::give::refuse;
use super::h1::Conn;
use super::open::Attempts;
use super::origin::{Origin, is_grpc};
use super::sides::Down;
use super::{limits, server2};
use crate::downstream::HttpKind;
use crate::rate::Bound;
use crate::stream::Stream;

/// From its first byte to its last: it has no place, and takes up descriptors all the same.
const LONGEST: Duration = Duration::from_secs(3);
/// How a peer's sidecar learns that nothing is broken here.
pub(super) const FULL: Reason = Reason::ENHANCE_YOUR_CALM;

/// Tells the client.
pub(super) async fn serve(io: Stream, prefix: BytesMut, origin: Origin) {
    let _waited_for = origin.ending.guard();
    if let Some((capacity, _)) = origin.worker.capacity(|_| true) {
        capacity.count_refused(Bound::Connections);
    }
    let told = async {
        match origin.kind {
            HttpKind::Http1 => answer(io, prefix, &origin).await,
            HttpKind::Http2 | HttpKind::Http2ForHttp1 => send_away(io, prefix, &origin).await,
        }
    };
    let _bounded = tokio::time::timeout(LONGEST, told).await;
}

/// Answers the first request, which it reads first: a close with bytes unread would take the answer away.
async fn answer(io: Stream, prefix: BytesMut, origin: &Origin) {
    let mut conn = Conn::new(io, prefix);
    let Ok(Some((request, wire))) = poll_fn(|cx| conn.poll_request(cx)).await else { return };
    let (started, grpc) = (Instant::now(), is_grpc(&request.headers));
    let mut down = Down::H1 { conn: &mut conn, wire, keep_alive: false };
    let error = RequestError::Full(Bound::Connections);
    let answer = refuse(origin, &mut down, &error, &request.method, grpc).await;
    origin.edge(grpc).request(answer.status, started.elapsed(), answer.failed);
    if origin.worker.telemetry().logs_access() {
        let attempts = Attempts::new(started, grpc);
        origin.log(&request, answer.status, 0, started.elapsed(), &attempts, answer.error);
    }
    conn.linger().await;
}

/// SETTINGS that allow no stream, and GOAWAY: no request can have begun.
async fn send_away(io: Stream, prefix: BytesMut, origin: &Origin) {
    let mut io = Coalesced::new(io, prefix);
    let mut builder = limits::server(origin.client());
    builder.max_concurrent_streams(0);
    let Ok(mut connection) = server2::handshake(&io, &builder).await else { return };
    connection.abrupt_shutdown(FULL);
    poll_fn(|cx| {
        let closed = connection.poll_closed(cx);
        let _written = io.poll_out(cx);
        closed.map(drop)
    })
    .await;
    let mut rest = [0; 1024];
    while matches!(io.read(&mut rest).await, Ok(1..)) {}
}
