//! Moves one body from one side to the other, at the speed of the slower.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use super::error::Broken;
use super::h1::{Conn, Frame};
use super::h2stream::H2Stream;

/// Bytes of a request body kept until the response begins, so that it can be sent elsewhere.
pub const MAX_KEPT: usize = 64 * 1024;

/// One side of an exchange, as a body sees it.
pub(super) enum Half<'a> {
    /// HTTP/1.
    H1(&'a mut Conn),
    /// HTTP/2.
    H2(&'a mut H2Stream),
}

/// Which side broke.
#[derive(Debug)]
pub(super) enum Side {
    /// The one that sends the body.
    From(Broken),
    /// The one that receives it.
    To(Broken),
}

impl Side {
    /// What broke, on whichever side.
    pub fn into_broken(self) -> Broken {
        match self {
            Self::From(error) | Self::To(error) => error,
        }
    }
}

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// The next piece to go.
    waiting: Option<Bytes>,
    /// Those after it, where the body is sent again.
    again: std::vec::IntoIter<Bytes>,
    trailers: Option<HeaderMap>,
    /// The end was received.
    received: bool,
    /// The end was sent.
    sent: bool,
    kept: Option<Kept>,
    /// The receiver takes no more for now.
    blocked: bool,
    /// Bytes that the receiver's side took.
    pub passed: u64,
    /// Bytes received.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Bytes>,
    size: usize,
}

impl Pump {
    /// A body that is not kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// No body.
    pub fn done() -> Self {
        Self { received: true, sent: true, ..Self::default() }
    }

    /// A request body; `empty` when there is none.
    pub fn upload(empty: bool) -> Self {
        Self { received: empty, sent: empty, kept: Some(Kept::default()), ..Self::default() }
    }

    /// The whole body went.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// The whole body came.
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// All that came went on: the next step is the sender's.
    pub fn is_starved(&self) -> bool {
        self.waiting.is_none() && self.again.len() == 0
    }

    /// The next step is the receiver's.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The trailers, if they have come.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// From here on it need not be sent again.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Bytes received, if all of them are still kept.
    pub fn kept(&self) -> Option<usize> {
        self.kept.as_ref().map(|kept| kept.size)
    }

    /// The whole body and its trailers, if all of it has come and is still kept.
    pub fn whole(&self) -> Option<(Vec<Bytes>, Option<HeaderMap>)> {
        let kept = self.kept.as_ref().filter(|_| self.received)?;
        Some((kept.pieces.clone(), self.trailers.clone()))
    }

    /// Starts again from the first byte, towards another side. Only while [`Pump::kept`] says so.
    pub fn rewind(&mut self) {
        if let Some(kept) = &self.kept {
            self.waiting = None;
            self.again = kept.pieces.clone().into_iter();
            self.sent = self.received && self.is_starved() && self.trailers.is_none();
        }
    }

    /// Moves what can be moved; ready once the end is written out.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Half<'_>,
        to: &mut Half<'_>,
    ) -> Poll<Result<(), Side>> {
        self.blocked = true;
        loop {
            if self.sent {
                return to.poll_flush(cx).map_err(Side::To);
            }
            if self.received && self.is_starved() {
                to.finish(self.trailers.clone()).map_err(Side::To)?;
                self.sent = true;
                continue;
            }
            if let Some(mut data) = self.waiting.take().or_else(|| self.again.next()) {
                let size = data.len();
                let last = self.received && self.again.len() == 0 && self.trailers.is_none();
                let sent = to.poll_send(cx, &mut data, last);
                from.consumed(size - data.len());
                self.passed += (size - data.len()) as u64;
                if !data.is_empty() {
                    self.waiting = Some(data);
                }
                ready!(sent).map_err(Side::To)?;
                self.sent = last && to.ends_with_data();
                continue;
            }
            match from.poll_body(cx) {
                Poll::Pending => {
                    ready!(to.poll_flush(cx)).map_err(Side::To)?;
                    self.blocked = false;
                    return Poll::Pending;
                }
                Poll::Ready(frame) => self.take(frame.map_err(Side::From)?, from),
            }
        }
    }

    fn take(&mut self, frame: Option<Frame>, from: &Half<'_>) {
        match frame {
            Some(Frame::Data(data)) => {
                self.bytes += data.len() as u64;
                // An empty piece would be an empty chunk, which is the end, and to HTTP/2 it would say nothing.
                if !data.is_empty() {
                    self.keep(&data);
                    self.waiting = Some(data);
                }
                self.received = from.is_read();
            }
            Some(Frame::Trailers(trailers)) => {
                self.trailers = Some(trailers);
                self.received = true;
            }
            None => self.received = true,
        }
    }

    fn keep(&mut self, data: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.size += data.len();
            kept.pieces.push(data.clone());
            if kept.size > MAX_KEPT {
                self.kept = None;
            }
        }
    }
}

impl Half<'_> {
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Broken>> {
        match self {
            Self::H1(conn) => conn.poll_body(cx),
            Self::H2(stream) => stream.poll_body(cx),
        }
    }

    fn is_read(&self) -> bool {
        match self {
            Self::H1(conn) => conn.is_read(),
            Self::H2(stream) => stream.is_read(),
        }
    }

    /// Bytes the kernel took so far, where that is known.
    pub fn written(&self) -> u64 {
        match self {
            Self::H1(conn) => conn.written(),
            Self::H2(_) => 0,
        }
    }

    pub fn consumed(&mut self, size: usize) {
        if let Self::H2(stream) = self {
            stream.consumed(size);
        }
    }

    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        last: bool,
    ) -> Poll<Result<(), Broken>> {
        match self {
            Self::H1(conn) => conn.poll_send(cx, data),
            Self::H2(stream) => stream.poll_send(cx, data, last),
        }
    }

    /// The last piece of data can say that it is the last.
    fn ends_with_data(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    pub fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        match self {
            Self::H1(conn) => conn.finish(&trailers.unwrap_or_default()),
            Self::H2(stream) => stream.finish(trailers),
        }
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self {
            Self::H1(conn) => conn.poll_flush(cx).map_err(Broken::Io),
            // Its connection is flushed by the task that polls it.
            Self::H2(_) => Poll::Ready(Ok(())),
        }
    }
}
