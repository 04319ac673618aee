//! Listening sockets: one for each worker, on one address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes before they are accepted; it caps this itself (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// Sockets bound to one address, one for each worker, not listening yet: until then the kernel refuses
/// connections, and nobody else can take the port.
#[derive(Debug)]
pub(crate) struct Bound {
    sockets: Vec<Socket>,
    pub address: SocketAddr,
}

impl Bound {
    /// Binds. An address in use is an error even where the other is a process of the same user that shares ports.
    pub fn tcp(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let first = match bound(address, false) {
            // A kernel without IPv6: all addresses are those of IPv4.
            Err(error) if address.ip().is_unspecified() && without_ipv6(&error) => {
                bound((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)?
            }
            first => first?,
        };
        let address = local(&first)?;
        if workers == 1 {
            return Ok(Self { sockets: vec![first], address });
        }
        drop(first);
        let sockets = (0..workers).map(|_| bound(address, true)).collect::<io::Result<_>>()?;
        Ok(Self { sockets, address })
    }

    /// Sockets of a predecessor: all of them are served, since each has connections of its own that wait in it. Where
    /// there are fewer than workers, some share one. `None` when there are none.
    pub fn inherited(sockets: Vec<OwnedFd>, workers: usize) -> io::Result<Option<Self>> {
        let mut sockets: Vec<Socket> = sockets.into_iter().map(Socket::from).collect();
        let Some(first) = sockets.first() else { return Ok(None) };
        let (address, given) = (local(first)?, sockets.len());
        for index in given..workers {
            let shared = sockets.get(index % given).map(Socket::try_clone).transpose()?;
            sockets.extend(shared);
        }
        Ok(Some(Self { sockets, address }))
    }

    /// Duplicates, for a successor.
    pub fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Starts listening.
    pub fn listen(self) -> io::Result<Vec<TcpListener>> {
        let listen = |socket: Socket| {
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from(socket))
        };
        self.sockets.into_iter().map(listen).collect()
    }
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = socket(address, shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a socket without an address"))
}
