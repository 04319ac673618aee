//! One request: match, pick, send, reply.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::error::{BadMessage, Broken, RequestError};
use super::framing::Length;
use super::head::{Request, Response};
use super::mirror;
use super::open::{Attempts, open};
use super::origin::{Origin, is_grpc};
use super::pump::{Pump, Side};
use super::reply;
use super::retry::{self, Next};
use super::routed;
use super::sides::{Down, Up};
use super::upgrade;
use crate::route::{Fault, Own};

/// Informational responses before the final one; they are not held back for a client that does not read.
const MAX_INTERIM: u32 = 64;

/// What became of a request.
struct Answer {
    status: u16,
    failed: bool,
    /// Why it is not whole, or not the application's.
    error: Option<&'static str>,
}

/// Carries one request and its response. Returns true if an HTTP/1 client may send another.
pub(super) async fn forward(
    origin: &Origin,
    deadline: &mut Deadline,
    mut down: Down<'_>,
    request: &mut Request,
) -> bool {
    let started = Instant::now();
    let grpc = is_grpc(&request.headers);
    let mut upload = Pump::upload(request.length == Length::Empty);
    let mut attempts = Attempts::new(started);
    let answer = match routed::begin(origin, request, &mut attempts) {
        Ok(None) => carry(origin, deadline, &mut down, request, &mut upload, &mut attempts).await,
        Ok(Some(own)) => Ok(Box::pin(give(&mut down, own, &request.method)).await),
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => Box::pin(refuse(origin, &mut down, &error, &request.method, grpc)).await,
    };
    deadline.after(None);
    origin.edge(grpc).request(answer.status, started.elapsed(), answer.failed);
    if let Some(taken) = &attempts.taken {
        taken.counters(origin).request(answer.status);
    }
    if origin.worker.telemetry().logs_access() {
        origin.log(request, answer.status, upload.bytes, started.elapsed(), &attempts, answer.error);
    }
    match down {
        Down::H1 { conn, keep_alive, .. } => keep_alive && upload.is_received() && conn.is_read(),
        Down::H2 { .. } => false,
    }
}

async fn carry(
    origin: &Origin,
    deadline: &mut Deadline,
    down: &mut Down<'_>,
    request: &Request,
    upload: &mut Pump,
    attempts: &mut Attempts,
) -> Result<Answer, RequestError> {
    if let Some(taken) = attempts.taken.as_ref().filter(|taken| taken.fault != Fault::default()) {
        Box::pin(routed::injected(down, taken.fault)).await?;
    }
    let (mut response, up) = loop {
        let outcome = attempt(origin, deadline, down, request, upload, attempts).await;
        match (attempts.next(origin, request, upload, &outcome), outcome) {
            (Next::Done, outcome) => break outcome?,
            (Next::Elsewhere, _) => {}
            (Next::Again(pause), outcome) => {
                drop(outcome);
                Box::pin(retry::wait(down, pause)).await?;
            }
        }
        upload.rewind();
    };
    if let Some(taken) = &attempts.taken {
        taken.route.filters.edit_response(&mut response.headers);
        if let Some(cluster) = &taken.mirror {
            taken.counters(origin).copy(mirror::send(origin, cluster, request, upload));
        }
    }
    upload.forget();
    deadline.after(None);
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Box::pin(upgrade::carry(origin, deadline, down, up, response, &request.method))
            .await
            .map(|status| Answer { status, failed: false, error: None });
    }
    relay(origin, deadline, down, up, response, request, upload).await
}

/// Gives an answer of a route.
async fn give(down: &mut Down<'_>, own: Own, method: &Method) -> Answer {
    let status = own.status;
    if let Err(error) = answer_with(down, reply::own(own, method), method).await {
        tracing::debug!(%error, "the client is gone before it was answered");
    }
    Answer { status: status.as_u16(), failed: false, error: None }
}

