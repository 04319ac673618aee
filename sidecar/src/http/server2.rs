//! An HTTP/2 client's connection: a task per stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::{Builder, Connection, SendResponse};

use super::coalesce::Coalesced;
use super::deadline::Deadline;
use super::forward::forward;
use super::framing;
use super::give::refuse_bad;
use super::h2stream::H2Stream;
use super::head::Request;
use super::limits;
use super::origin::Origin;
use super::sides::Down;
use super::websocket;
use crate::stream::Stream;

/// From the connection's first byte to the client's SETTINGS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves the connection until it ends.
pub(super) async fn serve(io: Stream, prefix: BytesMut, origin: Origin) {
    let _waited_for = origin.ending.guard();
    let io = Coalesced::new(io, prefix);
    let origin = Rc::new(origin);
    let builder = limits::server(origin.client());
    match tokio::time::timeout(HANDSHAKE, handshake(&io, &builder)).await {
        Ok(Ok(connection)) => drive(connection, &io, &origin).await,
        Ok(Err(error)) => tracing::debug!(%error, "HTTP/2 handshake failed"),
        Err(_) => tracing::debug!("no HTTP/2 handshake in time"),
    }
}

/// Reads the client's preface, and sends SETTINGS.
pub(super) async fn handshake(
    io: &Coalesced,
    builder: &Builder,
) -> Result<Connection<Coalesced, Bytes>, h2::Error> {
    let mut shaking = pin!(builder.handshake(io.clone()));
    poll_fn(|cx| {
        let shaken = shaking.as_mut().poll(cx);
        let _written = io.poll_out(cx);
        shaken
    })
    .await
}

async fn drive(mut connection: Connection<Coalesced, Bytes>, io: &Coalesced, origin: &Rc<Origin>) {
    let mut ending = origin.ending.clone();
    let mut ending = pin!(ending.begun());
    let mut told = false;
    poll_fn(|cx| {
        if !told && ending.as_mut().poll(cx).is_ready() {
            told = true;
            connection.graceful_shutdown();
        }
        let ended = loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    // Boxed: a task is copied three times on its way to its place, and the place of a large one is slow to find.
                    let task = Box::pin(stream(origin.clone(), request, respond));
                    origin.worker.spawn(task);
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "HTTP/2 connection broke");
                    break Poll::Ready(());
                }
                Poll::Ready(None) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        // An error here is seen by the connection as well, when it next reads or writes.
        let _written = io.poll_out(cx);
        ended
    })
    .await;
}

/// One request. What a block captures lies there once; arguments of an async function lie there twice, and a new task is
/// copied whole.
fn stream(
    origin: Rc<Origin>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> impl Future<Output = ()> {
    let (head, recv) = request.into_parts();
    let length = framing::of_stream(&head.headers, recv.is_end_stream());
    let mut request =
        Request { method: head.method, uri: head.uri, headers: head.headers, length, upgrade: None };
    let mut down = Down::H2 { respond, stream: H2Stream { recv: Some(recv), send: None } };
    let protocol = head.extensions.get::<Protocol>();
    let bad = protocol.and_then(|protocol| websocket::bootstrap(&mut request, protocol).err());
    async move {
        match bad {
            Some(bad) => Box::pin(refuse_bad(&origin, down, bad)).await,
            None => drop(forward(&origin, &mut Deadline::default(), &mut down, &mut request).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is copied three times on its way into its task, and lies there as long as the request runs.
    #[test]
    fn a_stream_is_small() {
        fn size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(stream) <= 2200, "{} bytes", size(stream));
    }
}
