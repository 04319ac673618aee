//! The PROXY protocol (haproxy.org, proxy-protocol.txt, 2020): a header before the first byte of a connection, by which a
//! load balancer says who its client is. Versions 1 and 2 are read, version 2 is written. Pure.

mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use write::{LOCAL, header};

/// First bytes of version 2 (section 2.2): no line of text begins so.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1 with its end (section 2.1).
pub const MAX_LINE: usize = 107;
/// Most bytes of a header of version 2, its fixed part included. Senders keep to 536 (section 2) but for certificates of
/// clients, which may stand in a TLV; 4 KiB has room for one, and is what is read at once.
pub const MAX_HEADER: usize = 4096;

/// Fixed part of version 2: signature, version and command, family, length.
const FIXED: usize = 16;
const FIRST_LINE: &[u8] = b"PROXY ";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Who the client is.
    Client(SocketAddr),
    /// Nothing that counts: the sender's own connection (LOCAL), or a client whose address is none of IP.
    Nobody,
}

/// Bytes that are no header. The connection must be closed (section 2): whatever comes, it is never taken for the
/// client's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Neither version's first bytes.
    #[error("no PROXY header")]
    Missing,
    /// Version 1, and not as it should be.
    #[error("PROXY header, version 1: {0}")]
    Line(&'static str),
    /// Version 2, and not as it should be.
    #[error("PROXY header, version 2: {0}")]
    Binary(&'static str),
}

/// Reads a header at the front of `first`: what it says, and its length. `None`: more bytes are needed.
///
/// # Errors
/// There is no header, or a broken one, or one over [`MAX_LINE`] or [`MAX_HEADER`].
pub fn read(first: &[u8]) -> Result<Option<(Said, usize)>, BadHeader> {
    if begins(first, SIGNATURE) {
        return if first.len() < FIXED { Ok(None) } else { binary(first) };
    }
    if begins(first, FIRST_LINE) {
        return line(first);
    }
    Err(BadHeader::Missing)
}

/// As far as both go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CR LF.
fn line(first: &[u8]) -> Result<Option<(Said, usize)>, BadHeader> {
    let window = first.get(..MAX_LINE).unwrap_or(first);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if first.len() < MAX_LINE { Ok(None) } else { Err(BadHeader::Line("over 107 bytes")) };
    };
    let text = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = text.ok_or(BadHeader::Line("it ends with LF instead of CR LF"))?;
    let text = std::str::from_utf8(text).map_err(|_| BadHeader::Line("bytes that are no text"))?;
    let mut words = text.split(' ').skip(1);
    let said = match words.next() {
        // What else stands there says nothing.
        Some("UNKNOWN") => Said::Nobody,
        Some("TCP4") => Said::Client(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Said::Client(addresses::<Ipv6Addr>(words)?),
        _ => return Err(BadHeader::Line("neither TCP4, TCP6 nor UNKNOWN")),
    };
    Ok(Some((said, end + 1)))
}

/// Source and destination, then their ports; the source counts.
fn addresses<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, BadHeader>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let mut address = || words.next().and_then(|word| word.parse::<A>().ok()).map(Into::into);
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(port);
    let ports = (port(), port());
    match (source, destination, ports, words.next()) {
        (Some(source), Some(_), (Some(port), Some(_)), None) => Ok(client(source, port)),
        _ => Err(BadHeader::Line("not two addresses and two ports")),
    }
}

/// Decimal; a leading zero is not permitted.
fn port(word: &str) -> Option<u16> {
    let sound = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if sound { word.parse().ok() } else { None }
}

/// Section 2.2. `first` has the fixed part.
fn binary(first: &[u8]) -> Result<Option<(Said, usize)>, BadHeader> {
    let at = |index: usize| first.get(index).copied().unwrap_or_default();
    let (version, command) = (at(12) >> 4, at(12) & 15);
    let (family, transport) = (at(13) >> 4, at(13) & 15);
    let length = FIXED + usize::from(u16::from_be_bytes([at(14), at(15)]));
    if version != 2 {
        return Err(BadHeader::Binary("it says another version"));
    }
    if length > MAX_HEADER {
        return Err(BadHeader::Binary("over 4 KiB"));
    }
    let said = match (command, family, transport) {
        // The family of LOCAL does not count.
        (0, ..) => None,
        (1, 1, 1) => Some(Family::V4),
        (1, 2, 1) => Some(Family::V6),
        // UNSPEC, datagrams, Unix sockets: nothing that a TCP client could have.
        (1, 0..=3, 0..=2) => None,
        (1, ..) => return Err(BadHeader::Binary("a family or transport that there is not")),
        _ => return Err(BadHeader::Binary("a command that there is not")),
    };
    let needs = match said {
        None => 0,
        Some(Family::V4) => 12,
        Some(Family::V6) => 36,
    };
    if length < FIXED + needs {
        return Err(BadHeader::Binary("too short for its addresses"));
    }
    // TLVs behind the addresses are read over: whatever a cloud's load balancer adds changes nothing.
    let Some(body) = first.get(FIXED..length) else { return Ok(None) };
    let said = match said {
        None => Some(Said::Nobody),
        Some(Family::V4) => source::<4>(body, 8),
        Some(Family::V6) => source::<16>(body, 32),
    };
    Ok(said.map(|said| (said, length)))
}

enum Family {
    V4,
    V6,
}

/// The source address at the front, and its port behind both addresses.
fn source<const SIZE: usize>(body: &[u8], port_at: usize) -> Option<Said>
where
    IpAddr: From<[u8; SIZE]>,
{
    let address: [u8; SIZE] = *body.first_chunk()?;
    let port: [u8; 2] = *body.get(port_at..)?.first_chunk()?;
    Some(Said::Client(client(IpAddr::from(address), u16::from_be_bytes(port))))
}

fn client(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

#[cfg(test)]
mod tests;
