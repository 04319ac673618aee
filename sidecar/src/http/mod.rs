//! The life of a request.

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
