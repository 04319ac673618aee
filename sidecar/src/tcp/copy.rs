//! Bytes both ways. A waiting connection owns no buffer: the worker's is borrowed for the length of a poll, and
//! only what the other side did not take at once is kept.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::stream::{Stream, Unheard};
use crate::worker::Worker;

/// Between two looks at whether a side is gone or nothing moves.
const LOOK: Duration = Duration::from_secs(20);

/// Bytes carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    /// From downstream to upstream.
    pub received: u64,
    /// From upstream to downstream.
    pub sent: u64,
}

/// One direction.
#[derive(Default)]
struct Half {
    left_over: BytesMut,
    carried: u64,
    ended: bool,
    unflushed: bool,
    done: bool,
}

/// Copies until both directions have ended. The end of one side is passed on as such (half-close), its breaking
/// off as RST, which is also how it ends where `cut` resolves, or the worker ends before: what is cut must not look
/// whole. `idle` of zero is no limit.
pub(super) async fn both_ways(
    worker: &Worker,
    mut downstream: Stream,
    mut upstream: Stream,
    prefix: BytesMut,
    idle: Duration,
    cut: impl Future<Output = ()>,
) -> Carried {
    downstream.reset_on_close();
    upstream.reset_on_close();
    let mut cut = pin!(cut);
    let mut there = Half { carried: prefix.len() as u64, left_over: prefix, ..Half::default() };
    let mut back = Half::default();
    let mut moved = Instant::now();
    let mut gone = (Unheard::default(), Unheard::default());
    let mut looked = moved;
    let next = |moved: Instant, looked: Instant| match idle {
        Duration::ZERO => looked + LOOK,
        idle => (looked + LOOK).min(moved + idle),
    };
    let mut alarm = pin!(sleep_until(next(moved, looked)));
    let ended = poll_fn(|cx| {
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = there.carried + back.carried;
        let (one, two) = worker.with_scratch(|scratch| {
            let one = there.poll(cx, scratch, &mut downstream, &mut upstream);
            (one, back.poll(cx, scratch, &mut upstream, &mut downstream))
        });
        match (one, two) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => {}
        }
        if there.carried + back.carried != before {
            moved = Instant::now();
        }
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let mut ends = !idle.is_zero() && moved + idle <= now;
            if looked + LOOK <= now {
                looked = now;
                ends |= gone.0.look(downstream.tcp(), LOOK) | gone.1.look(upstream.tcp(), LOOK);
            }
            if ends {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            alarm.as_mut().reset(next(moved, looked));
        }
        Poll::Pending
    });
    if ended.await.is_ok() {
        downstream.end_on_close();
        upstream.end_on_close();
    }
    Carried { received: there.carried, sent: back.carried }
}

impl Half {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_left_over(cx, to))?;
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut *from).poll_read(cx, &mut buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    self.poll_flush(cx, to)?;
                    return Poll::Pending;
                }
            }
            let read = buf.filled();
            self.ended = read.is_empty();
            self.unflushed |= !read.is_empty();
            self.carried += read.len() as u64;
            let written = match Pin::new(&mut *to).poll_write(cx, read) {
                _ if read.is_empty() => 0,
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.left_over.extend_from_slice(read.get(written..).unwrap_or_default());
        }
    }

    fn poll_left_over(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while !self.left_over.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.left_over))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.left_over.advance(written);
            if self.left_over.is_empty() {
                // Gives the memory back.
                self.left_over = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// TLS may keep written bytes back until they are flushed.
    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(to).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }
}
