//! One request: match, pick, send, reply.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::error::{BadMessage, Broken, RequestError};
use super::framing::Length;
use super::give::{Answer, give, refuse};
use super::head::{Request, Response};
use super::lasting::{Lasting, Watch};
use super::limits::Client;
use super::mirror;
use super::open::{Attempts, open};
use super::origin::{Origin, is_grpc};
use super::pace::Pace;
use super::pump::{Pump, Side};
use super::relay::{self, relay};
use super::retry::{self, Next};
use super::routed;
use super::sides::{Down, Up};
use super::upgrade;
use crate::route::Fault;

/// Informational responses before the final one; they are not held back for a client that does not read.
const MAX_INTERIM: u32 = 64;

/// Carries one request and its response. Returns when that ended, if an HTTP/1 client may send another.
pub(super) async fn forward(
    origin: &Origin,
    deadline: &mut Deadline,
    down: &mut Down<'_>,
    request: &mut Request,
) -> Option<Instant> {
    let started = Instant::now();
    let grpc = is_grpc(&request.headers);
    let mut upload = Pump::upload(request.length == Length::Empty);
    let mut attempts = Attempts::new(started, grpc);
    let answer = match routed::begin(origin, request, &mut attempts) {
        Ok(None) => carry(origin, deadline, down, request, &mut upload, &mut attempts).await,
        Ok(Some(own)) => Ok(Box::pin(give(down, own, &request.method)).await),
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => Box::pin(refuse(origin, down, &error, &request.method, grpc)).await,
    };
    deadline.after(None);
    let took = answer.ended - started;
    origin.edge(grpc).request(answer.status, took, answer.failed);
    if let Some(taken) = &attempts.taken {
        taken.counters(origin).request(answer.status);
    }
    if origin.worker.telemetry().logs_access() {
        origin.log(request, answer.status, upload.bytes, took, &attempts, answer.error);
    }
    let another = match down {
        Down::H1 { conn, keep_alive, .. } => *keep_alive && upload.is_received() && conn.is_read(),
        Down::H2 { .. } => false,
    };
    another.then_some(answer.ended)
}

async fn carry(
    origin: &Origin,
    deadline: &mut Deadline,
    down: &mut Down<'_>,
    request: &mut Request,
    upload: &mut Pump,
    attempts: &mut Attempts,
) -> Result<Answer, RequestError> {
    if let Some(taken) = attempts.taken.as_ref().filter(|taken| taken.fault != Fault::default()) {
        Box::pin(routed::injected(down, taken.fault)).await?;
    }
    let (mut response, up) = loop {
        let pause = {
            let outcome = attempt(origin, deadline, down, request, upload, attempts).await;
            match attempts.next(origin, request, upload, &outcome) {
                Next::Done => break outcome?,
                Next::Elsewhere => None,
                Next::Again(pause) => Some(pause),
            }
        };
        if let Some(pause) = pause {
            Box::pin(retry::wait(down, pause)).await?;
        }
        upload.rewind();
    };
    if let Some(taken) = &attempts.taken {
        taken.route.filters.edit_response(&mut response.headers);
        if let Some(cluster) = &taken.mirror {
            taken.counters(origin).copy(mirror::send(origin, cluster, request, upload));
        }
    }
    if let Some(rated) = &attempts.rated {
        rated.write(&mut response.headers);
    }
    upload.forget();
    deadline.after(None);
    let lasting = Lasting::of(origin, attempts.taken.as_ref(), attempts.started);
    let watch = Watch { late: deadline, lasting };
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Box::pin(upgrade::carry(origin, watch, down, up, response, &request.method))
            .await
            .map(|status| Answer::now(status, false, None));
    }
    if matches!(down, Down::H2 { .. }) && request.upgrade.is_some() && response.status.is_success() {
        // To this client success would say that the WebSocket begins.
        let switch = BadMessage::Malformed("status: no switch, though one was asked for");
        return Err(RequestError::BadResponse(switch));
    }
    let head = relay::respond(origin, down, response, request, upload)?;
    relay(origin, watch, down, up, head, request, upload).await
}

/// Sends the request to one place, and waits for the head of its response. What its block captures lies there once.
fn attempt(
    origin: &Origin,
    deadline: &mut Deadline,
    down: &mut Down<'_>,
    request: &mut Request,
    upload: &mut Pump,
    attempts: &mut Attempts,
) -> impl Future<Output = Result<(Response, Up), RequestError>> {
    let ended = upload.is_received() && upload.is_sent();
    async move {
        let mut waited = false;
        let mut up = {
            let mut opening = pin!(open(origin, request, attempts, ended));
            poll_fn(|cx| {
                // Nearly always: there is a connection.
                if let Poll::Ready(up) = opening.as_mut().poll(cx) {
                    return Poll::Ready(up);
                }
                waited = true;
                down.poll_failed(cx).map(|gone| Err(RequestError::ClientGone(gone)))
            })
            .await?
        };
        attempts.sent_on(&up);
        let limits = Limits::of(origin, attempts);
        deadline.since(if waited { Instant::now() } else { attempts.began() }, limits.now(upload));
        let interim = &mut attempts.interim;
        match answer(deadline, &limits, down, &mut up, upload, request, interim).await {
            Ok(response) => Ok((response, up)),
            Err(Stopped::Request(error)) => Err(error),
            Err(Stopped::Upstream(error)) => Err(up.failed(upload, error)),
        }
    }
}

/// How long the next step may take.
struct Limits {
    sending: Option<Duration>,
    waiting: Option<Duration>,
    /// For a body that comes slowly, from outside.
    pace: Option<Duration>,
}

impl Limits {
    fn of(origin: &Origin, attempts: &Attempts) -> Self {
        let waiting = attempts.limit();
        // The two ways of a gRPC stream take turns as they like.
        let sending = if attempts.grpc {
            waiting
        } else {
            Some(waiting.unwrap_or_default().max(origin.worker.patience().body))
        };
        let pace = sending.filter(|_| !attempts.grpc && origin.client() == Client::Outside);
        Self { sending, waiting, pace }
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
    let mut pace = limits.pace.filter(|_| !upload.is_received()).map(|grace| Box::new(Pace::new(grace)));
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
        if let Some(pace) = pace.as_mut().filter(|_| !upload.is_received())
            && pace.poll_slow(cx, !upload.is_blocked(), upload.bytes).is_ready()
        {
            return Poll::Ready(Err(Stopped::Request(RequestError::ClientSlow)));
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
