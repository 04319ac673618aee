//! Copies of requests that nobody waits for. One is made when the real answer has begun, of a body that has come whole and
//! is still kept (64 KiB at most); it has its own connection or stream, and a bounded life.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use outrigger_wire::Timeouts;
use tokio::time::Instant;

use super::error::{Broken, RequestError};
use super::h1::Frame;
use super::head::Request;
use super::open::{Attempts, open};
use super::origin::{Origin, is_grpc};
use super::pump::Pump;
use super::sides::Up;
use crate::downstream::{Destination, Downstream};
use crate::rate::Admission;
use crate::route::COPY;

/// From a copy's first byte to the end of its answer.
const LONGEST: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read, so that its connection can be used again.
const MAX_ANSWER: usize = 1 << 20;

/// Sends a copy to a cluster, and returns true, if there is room for one more, a workload that takes it, and the whole body.
pub(super) fn send(origin: &Origin, cluster: &str, request: &Request, upload: &Pump) -> bool {
    let worker = &origin.worker;
    let ready = worker.generation().clusters.get(cluster).is_some_and(|cluster| cluster.has_ready());
    let body = upload.whole().filter(|_| ready && request.upgrade.is_none());
    let Some(((pieces, trailers), copying)) = body.and_then(|body| Some((body, worker.copy()?))) else {
        tracing::debug!(cluster, "no copy of this request");
        return false;
    };
    let mut headers = request.headers.clone();
    headers.remove(header::EXPECT);
    headers.insert(COPY, HeaderValue::from_static("1"));
    let (method, uri, length) = (request.method.clone(), request.uri.clone(), request.length);
    let mut copy = Request { method, uri, headers, length, upgrade: None };
    let destination = Destination::Cluster { cluster: cluster.to_owned(), timeouts: Timeouts::default() };
    let downstream = Downstream { destination, announce: None, ..origin.downstream.clone() };
    let origin = Origin::new(worker.clone(), downstream, origin.kind, Admission::Free);
    worker.spawn(async move {
        let carried = tokio::time::timeout(LONGEST, carry(&origin, &mut copy, pieces, trailers)).await;
        if let Ok(Err(error)) = carried {
            tracing::debug!(%error, "a copy of a request failed");
        }
        drop(copying);
    });
    true
}

async fn carry(
    origin: &Origin,
    copy: &mut Request,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<(), RequestError> {
    let mut attempts = Attempts::new(Instant::now(), is_grpc(&copy.headers));
    let ended = pieces.iter().all(Bytes::is_empty) && trailers.is_none();
    let mut up = open(origin, copy, &mut attempts, ended).await?;
    let carried = exchange(&mut up, copy, pieces, trailers).await;
    if carried.map_err(RequestError::Upstream)? {
        up.release(origin, &Pump::done(), Instant::now());
    }
    Ok(())
}

/// True once all of the answer was read.
async fn exchange(
    up: &mut Up,
    copy: &Request,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<bool, Broken> {
    let pieces: Vec<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    let count = pieces.len();
    for (n, mut piece) in pieces.into_iter().enumerate() {
        let last = n + 1 == count && trailers.is_none();
        while !piece.is_empty() {
            poll_fn(|cx| up.half().poll_send(cx, &mut piece, last)).await?;
        }
    }
    if trailers.is_some() || up.is_h1() {
        up.half().finish(trailers)?;
    }
    poll_fn(|cx| up.half().poll_flush(cx)).await?;
    while poll_fn(|cx| up.poll_response(cx, &copy.method)).await?.status.is_informational() {}
    let mut read = 0;
    while read < MAX_ANSWER {
        match poll_fn(|cx| up.half().poll_body(cx)).await? {
            Some(Frame::Data(data)) => {
                read += data.len();
                up.half().consumed(data.len());
            }
            Some(Frame::Trailers(_)) => {}
            None => return Ok(true),
        }
    }
    Ok(false)
}
