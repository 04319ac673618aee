//! Listening sockets by `sock_diag(7)`. `/proc/net/tcp` says the same, but each read of it walks the table of all
//! connections of the machine: milliseconds on a large one, many times a second while an application starts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::sockets::{Socket, State};
use crate::netlink::Netlink;

/// The kernel answers in the same call; this only bounds what should never be.
const ANSWER: Duration = Duration::from_millis(200);
/// SOCK_DIAG_BY_FAMILY (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// TCP_LISTEN (include/net/tcp_states.h).
const LISTEN: u8 = 10;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;

/// The listening sockets of both families.
///
/// # Errors
/// The kernel was built without it, or may not load it.
pub(super) fn listeners() -> io::Result<Vec<Socket>> {
    let netlink = Netlink::open(libc::NETLINK_SOCK_DIAG, ANSWER)?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        netlink.send(&request(family as u8))?;
        while !take(&netlink.receive()?, &mut found)? {}
    }
    Ok(found)
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2` with an empty socket id.
fn request(family: u8) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let states: u32 = 1 << LISTEN;
    let parts: [(usize, &[u8]); 5] = [
        (0, &(REQUEST as u32).to_ne_bytes()),
        (4, &BY_FAMILY.to_ne_bytes()),
        (6, &flags.to_ne_bytes()),
        (HEADER, &[family, libc::IPPROTO_TCP as u8]),
        (HEADER + 4, &states.to_ne_bytes()),
    ];
    for (at, part) in parts {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    }
    bytes
}

/// Reads one datagram of messages; true at the end of the answer.
fn take(mut datagram: &[u8], found: &mut Vec<Socket>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(datagram, 0), half(datagram, 4)) {
        let message = datagram.get(HEADER..length as usize).ok_or(io::ErrorKind::InvalidData)?;
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = word(message, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => found.extend(socket(message)),
        }
        // Messages are aligned to four bytes.
        datagram = datagram.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg`: family, state, two bytes, ports and addresses in network order; the user at 64.
fn socket(message: &[u8]) -> Option<Socket> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let address: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let ip = match i32::from(*message.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from_octets(*address.first_chunk()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from_octets(address)).to_canonical(),
        _ => return None,
    };
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (local, remote) = (SocketAddr::new(ip, port), SocketAddr::new(any, 0));
    (*message.get(1)? == LISTEN).then_some(Socket {
        local,
        remote,
        state: State::Listen,
        uid: word(message, 64)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn it_says_what_proc_says() {
        let bound: Vec<_> = ["127.0.0.1:0", "[::]:0", "0.0.0.0:0", "[::1]:0"]
            .iter()
            .map(|address| TcpListener::bind(address).unwrap())
            .collect();
        let seen = listeners().unwrap();
        let mut proc = super::super::sockets::listeners("/proc/net/tcp").unwrap();
        proc.extend(super::super::sockets::listeners("/proc/net/tcp6").unwrap());
        for listener in bound {
            let address = listener.local_addr().unwrap();
            let socket = seen.iter().find(|s| s.local == address).expect("seen");
            assert!(proc.contains(socket), "{socket:?}");
        }
    }
}
