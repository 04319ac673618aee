//! The streams of one HTTP/2 connection that this sidecar opened: as many requests as the peer allows, then one for each
//! that ends.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use tokio::sync::Notify;

use super::error::RequestError;
use super::head::Request;
use super::{limits, sides};

/// A connection, as those who send requests on it see it.
pub(super) struct Link {
    send: RefCell<SendRequest<Bytes>>,
    usable: Cell<bool>,
    /// Requests on it.
    active: Cell<usize>,
    /// Requests that wait until one of those ends.
    waiting: Cell<usize>,
    freed: Notify,
}

/// A stream in use; counted until dropped.
pub(super) struct InUse(Rc<Link>);

/// What a request got: the response to come, and the body to send unless it ended with the head.
pub(super) type Sent = (ResponseFuture, SendStream<Bytes>, InUse);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.waiting.get() > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// A request that waits for a stream; counted until dropped.
struct Waiting<'a>(&'a Link);

impl<'a> Waiting<'a> {
    fn on(link: &'a Link) -> Self {
        link.waiting.set(link.waiting.get() + 1);
        Self(link)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl Link {
    pub fn new(send: SendRequest<Bytes>) -> Rc<Self> {
        let (active, waiting) = (Cell::new(0), Cell::new(0));
        let (send, usable, freed) = (RefCell::new(send), Cell::new(true), Notify::new());
        Rc::new(Self { send, usable, active, waiting, freed })
    }

    /// Requests on it, and for it.
    pub fn load(&self) -> usize {
        self.active.get() + self.waiting.get()
    }

    /// A stream is free that nobody waits for.
    pub fn has_room(&self) -> bool {
        self.load() < self.most()
    }

    /// Streams at once. One may always be asked for: the peer opens it when it allows one again.
    fn most(&self) -> usize {
        let most = self.send.borrow().current_max_send_streams();
        most.clamp(1, limits::MAX_STREAMS as usize)
    }

    /// A stream at once, if there is `room` and the connection takes more.
    pub fn take(self: &Rc<Self>, room: bool) -> Option<InUse> {
        (room && self.is_open()).then(|| {
            self.active.set(self.active.get() + 1);
            InUse(self.clone())
        })
    }

    /// A stream as soon as one is free; none: the connection takes no more. The wait of `h2` wakes one of those who wait on
    /// a handle, and who it is for loses its own wakeups.
    pub async fn wait(self: &Rc<Self>) -> Option<InUse> {
        let _waiting = Waiting::on(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // Before the look: what ends between look and wait is heard of.
            freed.as_mut().enable();
            if !self.usable.get() {
                return None;
            }
            if self.active.get() < self.most() {
                return self.take(true);
            }
            freed.await;
        }
    }

    /// It takes no more requests.
    pub fn retire(&self) {
        self.usable.set(false);
        self.freed.notify_waiters();
    }

    /// It takes requests. Never pending: nothing is sent on the handle that is asked.
    fn is_open(&self) -> bool {
        let ready = || self.send.borrow_mut().poll_ready(&mut Context::from_waker(Waker::noop()));
        self.usable.get() && matches!(ready(), Poll::Ready(Ok(())))
    }
}

impl InUse {
    /// Sends a head on it; `ended` when there is no body.
    ///
    /// # Errors
    /// Nothing was sent.
    pub fn send(self, request: &Request, ended: bool) -> Result<Sent, RequestError> {
        // Not on the handle that all share: it would take no other before this one's stream is opened.
        let mut send = self.0.send.borrow().clone();
        let sent = send.send_request(sides::h2_request(request), ended);
        let (response, body) = sent.map_err(|error| RequestError::NotDelivered(error.into()))?;
        Ok((response, body, self))
    }
}
