//! A socket below TLS that reads more than it is asked for: rustls asks for 4 KiB at a time, and each asking would be a
//! system call. What comes at once is read at once, into a buffer of the thread. What rustls did not take yet stays in
//! that buffer where it is much, and is copied where it is little; a connection that waits has no buffer.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Read at once: eight TLS records of the largest size, bytes.
const READ: usize = 128 * 1024;
/// Less than that is copied rather than keep the buffer from others, bytes.
const MUCH: usize = 16 * 1024;
/// Buffers of a thread that connections may keep; of others all is copied. 1 MiB.
const LENT: usize = 8;
/// Buffers that wait for the next to read.
const SPARE: usize = 2;

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { spare: Vec::new(), lent: 0 }) };
}

/// Buffers of one thread.
struct Buffers {
    spare: Vec<Box<[u8]>>,
    lent: usize,
}

impl Buffers {
    fn take() -> Box<[u8]> {
        BUFFERS
            .with_borrow_mut(|buffers| buffers.spare.pop())
            .unwrap_or_else(|| vec![0; READ].into_boxed_slice())
    }

    fn lend() -> bool {
        BUFFERS.with_borrow_mut(|buffers| {
            let lends = buffers.lent < LENT;
            buffers.lent += usize::from(lends);
            lends
        })
    }

    fn put_back(buffer: Box<[u8]>, lent: bool) {
        // A connection may end with its thread, when there are none any more.
        let _thread_ends = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            buffers.lent = buffers.lent.saturating_sub(usize::from(lent));
            if buffers.spare.len() < SPARE {
                buffers.spare.push(buffer);
            }
        });
    }
}

/// What was read and not taken yet.
#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    left: Range<usize>,
    lent: bool,
}

impl Rest {
    /// What is left in a buffer; none if nothing is.
    fn of(buffer: Box<[u8]>, left: Range<usize>) -> Option<Self> {
        if left.len() >= MUCH && Buffers::lend() {
            return Some(Self { bytes: buffer, left, lent: true });
        }
        let copied: Box<[u8]> = buffer.get(left).unwrap_or_default().into();
        Buffers::put_back(buffer, false);
        (!copied.is_empty()).then(|| Self { left: 0..copied.len(), bytes: copied, lent: false })
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let now = self.left.start..self.left.end.min(self.left.start + buf.remaining());
        self.left.start = now.end;
        buf.put_slice(self.bytes.get(now).unwrap_or_default());
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if self.lent {
            Buffers::put_back(std::mem::take(&mut self.bytes), true);
        }
    }
}

/// The socket, and what was read ahead.
#[derive(Debug)]
pub struct Ahead {
    tcp: TcpStream,
    rest: Option<Rest>,
}

impl Ahead {
    /// Around a connected socket.
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, rest: None }
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut buffer = Buffers::take();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.tcp).poll_read(cx, &mut read);
        let (now, later) = read.filled().split_at(read.filled().len().min(buf.remaining()));
        buf.put_slice(now);
        let left = now.len()..now.len() + later.len();
        self.rest = Rest::of(buffer, left);
        polled
    }
}

impl AsyncRead for Ahead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(rest) = &mut this.rest else { return this.poll_fill(cx, buf) };
        rest.give(buf);
        if rest.left.is_empty() {
            this.rest = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_next_and_nothing_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut here = Ahead::new(listener.accept().await.unwrap().0);
        there.write_all(b"hello, world").await.unwrap();
        here.tcp().readable().await.unwrap();
        let mut word = [0; 5];
        here.read_exact(&mut word).await.unwrap();
        let rest = here.rest.as_ref().unwrap();
        assert_eq!((&word, &*rest.bytes, rest.lent), (b"hello", &b", world"[..], false));
        let mut rest = [0; 7];
        here.read_exact(&mut rest).await.unwrap();
        assert!(&rest == b", world" && here.rest.is_none());
        drop(there);
        assert_eq!(here.read(&mut rest).await.unwrap(), 0);
    }

    async fn pair() -> (TcpStream, Ahead) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (there, Ahead::new(listener.accept().await.unwrap().0))
    }

    /// Buffers that connections keep, and those that wait.
    fn buffers() -> (usize, usize) {
        BUFFERS.with_borrow(|buffers| (buffers.lent, buffers.spare.len()))
    }

    #[tokio::test]
    async fn much_stays_in_a_buffer_of_which_few_are_lent_and_all_come_back() {
        let sent: Vec<u8> = (0..2 * MUCH).map(|n| (n % 251) as u8).collect();
        let mut pairs = Vec::new();
        for _ in 0..LENT + 3 {
            let (mut there, mut here) = pair().await;
            there.write_all(&sent).await.unwrap();
            let mut first = [0];
            while here.tcp().peek(&mut vec![0; sent.len()]).await.unwrap() < sent.len() {
                tokio::task::yield_now().await;
            }
            here.read_exact(&mut first).await.unwrap();
            pairs.push((there, here));
        }
        assert_eq!(buffers().0, LENT);
        let lent: Vec<_> = pairs.iter().map(|(_, here)| here.rest.as_ref().unwrap()).collect();
        assert!(lent.iter().filter(|rest| !rest.lent).all(|rest| rest.bytes.len() == sent.len() - 1));
        let (_there, broken_off) = pairs.remove(0);
        drop(broken_off);
        assert_eq!(buffers().0, LENT - 1);
        for (_there, here) in &mut pairs {
            let mut rest = vec![0; sent.len() - 1];
            here.read_exact(&mut rest).await.unwrap();
            assert!(rest == sent[1..] && here.rest.is_none());
        }
        assert_eq!(buffers(), (0, SPARE));
    }
}