/// Sends the request to one place, and waits for the head of its response.
async fn attempt(
    origin: &Origin,
    deadline: &mut Deadline,
    down: &mut Down<'_>,
    request: &Request,
    upload: &mut Pump,
    attempts: &mut Attempts,
) -> Result<(Response, Up), RequestError> {
    let mut up = {
        let mut opening = pin!(open(origin, request, attempts, upload.is_received() && upload.is_sent()));
        poll_fn(|cx| match (opening.as_mut().poll(cx), down.poll_failed(cx)) {
            (Poll::Ready(up), _) => Poll::Ready(up),
            (Poll::Pending, Poll::Ready(gone)) => Poll::Ready(Err(RequestError::ClientGone(gone))),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        })
        .await?
    };
    attempts.sent_on(&up);
    let limits = Limits::of(origin, request, attempts);
    deadline.after(limits.now(upload));
    let interim = &mut attempts.interim;
    match answer(deadline, &limits, down, &mut up, upload, request, interim).await {
        Ok(response) => Ok((response, up)),
        Err(Stopped::Request(error)) => Err(error),
        Err(Stopped::Upstream(error)) => Err(up.failed(upload, error)),
    }
}

/// How long the next step may take.
struct Limits {
    sending: Option<Duration>,
    waiting: Option<Duration>,
}

impl Limits {
    fn of(origin: &Origin, request: &Request, attempts: &Attempts) -> Self {
        let waiting = attempts.limit();
        // The two ways of a gRPC stream take turns as they like.
        let sending = if is_grpc(&request.headers) {
            waiting
        } else {
            Some(waiting.unwrap_or_default().max(origin.worker.patience().body))
        };
        Self { sending, waiting }
    }

    fn now(&self, upload: &Pump) -> Option<Duration> {
        if upload.is_received() { self.waiting } else { self.sending }
    }
}

enum Stopped {
    Request(RequestError),
    Upstream(Broken),
}

