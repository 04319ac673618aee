//! Answers in the application's place, sent.

use std::future::poll_fn;
use std::time::Duration;

use h2::Reason;
use http::Method;
use tokio::time::Instant;

use super::error::{BadMessage, Broken, RequestError};
use super::head::Response;
use super::origin::Origin;
use super::pump::Half;
use super::reply;
use super::sides::Down;
use crate::route::Own;

/// What became of a request.
pub(super) struct Answer {
    pub status: u16,
    pub failed: bool,
    /// Why it is not whole, or not the application's.
    pub error: Option<&'static str>,
    pub ended: Instant,
}

impl Answer {
    /// One that ends now.
    pub fn now(status: u16, failed: bool, error: Option<&'static str>) -> Self {
        Self { status, failed, error, ended: Instant::now() }
    }
}

/// Gives an answer of a route.
pub(super) async fn give(down: &mut Down<'_>, own: Own, method: &Method) -> Answer {
    let status = own.status;
    if let Err(error) = answer_with(down, reply::own(own, method), method).await {
        tracing::debug!(%error, "the client is gone before it was answered");
    }
    Answer::now(status.as_u16(), false, None)
}

/// Answers what is no request.
pub(super) async fn refuse_bad(origin: &Origin, mut down: Down<'_>, bad: BadMessage) {
    let answer = refuse(origin, &mut down, &bad.into(), &Method::GET, false).await;
    origin.edge(false).request(answer.status, Duration::ZERO, answer.failed);
}

/// Answers in the application's place.
pub(super) async fn refuse(
    origin: &Origin,
    down: &mut Down<'_>,
    error: &RequestError,
    method: &Method,
    grpc: bool,
) -> Answer {
    tracing::debug!(%error, "request refused");
    let (status, refused) = (error.status(), error.flag());
    if matches!(error, RequestError::ClientGone(broken) if !matches!(broken, Broken::Bad(_))) {
        down.abort(Reason::CANCEL);
        // What nginx logs for it: no answer was sent.
        return Answer::now(499, false, Some(error.flag()));
    }
    let mut send = true;
    match down {
        Down::H2 { respond, .. } => {
            if let Some(reason) = reply::reset_of(error, origin.is_mesh()) {
                respond.send_reset(reason);
                send = false;
            }
        }
        // A connection for one upgrade: closing it unanswered is how "never delivered" is said.
        Down::H1 { keep_alive, .. } if origin.is_mesh() && error.never_delivered() => {
            *keep_alive = false;
            send = false;
        }
        Down::H1 { keep_alive, .. } => {
            *keep_alive &= !matches!(error, RequestError::Bad(_) | RequestError::ClientGone(_))
        }
    }
    if send && let Err(error) = answer_with(down, reply::of(error, grpc, method), method).await {
        tracing::debug!(%error, "the client is gone before it was answered");
    }
    Answer::now(status.as_u16(), status.is_server_error(), Some(refused))
}

async fn answer_with(
    down: &mut Down<'_>,
    (response, mut text): (Response, bytes::Bytes),
    method: &Method,
) -> Result<(), Broken> {
    if let Down::H1 { conn, keep_alive, .. } = down {
        *keep_alive &= conn.is_read();
    }
    down.respond(response, method)?;
    if !text.is_empty() {
        let mut half = down.half();
        poll_fn(|cx| half.poll_send(cx, &mut text, true)).await?;
    }
    let mut half = down.half();
    if matches!(half, Half::H1(_)) {
        half.finish(None)?;
    }
    poll_fn(|cx| half.poll_flush(cx)).await
}
