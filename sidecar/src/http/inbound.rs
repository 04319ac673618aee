//! What a request to the own application has to pass: rate limits, then a place among those under way.

use std::sync::Arc;

use super::error::RequestError;
use super::head::Request;
use super::open::Attempts;
use super::origin::Origin;
use crate::downstream::Direction;
use crate::rate::{Asked, Capacity, Fields, Place};

/// Counts a request at the limits that take it; what the client is to be told of them.
///
/// # Errors
/// It is over one of them.
pub(super) fn admit(
    origin: &Origin,
    request: &Request,
    attempts: &Attempts,
) -> Result<Option<Box<Fields>>, RequestError> {
    if origin.downstream.direction == Direction::Outbound {
        return Ok(None);
    }
    let Some(rates) = origin.worker.rates() else { return Ok(None) };
    let (Request { method, uri, headers, .. }, grpc) = (request, attempts.grpc);
    // A proven peer's name is made once for its connection.
    let caller = origin.is_mesh().then(|| origin.edge(grpc).key().peer.as_str());
    let source = origin.downstream.remote.ip();
    let asked = Asked { method, uri, headers, grpc, caller, source };
    let counted = |name: &str| origin.worker.telemetry().rate_limit(name);
    match rates.admit(asked, attempts.started.into_std(), counted) {
        Ok(fields) => Ok(fields.map(Box::new)),
        Err(refusal) => Err(RequestError::RateLimited(refusal)),
    }
}

/// A place for a request at the own application; none where nothing is bounded.
///
/// # Errors
/// There is none, and none came in time.
pub(super) async fn place(origin: &Origin) -> Result<Option<Place>, RequestError> {
    let Some((capacity, said)) = origin.worker.capacity(|said| said.requests > 0) else { return Ok(None) };
    if let Some(place) = capacity.request(&said) {
        return Ok(Some(place));
    }
    // Rare, and large: every request would carry room for it.
    Box::pin(wait(origin, &capacity, said.pending)).await.map(Some)
}

async fn wait(origin: &Origin, capacity: &Arc<Capacity>, pending: u32) -> Result<Place, RequestError> {
    let most = || origin.worker.capacity(|_| true).map_or(0, |(_, said)| said.requests);
    capacity.wait(pending, most).await.map_err(RequestError::Full)
}
