//! One HTTP/1 connection, either side of it: messages in, messages out, one buffer each way.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::chunked::{self, Chunks, Step};
use super::error::{BadMessage, Broken};
use super::framing::Length;
use super::head::{self, Request, Response, Wire};
use super::hop::Caller;
use super::outbox::Outbox;
use super::spare;
use super::trace;
use crate::stream::Stream;

/// Read at once while it is unknown how much will come. On the stack: an idle connection has no buffer.
const SCRATCH: usize = 8 * 1024;
/// Read at once while a body streams.
const BULK: usize = 64 * 1024;
/// Bytes to send that may wait in memory.
const MAX_QUEUED: usize = 64 * 1024;

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Bytes.
    Data(Bytes),
    /// The last piece.
    Trailers(HeaderMap),
}

#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Done,
    Length(u64),
    Chunks(Chunks),
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
enum Writing {
    Nothing,
    Length(u64),
    Chunks,
    Raw,
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub struct Conn {
    io: Stream,
    inbox: BytesMut,
    outbox: Outbox,
    reading: Reading,
    writing: Writing,
    /// Length of `inbox` when it last was no whole head.
    tried: usize,
    ended: bool,
    bulk: bool,
    /// More came at once than a spare buffer is for.
    large: bool,
    broken: bool,
}

impl Conn {
    /// A connection of which `prefix` was read already.
    pub fn new(io: Stream, prefix: BytesMut) -> Self {
        let outbox = Outbox::default();
        let (reading, writing) = (Reading::Done, Writing::Nothing);
        let (ended, bulk, large, broken) = (false, false, false, false);
        Self { io, inbox: prefix, outbox, reading, writing, tried: 0, ended, bulk, large, broken }
    }

    /// The socket and what is around it.
    pub fn io(&self) -> &Stream {
        &self.io
    }

    /// The socket alone.
    pub fn into_io(self) -> Stream {
        self.io
    }

    /// Bytes the kernel took so far.
    pub fn written(&self) -> u64 {
        self.outbox.written()
    }

    /// Nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// No byte of the next message has come.
    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The message being read is at its end.
    pub fn is_read(&self) -> bool {
        self.reading == Reading::Done
    }

    /// The message being written is complete.
    pub fn is_written(&self) -> bool {
        matches!(self.writing, Writing::Nothing | Writing::Length(0))
    }

    /// The next request; `None` when the client closed between two.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Request, Wire)>, Broken>> {
        loop {
            if self.may_be_head()
                && let Some((request, wire)) = head::take_request(&mut self.inbox)?
            {
                self.read_body(request.length);
                return Poll::Ready(Ok(Some((request, wire))));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let between = self.inbox.is_empty();
                return Poll::Ready(if between { Ok(None) } else { Err(Broken::Closed) });
            }
        }
    }

