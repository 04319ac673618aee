//! An HTTP/1 client's connection: requests one after the other, in their order.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::Version;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::error::{BadMessage, Broken};
use super::forward::forward;
use super::give::refuse_bad;
use super::h1::Conn;
use super::head::{Request, Wire};
use super::origin::Origin;
use super::sides::Down;
use crate::patience::Patience;
use crate::stream::Stream;

/// After the last response: for the client to read it and close.
const LINGER: Duration = Duration::from_secs(1);
/// A client that was not told that its connection ends may have its next request under way: it has so long from its last
/// answer (or from connecting) for one more, when the drain begins.
const GRACE: Duration = Duration::from_secs(1);

/// Serves the connection until it ends. What is only there while there is a request is boxed: a connection that waits
/// for its next one is as large as this future.
pub(super) fn serve(io: Stream, prefix: BytesMut, origin: Origin) -> impl Future<Output = ()> {
    let mut conn = Conn::new(io, prefix);
    let waited_for = origin.ending.guard();
    // What a block captures lies there once; arguments of an async function lie there twice.
    async move {
        let _waited_for = waited_for;
        let mut deadline = Deadline::default();
        let patience = origin.worker.patience();
        let mut ending = origin.ending.clone();
        let mut ending = pin!(ending.begun());
        let mut rested = Instant::now();
        let open = loop {
            let exchange = match next(&mut conn, &mut deadline, patience, rested, ending.as_mut()).await {
                Next::Head(head) => Box::pin(exchange(&origin, &mut conn, &mut deadline, head)),
                Next::End => break false,
                Next::Wait if origin.moves() => return wait_elsewhere(conn, &origin),
                Next::Wait => match Box::pin(last(&mut conn, &mut deadline, patience)).await {
                    Next::Head(head) => Box::pin(exchange(&origin, &mut conn, &mut deadline, head)),
                    Next::End => break false,
                    Next::Wait => return wait_elsewhere(conn, &origin),
                },
            };
            match exchange.await {
                Some(ended) => rested = ended,
                None => break true,
            }
        };
        if open {
            let _bounded = Box::pin(tokio::time::timeout(LINGER, conn.linger())).await;
        }
    }
}

type Head = Result<(Request, Wire), BadMessage>;

/// One request and its response; when that ended, if the connection takes another. What its block captures lies there once.
fn exchange(
    origin: &Origin,
    conn: &mut Conn,
    deadline: &mut Deadline,
    mut head: Head,
) -> impl Future<Output = Option<Instant>> {
    let ending = origin.is_ending();
    async move {
        let (request, wire) = match &mut head {
            Ok((request, wire)) => (request, *wire),
            Err(bad) => {
                Box::pin(refuse(conn, origin, *bad)).await;
                return None;
            }
        };
        let keep_alive = wire.keep_alive && !ending;
        let mut down = Down::H1 { conn, wire, keep_alive };
        let ended = forward(origin, deadline, &mut down, request).await;
        if ended.is_some()
            && let Down::H1 { conn, .. } = down
        {
            conn.rest();
        }
        ended
    }
}

#[allow(clippy::large_enum_variant, reason = "lives for a moment, on the stack")]
enum Next {
    Head(Head),
    End,
    /// The drain has begun while no request was there.
    Wait,
}

/// The successor waits for the next request, if there is one: closing now could cross with it.
fn wait_elsewhere(conn: Conn, origin: &Origin) {
    if let (true, Stream::Plain(tcp)) = (conn.is_flushed(), conn.into_io()) {
        origin.worker.succession().give(tcp, origin.downstream.named(), origin.ending.guard());
    }
}

/// One more request of a client that was here a moment ago; it is told then.
async fn last(conn: &mut Conn, deadline: &mut Deadline, patience: Patience) -> Next {
    let rested = patience.idle.saturating_sub(deadline.left());
    let idle = GRACE.saturating_sub(rested);
    if idle.is_zero() {
        return Next::End;
    }
    let patience = Patience { idle, ..patience };
    next(conn, deadline, patience, Instant::now(), pin!(std::future::pending())).await
}

/// The next request; `rested` is when it began to be waited for.
async fn next(
    conn: &mut Conn,
    deadline: &mut Deadline,
    patience: Patience,
    rested: Instant,
    mut ending: Pin<&mut impl Future<Output = ()>>,
) -> Next {
    let mut idle = conn.is_idle();
    deadline.since(rested, Some(if idle { patience.idle } else { patience.head }));
    poll_fn(|cx| {
        match conn.poll_request(cx) {
            Poll::Ready(Ok(Some(head))) => return Poll::Ready(Next::Head(Ok(head))),
            Poll::Ready(Err(Broken::Bad(bad))) => return Poll::Ready(Next::Head(Err(bad))),
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Next::End),
            Poll::Pending => {}
        }
        if idle && !conn.is_idle() {
            idle = false;
            deadline.after(Some(patience.head));
        }
        if deadline.poll_passed(cx).is_ready() {
            return Poll::Ready(if idle { Next::End } else { Next::Head(Err(BadMessage::Slow)) });
        }
        if idle && ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Next::Wait);
        }
        Poll::Pending
    })
    .await
}

/// Answers what is no request.
async fn refuse(conn: &mut Conn, origin: &Origin, bad: BadMessage) {
    let wire = Wire { version: Version::HTTP_11, keep_alive: false, keep_alive_seconds: None };
    let down = Down::H1 { conn, wire, keep_alive: false };
    refuse_bad(origin, down, bad).await;
}
