//! Fewer, larger writes under HTTP/2: the `h2` crate writes each frame on its own, and under TLS each write is
//! a record and a system call. Here frames wait until the connection has been polled, then go together.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::spare;
use crate::stream::Stream;

/// Writes from this size on go out directly: copying them would cost more than the call it saves.
const DIRECT: usize = 8 * 1024;
/// Bytes that may wait.
const MAX_WAITING: usize = 32 * 1024;

/// The I/O that an HTTP/2 connection owns; clones are the same. Whoever polls the connection calls
/// [`Coalesced::poll_out`] afterwards.
#[derive(Clone, Debug)]
pub(super) struct Coalesced(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    io: Stream,
    /// Read before the connection was known to be HTTP/2.
    prefix: BytesMut,
    waiting: BytesMut,
    unflushed: bool,
}

impl Coalesced {
    pub fn new(io: Stream, prefix: BytesMut) -> Self {
        Self(Rc::new(RefCell::new(Inner { io, prefix, waiting: BytesMut::new(), unflushed: false })))
    }

    /// Writes what waits.
    pub fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_out(cx)
    }
}

impl Inner {
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let size = ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting))?;
            if size == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            if size < self.waiting.len() {
                self.waiting.advance(size);
            } else {
                spare::give(std::mem::take(&mut self.waiting));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.prefix.is_empty() {
            return Pin::new(&mut inner.io).poll_read(cx, buf);
        }
        let size = inner.prefix.len().min(buf.remaining());
        buf.put_slice(&inner.prefix.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        let size = bufs.iter().map(|buf| buf.len()).sum();
        if size >= DIRECT || inner.waiting.len() + size > MAX_WAITING {
            ready!(inner.poll_waiting(cx))?;
        }
        if size >= DIRECT {
            inner.unflushed = true;
            return Pin::new(&mut inner.io).poll_write_vectored(cx, bufs);
        }
        if inner.waiting.capacity() == 0 {
            inner.waiting = spare::take();
        }
        for buf in bufs {
            inner.waiting.extend_from_slice(buf);
        }
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Not yet: see [`Coalesced::poll_out`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_out(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
