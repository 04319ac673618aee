//! Netlink sockets: datagrams of messages to and from the kernel, for this network namespace.
#![allow(
    unsafe_code,
    reason = "socket2 has no netlink address: it is written as its C struct; tokio's AsyncFd"
)]

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Largest datagram taken from the kernel; it never sends a larger one of its own accord (NLMSG_GOODSIZE
/// is a page, an error echoes the message it refuses).
const DATAGRAM: usize = 64 * 1024;

/// A conversation with one kernel subsystem. The kernel picks our address at the first send.
pub(crate) struct Netlink(Socket);

impl Netlink {
    /// Opens a socket to `protocol` (NETLINK_*); reads give up after `timeout`.
    pub(crate) fn open(protocol: i32, timeout: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_read_timeout(Some(timeout))?;
        Ok(Self(socket))
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let sent = self.0.send(datagram)?;
        if sent == datagram.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next datagram, at most 64 KiB.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut datagram = vec![0; DATAGRAM];
        let length = (&self.0).read(&mut datagram)?;
        datagram.truncate(length);
        Ok(datagram)
    }
}

/// Announcements of the kernel; what they say is not read, only that there was one.
pub(crate) struct Events(AsyncFd<Socket>);

impl Events {
    /// Announces each link that comes, changes or goes. Needs a running tokio runtime.
    pub(crate) fn links() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind(&group(libc::RTMGRP_LINK as u32))?;
        // SAFETY: the socket is moved in and stays open until the registration is dropped with it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?))
    }

    /// Waits for the next announcement and takes all that wait.
    pub(crate) async fn next(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut datagram = [0; 4096];
        loop {
            match { self.0.get_ref() }.read(&mut datagram) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Some were lost because too many waited: that is an announcement too.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

/// The address of a multicast group; the kernel picks the port.
fn group(groups: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: any bytes are a valid `sockaddr_nl`, which is plain integers and smaller than the storage.
    let address: &mut libc::sockaddr_nl = unsafe { storage.view_as() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    // SAFETY: the storage holds a `sockaddr_nl` of this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_nl>() as libc::socklen_t) }
}
