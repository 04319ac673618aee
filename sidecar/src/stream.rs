//! One connection, plaintext or TLS; the only I/O type of the data path, so that nothing is generic over it.

mod ahead;
mod unheard;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

pub use ahead::Ahead;
pub(crate) use unheard::Unheard;

/// A connection to the application, to a peer's sidecar or to somewhere.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// TLS 1.3, handshake done.
    Tls(Box<TlsStream<Ahead>>),
}

/// A peer's sidecar that takes nothing for this long is gone: a dead network namespace sends no FIN, and a sidecar reads
/// on whatever its application does.
const SILENCE: Duration = Duration::from_secs(20);
/// The same for anyone else, who may take nothing because it is busy: the kernel does not tell the two apart.
const STALLED: Duration = Duration::from_secs(300);
/// Idle time before the first keep-alive probe.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time between keep-alive probes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

impl Stream {
    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }

    /// The own end.
    ///
    /// # Errors
    /// The socket is not connected any more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// Makes closing send RST instead of FIN: the other side learns that the stream did not end well. So it does where
    /// the process is killed.
    pub fn reset_on_close(&self) {
        let _already_closed = self.tcp().set_zero_linger();
    }

    /// Undoes [`Stream::reset_on_close`].
    pub fn end_on_close(&self) {
        let _already_closed = SockRef::from(self.tcp()).set_linger(None);
    }
}

/// No delay, keep-alive and a limit on silence; failing to set one is no reason to refuse a connection.
pub(crate) fn tune(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_INTERVAL);
    let _best_effort = (
        socket.set_tcp_nodelay(true),
        socket.set_tcp_keepalive(&keep_alive),
        socket.set_tcp_user_timeout(Some(STALLED)),
    );
}

/// At the other end is a sidecar that always reads: see [`SILENCE`].
pub(crate) fn expect_reading(tcp: &TcpStream) {
    let _best_effort = SockRef::from(tcp).set_tcp_user_timeout(Some(SILENCE));
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
