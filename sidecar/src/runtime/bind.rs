//! Listening sockets: one for each worker, on one address.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes before they are accepted; it caps this itself (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// Sockets bound to one address, one for each worker, not listening yet: until then the kernel refuses
/// connections, and nobody else can take the port.
#[derive(Debug)]
pub(super) struct Bound {
    sockets: Vec<Socket>,
    pub address: SocketAddr,
}

impl Bound {
    /// Binds. An address in use is an error even where the other is a process of the same user that shares ports.
    pub fn tcp(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let first = socket(address, Type::STREAM, false)?;
        first.bind(&address.into())?;
        let address = local(&first)?;
        if workers == 1 {
            return Ok(Self { sockets: vec![first], address });
        }
        drop(first);
        let shared = || {
            let socket = socket(address, Type::STREAM, true)?;
            socket.bind(&address.into())?;
            Ok(socket)
        };
        let sockets = (0..workers).map(|_| shared()).collect::<io::Result<_>>()?;
        Ok(Self { sockets, address })
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

/// A UDP socket.
pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, false)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, shared: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
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
