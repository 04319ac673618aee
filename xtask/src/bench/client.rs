//! A kept-alive HTTP/1.1 connection of our own, for what load generators cannot: many that stay open, and a fixed rate.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::application::Body;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// It is refused.
    pub fn connect(entry: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(entry)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let question = format!("GET / HTTP/1.1\r\nhost: {entry}\r\n\r\n").into_bytes();
        Ok(Self { stream, question, answer: Vec::new() })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not 200 with the body of the application.
    pub fn ask(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.question)?;
        self.answer.clear();
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.answer.extend(part.iter().take(read)),
            }
            let head = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(head) = head else { continue };
            if !self.answer.starts_with(b"HTTP/1.1 200") {
                let said = String::from_utf8_lossy(self.answer.get(..head).unwrap_or_default()).into_owned();
                return Err(Error::other(said));
            }
            if self.answer.len() >= head + 4 + Body::Small.bytes() {
                return Ok(());
            }
        }
    }
}
