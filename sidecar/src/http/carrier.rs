//! Tasks that carry the streams of HTTP/2 clients. One that is done waits for the next stream: a task for each stream takes
//! two large pieces of memory that the allocator is slow to find, and to join what runs and to leave it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;

use super::deadline::Deadline;
use super::forward::forward;
use super::framing;
use super::give::refuse_bad;
use super::h2stream::H2Stream;
use super::head::Request;
use super::origin::Origin;
use super::sides::Down;
use super::websocket;
use crate::worker::Worker;

/// Tasks of one worker that wait, at most: they keep some 300 KiB.
const MOST: usize = 128;

/// A stream of a client's connection, with its request.
pub(super) struct Asked {
    pub origin: Rc<Origin>,
    pub request: http::Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
}

/// Tasks of one worker that wait for a stream, last used first: what they need is most likely at hand.
#[derive(Default)]
pub(super) struct Carriers(RefCell<Vec<Rc<Hand>>>);

/// Where a task is given its next stream.
#[derive(Default)]
struct Hand {
    asked: Cell<Option<Asked>>,
    waiting: Cell<Option<Waker>>,
}

impl Carriers {
    /// Has a stream carried.
    pub fn carry(worker: &Worker, asked: Asked) {
        let waiting = worker.pools().carriers.0.borrow_mut().pop();
        let hand = waiting.clone().unwrap_or_default();
        hand.asked.set(Some(asked));
        match waiting {
            Some(hand) => hand.waiting.take().into_iter().for_each(Waker::wake),
            None => worker.spawn(run(worker.clone(), hand)),
        }
    }

    /// True if that task may wait for its next stream.
    fn wait(&self, hand: &Rc<Hand>) -> bool {
        let mut waiting = self.0.borrow_mut();
        let room = waiting.len() < MOST;
        if room {
            waiting.push(hand.clone());
        }
        room
    }
}

impl Hand {
    fn poll(&self, cx: &Context<'_>) -> Poll<Asked> {
        if let Some(asked) = self.asked.take() {
            return Poll::Ready(asked);
        }
        self.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// The life of a task. It holds nothing of a stream that has ended.
async fn run(worker: Worker, hand: Rc<Hand>) {
    loop {
        {
            let Asked { origin, request, respond } = poll_fn(|cx| hand.poll(cx)).await;
            let (head, recv) = request.into_parts();
            let length = framing::of_stream(&head.headers, recv.is_end_stream());
            let mut request =
                Request { method: head.method, uri: head.uri, headers: head.headers, length, upgrade: None };
            let mut down = Down::H2 { respond, stream: H2Stream { recv: Some(recv), send: None } };
            let protocol = head.extensions.get::<Protocol>();
            match protocol.and_then(|protocol| websocket::bootstrap(&mut request, protocol).err()) {
                Some(bad) => Box::pin(refuse_bad(&origin, down, bad)).await,
                None => drop(forward(&origin, &mut Deadline::default(), &mut down, &mut request).await),
            }
        }
        if !worker.pools().carriers.wait(&hand) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that wait keep it.
    #[test]
    fn a_task_is_small() {
        fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(run) <= 2400, "{} bytes", size(run));
    }
}
