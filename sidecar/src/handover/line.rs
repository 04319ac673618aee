//! Messages of a hand-over: four bytes of length, one with the number of descriptors that come along, JSON.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::descriptors::{self, MAX_DESCRIPTORS};

/// Largest message, bytes: 64 sockets with long names.
const MAX_FRAME: usize = 64 * 1024;
/// Length and number of descriptors.
const HEAD: usize = 5;

/// One message. A kind or field that is not known comes from another version and is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The successor's first.
    Hello {
        /// Version of its binary.
        version: String,
    },
    /// The predecessor's sockets, a descriptor for each, in this order.
    Sockets {
        /// What each is.
        sockets: Vec<Handed>,
        /// Another such message follows.
        more: bool,
    },
    /// The successor serves: the predecessor may go.
    Ready {
        /// Milliseconds that the predecessor may take for what still runs.
        deadline_ms: u64,
    },
    /// A connection that waits for its client's next request, as one descriptor.
    Connection {
        /// Whom its PROXY header named, which the socket does not say again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        named: Option<SocketAddr>,
    },
    /// Of another version.
    #[serde(other)]
    Unknown,
}

/// One socket that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handed {
    /// What it is for.
    pub role: Role,
    /// Name of its listener; empty where it has none.
    pub name: String,
    /// The address that its listener was configured with; the socket's own may differ (port 0).
    pub address: SocketAddr,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Accepts connections of a listener.
    Listener,
    /// The resolver's, UDP.
    DnsUdp,
    /// The resolver's, TCP.
    DnsTcp,
    /// The admin port.
    Admin,
    /// Where successors ask.
    HandOver,
    /// Of another version.
    #[serde(other)]
    Unknown,
}

/// Why a hand-over ended early.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a message.
    #[error("not a message of a hand-over: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Too long, or the descriptors are not those that it speaks of.
    #[error("not a message of a hand-over: {0}")]
    Shape(&'static str),
    /// Something else was expected.
    #[error("the other side ended the hand-over early")]
    Ended,
    /// It takes too long.
    #[error("the other side does not answer")]
    Silent,
}

/// The two ends' connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Line {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), descriptors: Vec::new() }
    }

    /// Sends a message with its descriptors, at most 64.
    pub async fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), LineError> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= MAX_FRAME);
        let length = length.ok_or(LineError::Shape("too long"))?;
        let count = u8::try_from(descriptors.len()).map_err(|_| LineError::Shape("too many descriptors"))?;
        let frame = [&length.to_be_bytes()[..], &[count], &body].concat();
        let mut rest = &frame[..];
        let mut descriptors = descriptors;
        while !rest.is_empty() {
            let sent = descriptors::send(&self.stream, rest, descriptors).await?;
            rest = rest.get(sent..).unwrap_or_default();
            descriptors = &[];
        }
        Ok(())
    }

    /// The next message and its descriptors; none at the end. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Option<(Message, Vec<OwnedFd>)>, LineError> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(Some(message));
            }
            let mut buffer = [0; 4096];
            let length = descriptors::receive(&self.stream, &mut buffer, &mut self.descriptors).await?;
            if length == 0 {
                return if self.bytes.is_empty() { Ok(None) } else { Err(LineError::Ended) };
            }
            self.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
            if self.descriptors.len() > 2 * MAX_DESCRIPTORS {
                return Err(LineError::Shape("too many descriptors"));
            }
        }
    }

    /// A whole message that has come.
    fn next(&mut self) -> Result<Option<(Message, Vec<OwnedFd>)>, LineError> {
        let Some((message, count)) = take(&mut self.bytes)? else { return Ok(None) };
        if count > self.descriptors.len() {
            return Err(LineError::Shape("descriptors are missing"));
        }
        let descriptors = self.descriptors.drain(..count).collect();
        Ok(Some((message, descriptors)))
    }
}

