//! An HTTP/2 client's connection: its streams, each carried by a task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection};

use super::carrier::{Asked, Carriers};
use super::coalesce::Coalesced;
use super::limits;
use super::origin::Origin;
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
                    let asked = Asked { origin: origin.clone(), request, respond };
                    Carriers::carry(&origin.worker, asked);
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
