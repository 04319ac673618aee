//! Bytes on their way out: small pieces are copied together, large ones are sent from where they lie, and
//! all of it goes in one vectored write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::spare;
use crate::stream::Stream;

/// Pieces up to this size are copied, bytes.
const COPY: usize = 4 * 1024;
/// Pieces per write.
const SLICES: usize = 16;

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Bytes>,
    queued: usize,
    tail: BytesMut,
    written: u64,
    unflushed: bool,
}

impl Outbox {
    /// Where small things are appended.
    pub fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            self.tail = spare::take();
        }
        &mut self.tail
    }

    /// Appends a piece.
    pub fn push(&mut self, data: Bytes) {
        if data.len() <= COPY {
            self.tail().extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.queued += tail.len();
            self.queue.push_back(tail);
        }
        self.queued += data.len();
        self.queue.push_back(data);
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gives memory back.
    pub fn rest(&mut self) {
        if self.is_empty() {
            spare::give(std::mem::take(&mut self.tail));
            self.queue.shrink_to(SLICES);
        }
    }

    /// Writes until nothing waits.
    pub fn poll_write(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let size = if self.queue.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let pieces = self.queue.iter().map(|piece| &piece[..]).chain([&self.tail[..]]);
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                }
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?
            };
            if size == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += size as u64;
            self.unflushed = true;
            self.advance(size);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes until nothing waits, here or below.
    pub fn poll_flush(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(io, cx))?;
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut size: usize) {
        while let Some(first) = self.queue.front_mut() {
            let step = size.min(first.len());
            first.advance(step);
            self.queued -= step;
            size -= step;
            if !first.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        if size == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(size);
        }
    }
}
