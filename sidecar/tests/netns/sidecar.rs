//! A stand-in for the sidecar: says what reached it and where that was meant to go.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use outrigger_wire::port;
use socket2::SockRef;

/// Starts listeners as a sidecar has them, in the current namespace, for the process's life.
pub fn start() {
    let outbound: [SocketAddr; 2] =
        [(Ipv4Addr::LOCALHOST, port::OUTBOUND).into(), (Ipv6Addr::LOCALHOST, port::OUTBOUND).into()];
    for address in outbound {
        tell(TcpListener::bind(address).unwrap(), "outbound");
    }
    tell(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port::INBOUND)).unwrap(), "inbound");
    tell(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port::MESH)).unwrap(), "mesh");
    tell(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port::ADMIN)).unwrap(), "admin");
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), port::DNS);
        tell(TcpListener::bind(address).unwrap(), "dns");
        echo(UdpSocket::bind(address).unwrap(), "dns");
    }
}

/// Only what the capture step waits for, so that it can be taken away again.
pub fn short_lived() -> Vec<TcpListener> {
    let ports = [port::OUTBOUND, port::INBOUND, port::DNS];
    ports.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()).into()
}

/// Answers each connection with `<name> <original destination>` and closes it.
pub fn tell(listener: TcpListener, name: &'static str) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let reference = SockRef::from(&stream);
            let original = reference.original_dst_v4().or_else(|_| reference.original_dst_v6());
            let original = original.ok().and_then(|address| address.as_socket());
            let local = stream.local_addr().unwrap();
            let shown = original.map_or(local, |address| address);
            let shown = SocketAddr::new(shown.ip().to_canonical(), shown.port());
            let _client_gone = write!(stream, "{name} {shown}");
        }
    });
}

/// Answers each datagram with `<name>`.
pub fn echo(socket: UdpSocket, name: &'static str) {
    thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut datagram) {
            let _client_gone = socket.send_to(name.as_bytes(), from);
        }
    });
}