/// Takes a message off the front of `bytes`, and how many descriptors belong to it; none until it is whole.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Result<Option<(Message, usize)>, LineError> {
    let Some([a, b, c, d, count]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    let (length, count) = (u32::from_be_bytes([*a, *b, *c, *d]) as usize, usize::from(*count));
    if length > MAX_FRAME || count > MAX_DESCRIPTORS {
        return Err(LineError::Shape("too long"));
    }
    let Some(body) = bytes.get(HEAD..HEAD + length) else { return Ok(None) };
    let message: Message = serde_json::from_slice(body)?;
    bytes.drain(..HEAD + length);
    let told = match &message {
        Message::Sockets { sockets, .. } => sockets.len(),
        Message::Connection { .. } => 1,
        Message::Hello { .. } | Message::Ready { .. } => 0,
        Message::Unknown => count,
    };
    if count != told {
        return Err(LineError::Shape("descriptors are missing"));
    }
    Ok(Some((message, count)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn pair() -> (Line, Line) {
        let (here, there) = UnixStream::pair().unwrap();
        (Line::new(here), Line::new(there))
    }

    fn sockets(count: usize) -> Message {
        let address = "[::]:15008".parse().unwrap();
        let one = Handed { role: Role::Listener, name: "mesh".into(), address };
        Message::Sockets { sockets: vec![one; count], more: false }
    }

    #[tokio::test]
    async fn messages_come_whole_and_with_their_descriptors() {
        let (here, mut there) = pair();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let all = [socket.as_fd(); MAX_DESCRIPTORS];
        here.send(&sockets(MAX_DESCRIPTORS), &all).await.unwrap();
        here.send(&Message::Connection { named: None }, &[socket.as_fd()]).await.unwrap();
        here.send(&Message::Ready { deadline_ms: 7 }, &[]).await.unwrap();
        let (message, descriptors) = there.receive().await.unwrap().unwrap();
        assert_eq!((message, descriptors.len()), (sockets(MAX_DESCRIPTORS), MAX_DESCRIPTORS));
        let (message, descriptors) = there.receive().await.unwrap().unwrap();
        assert_eq!((message, descriptors.len()), (Message::Connection { named: None }, 1));
        let same = std::net::UdpSocket::from(descriptors.into_iter().next().unwrap());
        assert_eq!(same.local_addr().unwrap(), socket.local_addr().unwrap());
        assert_eq!(there.receive().await.unwrap().unwrap().0, Message::Ready { deadline_ms: 7 });
        drop(here);
        assert!(there.receive().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_another_version_says_is_passed_over_with_its_descriptors() {
        let (mut here, mut there) = pair();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let body = br#"{"kind":"from-the-future","why":1}"#;
        let frame = [&(body.len() as u32).to_be_bytes()[..], &[1], body].concat();
        assert_eq!(descriptors::send(&here.stream, &frame, &[socket.as_fd()]).await.unwrap(), frame.len());
        here.send(&Message::Connection { named: None }, &[socket.as_fd()]).await.unwrap();
        let body = br#"{"kind":"ready","deadline_ms":1,"more":"said"}"#;
        here.stream.write_all(&[&(body.len() as u32).to_be_bytes()[..], &[0], body].concat()).await.unwrap();
        assert_eq!(there.receive().await.unwrap().unwrap().0, Message::Unknown);
        assert_eq!(there.receive().await.unwrap().unwrap().1.len(), 1);
        assert_eq!(there.receive().await.unwrap().unwrap().0, Message::Ready { deadline_ms: 1 });
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_hand_over() {
        for bytes in [
            &b"\xff\xff\xff\xff\0x"[..],
            b"\0\0\0\x02\0{]",
            b"\0\0\0\x15\0{\"kind\":\"connection\"}",
            b"\0\0",
        ] {
            let (mut here, mut there) = pair();
            here.stream.write_all(bytes).await.unwrap();
            drop(here);
            assert!(there.receive().await.is_err(), "{bytes:?}");
        }
    }
}
