//! The life of a request.
//!
//! `head`, `names`, `framing`, `chunked` and `hop` are pure: bytes to messages and back, and what may pass a hop.
//! `h1` and `h2stream` put them on connections; `server1` and `server2` take requests from clients, `carrier` carries those
//! of HTTP/2; `forward` is the way of one request, `relay` of its response, `give` that of an answer in the application's
//! place; `open`, `pool`, `link` and `streams` find it a connection; `pump` moves the bodies.

mod carrier;
pub mod chunked;
mod coalesce;
mod deadline;
mod delivery;
pub mod error;
mod forward;
pub mod framing;
mod full;
mod give;
pub mod h1;
mod h2stream;
pub mod head;
pub mod hop;
mod inbound;
mod lasting;
mod limits;
mod link;
mod mirror;
mod names;
mod open;
mod origin;
mod outbox;
mod pace;
mod pool;
mod pump;
mod relay;
mod reply;
mod retry;
mod routed;
mod server1;
mod server2;
mod sides;
mod spare;
mod sticky;
mod streams;
mod time_left;
mod trace;
mod upgrade;
mod websocket;

use std::future::Future;
use std::pin::Pin;

use bytes::BytesMut;

use crate::downstream::{Downstream, HttpKind};
use crate::rate::Admission;
use crate::stream::Stream;
use crate::worker::Worker;

/// Connections of one worker to endpoints and to the application, and what waits to carry requests.
#[derive(Default)]
pub struct Pools {
    idle: pool::Idle,
    links: link::Links,
    carriers: carrier::Carriers,
}

/// Serves one accepted connection until it ends. `prefix` are bytes that were read from it already.
pub fn serve(
    io: Stream,
    kind: HttpKind,
    prefix: BytesMut,
    downstream: Downstream,
    worker: Worker,
    admission: Admission,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let full = admission.is_full();
    let origin = origin::Origin::new(worker, downstream, kind, admission);
    if full {
        return Box::pin(full::serve(io, prefix, origin));
    }
    match kind {
        HttpKind::Http1 => Box::pin(server1::serve(io, prefix, origin)),
        HttpKind::Http2 | HttpKind::Http2ForHttp1 => Box::pin(server2::serve(io, prefix, origin)),
    }
}
