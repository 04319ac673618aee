//! A client of HTTP/2 that sends whatever frames it likes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use crate::mesh::{Ca, within};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;
pub const CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Tells the answer to the last PING from those before.
const LAST: [u8; 8] = *b"the last";

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection on which SETTINGS were sent.
pub struct Frames {
    read: ReadHalf<Box<dyn Io + Unpin>>,
    write: WriteHalf<Box<dyn Io + Unpin>>,
}

/// What was seen of the other side until it ended the connection or answered the last PING.
#[derive(Debug, Default)]
pub struct Seen {
    /// GOAWAY, with its code.
    pub goaway: Option<u32>,
    /// RST_STREAM: stream and code.
    pub resets: Vec<(u32, u32)>,
    /// Streams of which HEADERS came.
    pub answered: Vec<u32>,
    /// Bytes of DATA.
    pub data: usize,
    /// The connection lives.
    pub lives: bool,
}

impl Seen {
    /// No stream was answered or refused.
    pub fn is_silent(&self) -> bool {
        self.resets.is_empty() && self.answered.is_empty()
    }
}

/// A frame as it is sent.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET http://a/`, compressed.
pub const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
/// `POST http://a/`.
pub const POST: [u8; 6] = [0x83, 0x86, 0x84, 0x01, 0x01, b'a'];

/// A field that no table keeps; both parts shorter than 127 bytes.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.push(value.len() as u8);
    bytes.extend(value.as_bytes());
    bytes
}

impl Frames {
    pub async fn plain(address: SocketAddr) -> Self {
        Self::open(Box::new(TcpStream::connect(address).await.unwrap())).await
    }

    /// As a peer's sidecar that is not what it should be.
    pub async fn mesh(ca: &Ca, address: SocketAddr) -> Self {
        let peer = ["spiffe://test.internal/shop/web"];
        let tls = ca.connect(address, "7000.echo.shop", &peer, b"h2").await.unwrap();
        Self::open(Box::new(tls)).await
    }

    async fn open(io: Box<dyn Io + Unpin>) -> Self {
        let (read, write) = tokio::io::split(io);
        let mut frames = Self { read, write };
        frames.send(PREFACE).await;
        frames.send(&frame(SETTINGS, 0, 0, &[])).await;
        frames
    }

    /// False when the other side is gone, or takes no more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async { self.write.write_all(bytes).await.is_ok() && self.write.flush().await.is_ok() };
        tokio::time::timeout(Duration::from_secs(2), sent).await.unwrap_or(false)
    }

    /// Asks for a sign of life, and reads until it comes or the connection ends.
    pub async fn seen(&mut self) -> Seen {
        let _gone = self.send(&frame(PING, 0, 0, &LAST)).await;
        let mut seen = Seen::default();
        while let Some((kind, flags, stream, payload)) = self.next().await {
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                GOAWAY => seen.goaway = Some(code(4)),
                RST_STREAM => seen.resets.push((stream, code(0))),
                HEADERS => seen.answered.push(stream),
                DATA => seen.data += payload.len(),
                PING if flags & ACK != 0 && payload == LAST => {
                    seen.lives = true;
                    break;
                }
                _ => {}
            }
        }
        seen
    }

    /// Asks until what was seen is enough, or the connection ends.
    pub async fn seen_until(&mut self, enough: impl Fn(&Seen) -> bool) -> Seen {
        let mut all = self.seen().await;
        while all.lives && !enough(&all) {
            let more = self.seen().await;
            all.resets.extend(more.resets);
            all.answered.extend(more.answered);
            all.data += more.data;
            (all.goaway, all.lives) = (more.goaway, more.lives);
        }
        all
    }

    pub async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        within(self.read.read_exact(&mut head)).await.ok()?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        let mut payload = vec![0; size];
        within(self.read.read_exact(&mut payload)).await.ok()?;
        Some((head[3], head[4], stream, payload))
    }
}
