//! `/proc/net/tcp` and `/proc/net/tcp6`, read as values.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use outrigger_wire::port;

/// Most rows taken from one table; a namespace with more is counted up to here.
const MAX_ROWS: usize = 100_000;

/// One TCP socket of this namespace. IPv4-mapped addresses are given as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end; unspecified for a listening socket.
    pub remote: SocketAddr,
    /// Where in its life it is.
    pub state: State,
    /// Who opened it.
    pub uid: u32,
}

/// The states that matter here (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Open both ways.
    Established,
    /// Waits for connections.
    Listen,
    /// Any other.
    Other,
}

/// The sockets of one table's text. Rows that do not parse (the heading, a newer layout) are left out.
pub fn parse(table: &str) -> impl Iterator<Item = Socket> {
    table.lines().filter_map(row)
}

/// Every socket of this namespace, listening ones first in each family.
pub(super) fn rows() -> io::Result<impl Iterator<Item = Socket>> {
    let v4 = table("/proc/net/tcp")?;
    // Without IPv6 in the kernel there is no such table.
    let v6 = match table("/proc/net/tcp6") {
        Ok(rows) => Some(rows),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(v4.chain(v6.into_iter().flatten()))
}

/// The listening sockets of one table: the kernel lists them before all others, so a table of many
/// connections costs no more than its first rows.
pub(super) fn listeners(path: &str) -> io::Result<Vec<Socket>> {
    match table(path) {
        Ok(rows) => Ok(rows.take_while(|socket| socket.state == State::Listen).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Every socket of this namespace now, with its state; at most 100,000 of each family.
///
/// # Errors
/// `/proc/net/tcp` cannot be read.
pub fn sockets() -> io::Result<Vec<Socket>> {
    Ok(rows()?.collect())
}

/// Every connection of this namespace that is open both ways now; at most 100,000 sockets of each family are looked at.
///
/// # Errors
/// `/proc/net/tcp` cannot be read.
pub fn established() -> io::Result<Vec<Socket>> {
    Ok(rows()?.filter(|socket| socket.state == State::Established).collect())
}

/// The application's connections that cross the border of the namespace without the sidecar, given all
/// established sockets of the namespace. Pure.
///
/// A redirect happens below the socket, so the application's end looks the same with and without it.
/// The sidecar's end tells: on the way out it has accepted a connection from the very same address; on the
/// way in both ends of the handed-over connection lie in this namespace.
pub fn unmeshed(established: &[Socket]) -> usize {
    let pairs: HashSet<_> = established.iter().map(|socket| (socket.local, socket.remote)).collect();
    let captured: HashSet<_> = established
        .iter()
        .filter(|socket| socket.local.port() == port::OUTBOUND)
        .map(|socket| socket.remote)
        .collect();
    established
        .iter()
        .filter(|socket| socket.uid != port::UID && !port::RESERVED.contains(&socket.local.port()))
        .filter(|socket| !socket.remote.ip().is_loopback() || is_virtual(socket.remote.ip()))
        .filter(|socket| !pairs.contains(&(socket.remote, socket.local)))
        .filter(|socket| !captured.contains(&socket.local))
        .count()
}

fn is_virtual(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [127, 64..=127, ..]))
}

fn table(path: &str) -> io::Result<impl Iterator<Item = Socket>> {
    let lines = BufReader::with_capacity(16 * 1024, File::open(path)?).lines();
    Ok(lines.map_while(Result::ok).take(MAX_ROWS).filter_map(|line| row(&line)))
}

fn row(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = match fields.next()? {
        "01" => State::Established,
        "0A" => State::Listen,
        _ => State::Other,
    };
    // Skipped: queues, timer, retransmissions.
    let uid = fields.nth(3)?.parse().ok()?;
    Some(Socket { local, remote, state, uid })
}

/// `0100007F:1F90`: each 32-bit word of the address in the host's byte order, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests;
