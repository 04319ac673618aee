//! The life of a request.
//!
//! `head`, `framing`, `chunked` and `hop` are pure: bytes to messages and back, and what may pass a hop.

pub mod chunked;
pub mod error;
pub mod framing;
pub mod head;
pub mod hop;

use bytes::BytesMut;

use crate::downstream::{Downstream, HttpKind};
use crate::stream::Stream;
use crate::worker::Worker;

/// Connections of one worker to endpoints and to the application.
#[derive(Default)]
pub struct Pools {}

/// Serves one accepted connection until it ends. `prefix` are bytes that were read from it already.
pub async fn serve(io: Stream, kind: HttpKind, prefix: BytesMut, downstream: Downstream, worker: Worker) {
    let _ = (io, kind, prefix, downstream, worker);
}
