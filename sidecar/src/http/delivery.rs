//! Proof that a request never reached the application, from what the kernel knows.
//! Why each rule holds: docs/decisions/0005-never-delivered.md.
#![allow(unsafe_code, reason = "TCP_INFO has no safe wrapper")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use super::error::Broken;
use super::h1::Conn;
use crate::stream::Stream;

/// A request up to this size, head and body, is read by applications in one piece or not at all.
const ONE_READ: u64 = 4 * 1024;
/// `tcpi_bytes_acked` counts the SYN.
const SYN: u64 = 1;
/// Where `tcpi_bytes_acked` lies in `struct tcp_info` (linux/tcp.h, since 4.1); libc's struct ends before.
const BYTES_ACKED: usize = 120;

/// Where the other end of a plaintext connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// On this one: its kernel is ours.
    Own,
    /// Elsewhere: a reset may come from whoever stands between, or from a host that was started anew since it answered.
    Another,
}

impl Host {
    /// That of the application at `address`: where it lives in another namespace, its own may have been made anew.
    pub fn of(address: SocketAddr, conn: &Conn) -> Self {
        let from = conn.io().tcp().local_addr().map(|from| from.ip());
        if is_own(address.ip(), from.ok()) { Self::Own } else { Self::Another }
    }
}

/// Who calls an address of its own does it from there.
fn is_own(address: IpAddr, from: Option<IpAddr>) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || from.is_some_and(|from| from.to_canonical() == address)
}

/// True if the application certainly did not read a request whose first byte was byte `start` of what was
/// written to `conn`, and that ended with `error` before any byte of a response. `whole`: all of it was written.
pub(super) fn never_delivered(conn: &Conn, start: u64, whole: bool, error: &Broken, host: Host) -> bool {
    if conn.written() == start {
        return true;
    }
    let Stream::Plain(tcp) = conn.io() else {
        // A peer's sidecar, called for an upgrade: an orderly end without an answer is how it says so.
        return matches!(error, Broken::Closed);
    };
    let untouched = || bytes_acked(tcp.as_raw_fd()).is_some_and(|acked| acked <= start + SYN);
    match error {
        Broken::Closed => untouched(),
        Broken::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => untouched(),
        Broken::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            host == Host::Own && whole && conn.is_flushed() && conn.written() - start <= ONE_READ
        }
        Broken::Io(_) | Broken::Bad(_) | Broken::Stream(_) | Broken::Stalled | Broken::Late(_) => false,
    }
}

fn bytes_acked(socket: i32) -> Option<u64> {
    let mut info = [0_u64; 32];
    let mut size = std::mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `info`, which is that long and may hold any bits.
    let result = unsafe {
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    let known = result == 0 && size as usize >= BYTES_ACKED + 8;
    info.get(BYTES_ACKED / 8).copied().filter(|_| known)
}

#[cfg(test)]
#[path = "delivery/tests.rs"]
mod tests;