    /// The next response to `method`: an informational one, or the final one.
    pub fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
    ) -> Poll<Result<(Response, Wire), Broken>> {
        loop {
            if self.may_be_head()
                && let Some((response, wire)) = head::take_response(&mut self.inbox, method)?
            {
                self.read_body(response.length);
                return Poll::Ready(Ok((response, wire)));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
    }

    /// The next piece of the message being read; `None` at its end.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Broken>> {
        loop {
            if self.reading == Reading::Done {
                return Poll::Ready(Ok(None));
            }
            if let Some(frame) = self.take_frame()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.reading != Reading::Done && ready!(self.poll_fill(cx))? == 0 {
                if self.reading != Reading::UntilClose {
                    return Poll::Ready(Err(Broken::Closed));
                }
                self.reading = Reading::Done;
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, BadMessage> {
        match &mut self.reading {
            Reading::Chunks(chunks) => match chunks.step(&mut self.inbox)? {
                Step::Data(data) => {
                    if chunks.ends_plainly(&mut self.inbox) {
                        self.reading = Reading::Done;
                    }
                    Ok(Some(Frame::Data(data)))
                }
                Step::End(trailers) => {
                    self.reading = Reading::Done;
                    Ok((!trailers.is_empty()).then_some(Frame::Trailers(trailers)))
                }
                Step::More => Ok(None),
            },
            _ if self.inbox.is_empty() => Ok(None),
            Reading::Length(left) => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(self.inbox.len());
                *left -= size as u64;
                if *left == 0 {
                    self.reading = Reading::Done;
                }
                Ok(Some(Frame::Data(self.inbox.split_to(size).freeze())))
            }
            Reading::UntilClose => Ok(Some(Frame::Data(self.inbox.split().freeze()))),
            Reading::Done => Ok(None),
        }
    }

    /// Watches a connection whose message was read: resolves when it fails. An orderly end is no failure:
    /// a client may close its half and still wait for the answer.
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        while !self.ended && self.inbox.len() < head::MAX_HEAD {
            if let Err(error) = ready!(self.poll_fill(cx)) {
                return Poll::Ready(error.into());
            }
        }
        Poll::Pending
    }

    /// True as long as an idle connection can be used again: it is open, and the other side said nothing.
    pub fn is_quiet(&mut self) -> bool {
        let pending = self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending();
        pending && self.inbox.is_empty()
    }

    /// Queues a request head; `caller` is what it is to tell of who calls, `trace` the one that it begins.
    pub fn start_request(&mut self, request: &Request, caller: Option<&Caller>, trace: Option<&trace::New>) {
        self.writing = match request.length {
            Length::Empty => Writing::Nothing,
            Length::Known(length) => Writing::Length(length),
            Length::Unknown | Length::UntilClose => Writing::Chunks,
        };
        head::put_request(self.outbox.tail(), request, self.writing == Writing::Chunks, caller, trace);
    }

    /// Queues the head of a final response to a client that spoke as `wire` says; returns false if the connection
    /// must close after it.
    pub fn start_response(&mut self, response: &Response, wire: Wire, keep_alive: bool) -> bool {
        let old = wire.version == Version::HTTP_10;
        self.writing = match response.length {
            Length::Empty => Writing::Nothing,
            Length::Known(length) => Writing::Length(length),
            Length::Unknown | Length::UntilClose if old => Writing::Raw,
            Length::Unknown | Length::UntilClose => Writing::Chunks,
        };
        let keep_alive = keep_alive && wire.keep_alive && self.writing != Writing::Raw;
        let connection = match (keep_alive, old) {
            (true, true) => Some("keep-alive"),
            (true, false) => None,
            (false, _) => Some("close"),
        };
        head::put_response(self.outbox.tail(), response, self.writing == Writing::Chunks, connection);
        keep_alive
    }

    /// Queues an informational response.
    pub fn inform(&mut self, response: &Response) {
        head::put_response(self.outbox.tail(), response, false, None);
    }

    /// From here on both ways carry bytes.
    pub fn switch(&mut self) {
        self.reading = Reading::UntilClose;
        self.writing = Writing::Raw;
    }

    /// Queues all of `data`, after making room.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<(), Broken>> {
        if self.outbox.len() >= MAX_QUEUED {
            ready!(self.outbox.poll_write(&mut self.io, cx))?;
        }
        let data = std::mem::take(data);
        match &mut self.writing {
            Writing::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Err(BadMessage::Malformed("body: longer than said").into())),
            },
            Writing::Chunks if data.is_empty() => return Poll::Ready(Ok(())),
            Writing::Chunks => chunked::put_size(self.outbox.tail(), data.len()),
            Writing::Raw => {}
            Writing::Nothing if data.is_empty() => {}
            Writing::Nothing => {
                return Poll::Ready(Err(BadMessage::Malformed("body: where none may be").into()));
            }
        }
        self.outbox.push(data);
        if self.writing == Writing::Chunks {
            self.outbox.tail().extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the end of the message.
    ///
    /// # Errors
    /// Less was sent than was said.
    pub fn finish(&mut self, trailers: &HeaderMap) -> Result<(), Broken> {
        match self.writing {
            Writing::Length(1..) => return Err(BadMessage::Malformed("body: shorter than said").into()),
            Writing::Chunks => chunked::put_end(self.outbox.tail(), trailers),
            Writing::Length(0) | Writing::Nothing | Writing::Raw => {}
        }
        self.writing = Writing::Nothing;
        Ok(())
    }

    /// Writes all that waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(&mut self.io, cx)
    }

    /// Ends the own half.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Makes closing send RST: the other side must not take what it got for the whole. At once where the end of the
    /// connection would say that it is; else what was written may arrive first.
    pub fn break_off(&mut self) {
        self.io.reset_on_close();
        self.broken = self.writing == Writing::Raw;
    }

    /// Closes so that what was written arrives: a close with bytes unread would send RST, which takes the
    /// response away from a client that has not read it yet (RFC 9112 section 9.6). Reads on and throws away until the
    /// client closes; the caller bounds it in time.
    pub async fn linger(&mut self) {
        if self.broken {
            return;
        }
        let ended = std::future::poll_fn(|cx| self.poll_shutdown(cx)).await;
        let mut left: usize = 16 << 20;
        while ended.is_ok() && left > 0 {
            self.inbox.clear();
            match std::future::poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) | Err(_) => break,
                Ok(size) => left = left.saturating_sub(size),
            }
        }
    }

    /// Gives buffers back that an idle connection does not need.
    pub fn rest(&mut self) {
        if self.inbox.is_empty() {
            let inbox = std::mem::take(&mut self.inbox);
            if !self.large {
                spare::give_shared(inbox);
            }
        }
        self.outbox.rest();
        (self.bulk, self.large) = (false, false);
    }

    fn read_body(&mut self, length: Length) {
        self.tried = 0;
        self.reading = match length {
            Length::Empty | Length::Known(0) => Reading::Done,
            Length::Known(length) => Reading::Length(length),
            Length::Unknown => Reading::Chunks(Chunks::Size),
            Length::UntilClose => Reading::UntilClose,
        };
    }

    /// Parsing again is only worth it when a line has ended since, or the head is too long.
    fn may_be_head(&mut self) -> bool {
        let new = self.inbox.get(self.tried..).unwrap_or_default();
        let worth = new.contains(&b'\n') || self.inbox.len() >= head::MAX_HEAD;
        self.tried = self.inbox.len();
        worth
    }

    /// Reads more; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let size = if self.bulk && self.reading != Reading::Done {
            self.inbox.reserve(BULK);
            let read = pin!(self.io.read_buf(&mut self.inbox)).poll(cx);
            ready!(read)?
        } else {
            let mut scratch = [MaybeUninit::<u8>::uninit(); SCRATCH];
            let mut buffer = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if self.inbox.capacity() == 0 {
                self.inbox = spare::take_shared();
            }
            self.inbox.extend_from_slice(buffer.filled());
            buffer.filled().len()
        };
        self.bulk = size >= SCRATCH;
        self.large |= self.inbox.len() >= SCRATCH;
        self.ended = size == 0;
        Poll::Ready(Ok(size))
    }
}

impl Chunks {
    /// True when the body ends right here without trailers; takes the end off the buffer. Saves an empty frame.
    fn ends_plainly(&self, buffer: &mut BytesMut) -> bool {
        let ends = *self == Self::Data(0) && buffer.starts_with(b"\r\n0\r\n\r\n");
        if ends {
            buffer.advance(7);
        }
        ends
    }
}
