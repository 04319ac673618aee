//! A socket below TLS that reads more than it is asked for: rustls asks for 4 KiB at a time, and each asking would be a
//! system call. What comes at once is read at once, into a buffer of the thread; only what rustls did not take yet is
//! kept, so a connection that waits has no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Read at once: four TLS records of the largest size, bytes.
const READ: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// The socket, and what was read ahead.
#[derive(Debug)]
pub struct Ahead {
    tcp: TcpStream,
    rest: BytesMut,
}

impl Ahead {
    /// Around a connected socket.
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, rest: BytesMut::new() }
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
            let (now, later) = read.filled().split_at(read.filled().len().min(buf.remaining()));
            buf.put_slice(now);
            self.rest.extend_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncRead for Ahead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return this.poll_fill(cx, buf);
        }
        let size = this.rest.len().min(buf.remaining());
        buf.put_slice(this.rest.get(..size).unwrap_or_default());
        this.rest.advance(size);
        if this.rest.is_empty() {
            this.rest = BytesMut::new();
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
        assert_eq!((&word, &here.rest[..]), (b"hello", &b", world"[..]));
        let mut rest = [0; 7];
        here.read_exact(&mut rest).await.unwrap();
        assert_eq!((&rest, here.rest.capacity()), (b", world", 0));
        drop(there);
        assert_eq!(here.read(&mut rest).await.unwrap(), 0);
    }
}