/// Passes the body and informational responses on until the final response begins.
async fn answer(
    deadline: &mut Deadline,
    limits: &Limits,
    down: &mut Down<'_>,
    up: &mut Up,
    upload: &mut Pump,
    request: &Request,
    interim: &mut u32,
) -> Result<Response, Stopped> {
    let mut stuck: Option<Broken> = None;
    poll_fn(|cx| {
        let before = (upload.bytes, upload.is_received());
        if stuck.is_none() {
            match upload.poll(cx, &mut down.half(), &mut up.half()) {
                Poll::Ready(Err(Side::From(error))) => {
                    return Poll::Ready(Err(Stopped::Request(RequestError::ClientGone(error))));
                }
                Poll::Ready(Err(Side::To(Broken::Bad(bad)))) => {
                    return Poll::Ready(Err(Stopped::Request(RequestError::Bad(bad))));
                }
                // It may have answered before it closed: what it said comes first.
                Poll::Ready(Err(Side::To(error))) => stuck = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if before != (upload.bytes, upload.is_received()) {
            deadline.after(limits.now(upload));
        }
        loop {
            match up.poll_response(cx, &request.method) {
                Poll::Ready(Ok(response)) if is_unasked_switch(&response, request) => {
                    let switch = BadMessage::Malformed("status: 101 that was not asked for");
                    return Poll::Ready(Err(Stopped::Request(RequestError::BadResponse(switch))));
                }
                Poll::Ready(Ok(response)) if is_interim(&response) => {
                    *interim += 1;
                    if *interim > MAX_INTERIM {
                        let endless = BadMessage::Malformed("response: informational without end");
                        return Poll::Ready(Err(Stopped::Request(RequestError::BadResponse(endless))));
                    }
                    if let Err(error) = down.inform(response) {
                        return Poll::Ready(Err(Stopped::Request(RequestError::ClientGone(error))));
                    }
                    if let Poll::Ready(Err(error)) = down.half().poll_flush(cx) {
                        return Poll::Ready(Err(Stopped::Request(RequestError::ClientGone(error))));
                    }
                }
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(response)),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(Stopped::Upstream(
                        stuck.take().filter(is_reset).unwrap_or(error),
                    )));
                }
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(gone) = down.poll_failed(cx) {
            return Poll::Ready(Err(Stopped::Request(RequestError::ClientGone(gone))));
        }
        if deadline.poll_passed(cx).is_ready() {
            let slow = !upload.is_received() && upload.is_starved();
            let error = if slow { RequestError::ClientSlow } else { RequestError::Timeout };
            return Poll::Ready(Err(Stopped::Request(error)));
        }
        Poll::Pending
    })
    .await
}

/// 1xx, but for the switch that ends HTTP.
fn is_interim(response: &Response) -> bool {
    response.status.is_informational() && response.upgrade.is_none()
}

/// RFC 9110 section 7.8: what follows a 101 is another protocol, so it must be one that the client named, and say which.
fn is_unasked_switch(response: &Response, request: &Request) -> bool {
    let asked = request.upgrade.is_some() && response.upgrade.is_some();
    response.status == StatusCode::SWITCHING_PROTOCOLS && !asked
}

/// A reset says why; the end of the connection that follows does not.
fn is_reset(error: &Broken) -> bool {
    matches!(error, Broken::Stream(error) if error.is_reset())
}

/// Passes the response on, and what is left of the request.
async fn relay(
    origin: &Origin,
    late: &mut Deadline,
    down: &mut Down<'_>,
    mut up: Up,
    response: Response,
    request: &Request,
    upload: &mut Pump,
) -> Result<Answer, RequestError> {
    let status = response.status;
    let empty = response.length == Length::Empty;
    let mut cut = None;
    let mut failed = status.is_server_error() || grpc_failed(response.headers.get("grpc-status"));
    if let Down::H1 { keep_alive, .. } = down {
        *keep_alive &= upload.is_received() && !origin.is_ending();
    }
    down.respond(response, &request.method).map_err(RequestError::ClientGone)?;
    let mut download = if empty { Pump::done() } else { Pump::new() };
    let mut uploading = true;
    let stalled = origin.worker.patience().stalled;
    let mut waits_at = None;
    let broken = poll_fn(|cx| {
        if uploading {
            match upload.poll(cx, &mut down.half(), &mut up.half()) {
                Poll::Ready(Err(Side::From(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(Side::To(_)) | Ok(())) => uploading = false,
                Poll::Pending => {}
            }
        }
        match download.poll(cx, &mut up.half(), &mut down.half()) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Side::From(error) | Side::To(error))) => return Poll::Ready(Err(error)),
            Poll::Pending if download.is_blocked() => {
                let taken = download.passed + down.half().written();
                if waits_at.replace(taken) != Some(taken) {
                    late.after(Some(stalled));
                }
                if late.poll_passed(cx).is_ready() {
                    return Poll::Ready(Err(Broken::Stalled));
                }
            }
            Poll::Pending => waits_at = None,
        }
        down.poll_failed(cx).map(Err)
    })
    .await;
    failed |= download.trailers().is_some_and(|trailers| grpc_failed(trailers.get("grpc-status")));
    match broken {
        Ok(()) => up.release(&origin.worker, upload),
        Err(error) => {
            tracing::debug!(%error, "response cut short");
            (failed, cut) = (true, Some("cut-short"));
            down.abort(error.reason());
        }
    }
    Ok(Answer { status: status.as_u16(), failed, error: cut })
}

/// gRPC statuses that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS.
fn grpc_failed(status: Option<&http::HeaderValue>) -> bool {
    status.is_some_and(|status| [&b"2"[..], b"4", b"12", b"13", b"14", b"15"].contains(&status.as_bytes()))
}

/// Answers what is no request.
pub(super) async fn refuse_bad(origin: &Origin, mut down: Down<'_>, bad: BadMessage) {
    let answer = refuse(origin, &mut down, &bad.into(), &Method::GET, false).await;
    origin.edge(false).request(answer.status, Duration::ZERO, answer.failed);
}

/// Answers in the application's place.
async fn refuse(
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
        return Answer { status: 499, failed: false, error: Some(error.flag()) };
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
    Answer { status: status.as_u16(), failed: status.is_server_error(), error: Some(refused) }
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
    if matches!(half, super::pump::Half::H1(_)) {
        half.finish(None)?;
    }
    poll_fn(|cx| half.poll_flush(cx)).await
}
