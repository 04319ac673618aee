//! Whether the other end of a connection is gone, from what the kernel knows: bytes are under way, and nothing of it was
//! heard. One that is there and takes nothing has acknowledged all that is under way (its window is closed).
#![allow(unsafe_code, reason = "TCP_INFO has no safe wrapper")]

use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::net::TcpStream;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(crate) struct Unheard {
    under_way: bool,
}

impl Unheard {
    /// True if bytes were under way at the look before, `since` ago, and nothing was heard since.
    pub fn look(&mut self, tcp: &TcpStream, since: Duration) -> bool {
        let (under_way, heard) = info(tcp.as_raw_fd()).unwrap_or((false, Duration::ZERO));
        let before = std::mem::replace(&mut self.under_way, under_way);
        before && under_way && heard >= since
    }
}

/// Bytes are sent and not acknowledged; how long ago the last acknowledgement came.
fn info(socket: i32) -> Option<(bool, Duration)> {
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = std::mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `info`, which is that long.
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size)
    };
    (result == 0).then(|| (info.tcpi_unacked > 0, Duration::from_millis(info.tcpi_last_ack_recv.into())))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// TCP_USER_TIMEOUT took a client that paused for one that is gone.
    #[tokio::test]
    async fn one_that_does_not_read_is_not_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        let mut unheard = Unheard::default();
        let tick = Duration::from_millis(300);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        while tokio::time::Instant::now() < deadline {
            while tcp.try_write(&[0; 65536]).is_ok() {}
            assert!(!unheard.look(&tcp, tick));
            tokio::time::sleep(tick).await;
        }
    }
}
