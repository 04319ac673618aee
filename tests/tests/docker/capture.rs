//! Frames on a compose network's bridge, and the TCP flows in them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::project::{Project, docker};

/// Ends the capture: a UDP datagram, which no mesh touches, sent by the client after everything else.
const LAST_WORD: &str = "that-was-all";
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A capture under way, made by a container in the engine's own network namespace.
pub struct Capture {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// One direction of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flow {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
}

/// What opened a connection and what its opener said first.
#[derive(Default, Debug)]
pub struct Opening {
    /// The sequence number of the SYN; none where the connection is older than the capture.
    pub syn: Option<u32>,
    /// The payload of the segment right behind the SYN.
    pub first: Vec<u8>,
}

impl Capture {
    /// Captures on the bridge of this project's network; when this returns, no frame escapes any more.
    pub fn start(project: &Project, network: &str, image: &str) -> Self {
        let id = docker(&["network", "inspect", "-f", "{{.Id}}", &project.full(network)]);
        let bridge = format!("br-{}", &id.trim()[..12]);
        Self::on(&bridge, format!("{}-capture", project.name), image)
    }

    /// Captures on a bridge of this machine, by a container of this name.
    pub fn on(bridge: &str, name: String, image: &str) -> Self {
        let mut child = Command::new("docker")
            .args(["run", "--rm", "--network=host", "--cap-add=NET_RAW", "--name", &name, image])
            .args(["python3", "-c", include_str!("capture.py"), bridge, LAST_WORD])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let first = lines.next().expect("the capture says that it began").expect("it is text");
        assert_eq!(first, "capturing");
        Self { name, child, lines }
    }

    /// Has `client` say the last word to `server`, and gives all frames up to that one.
    pub fn end(self, project: &Project, client: &str, server: Ipv4Addr) -> Vec<Vec<u8>> {
        self.end_in(&project.container(client), server)
    }

    /// The same with the client's container.
    pub fn end_in(mut self, client: &str, server: Ipv4Addr) -> Vec<Vec<u8>> {
        let say = format!(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{LAST_WORD}', ('{server}', 9))"
        );
        docker(&["exec", client, "python3", "-c", &say]);
        let frames = self.lines.by_ref().map(|line| bytes(&line.expect("the capture prints text"))).collect();
        assert!(self.child.wait().expect("the capture ends").success());
        frames
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("docker").args(["rm", "-f", &self.name]).output();
            let _ = self.child.wait();
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    hex.as_bytes().chunks(2).map(byte).collect()
}

/// True if any frame holds these bytes.
pub fn hold(frames: &[Vec<u8>], wanted: &str) -> bool {
    frames.iter().any(|frame| frame.windows(wanted.len()).any(|part| part == wanted.as_bytes()))
}

/// Every TCP connection between two addresses, as its opener speaks; one whose SYN was not seen counts in both
/// directions, so that it is not overlooked.
pub fn openings(frames: &[Vec<u8>], one: Ipv4Addr, other: Ipv4Addr) -> BTreeMap<Flow, Opening> {
    let mut openings: BTreeMap<Flow, Opening> = BTreeMap::new();
    let mut answers = Vec::new();
    for segment in frames.iter().filter_map(|frame| segment(frame)) {
        let ends = (*segment.flow.from.ip(), *segment.flow.to.ip());
        if ends != (one, other) && ends != (other, one) {
            continue;
        }
        let opening = openings.entry(segment.flow).or_default();
        match (segment.flags & SYN != 0, segment.flags & ACK != 0) {
            (true, false) => {
                *opening = Opening { syn: Some(segment.sequence), first: Vec::new() };
            }
            (true, true) => answers.push(segment.flow),
            (false, _) => {
                let next = opening.syn.is_none_or(|syn| syn.wrapping_add(1) == segment.sequence);
                if next && opening.first.is_empty() {
                    opening.first = segment.payload.to_vec();
                }
            }
        }
    }
    for answer in answers {
        openings.remove(&answer);
    }
    openings
}

struct Segment<'a> {
    flow: Flow,
    sequence: u32,
    flags: u8,
    payload: &'a [u8],
}

/// RFC 791 section 3.1, RFC 9293 section 3.1.
fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let packet = frame.get(ETHERNET..).filter(|_| frame[12..ETHERNET] == IPV4)?;
    let word = |at: usize, from: &[u8]| Some(u16::from_be_bytes(from.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let (header, length) = (usize::from(packet.first()? & 0xf) * 4, usize::from(word(2, packet)?));
    if packet.get(9) != Some(&TCP) {
        return None;
    }
    let tcp = packet.get(header..length)?;
    let from = SocketAddrV4::new(address(12)?, word(0, tcp)?);
    let to = SocketAddrV4::new(address(16)?, word(2, tcp)?);
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let payload = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
    Some(Segment { flow: Flow { from, to }, sequence, flags: *tcp.get(13)?, payload })
}

/// A TLS record (RFC 8446 section 5.1) of the type handshake that begins with a ClientHello (section 4).
pub fn is_client_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 0x03, _, _, _, 0x01, ..])
}
