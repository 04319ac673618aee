//! The chunked coding: RFC 9112 section 7.1. A pure state machine over a buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::error::BadMessage;
use super::head;

/// Longest chunk-size line, extensions included, bytes. Extensions are read over and not sent on.
const MAX_LINE: usize = 1024;

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// Before a chunk-size line.
    Size,
    /// So many bytes of a chunk are to come.
    Data(u64),
    /// Before the CR LF that ends a chunk.
    DataEnd,
    /// In the trailer section.
    Trailers,
    /// At the end.
    Done,
}

/// What a step found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the body.
    Data(Bytes),
    /// The end, with the trailers.
    End(HeaderMap),
    /// More bytes are needed.
    More,
}

impl Chunks {
    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// A size with a sign, without a digit, over 2^64, or a line that is too long or ends with LF alone.
    pub fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, BadMessage> {
        loop {
            match self {
                Self::Size => match take_size(buffer)? {
                    None => return Ok(Step::More),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(_) if buffer.is_empty() => return Ok(Step::More),
                Self::Data(left) => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= size as u64;
                    return Ok(Step::Data(buffer.split_to(size).freeze()));
                }
                Self::DataEnd => match (buffer.first(), buffer.get(1)) {
                    (Some(b'\r'), Some(b'\n')) => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    (None, _) | (Some(b'\r'), None) => return Ok(Step::More),
                    _ => return Err(BadMessage::Malformed("chunk: no CR LF after it")),
                },
                Self::Trailers => {
                    let Some(trailers) = head::take_trailers(buffer)? else { return Ok(Step::More) };
                    *self = Self::Done;
                    return Ok(Step::End(trailers));
                }
                Self::Done => return Ok(Step::End(HeaderMap::new())),
            }
        }
    }
}

fn take_size(buffer: &mut BytesMut) -> Result<Option<u64>, BadMessage> {
    let Some(end) = buffer.iter().take(MAX_LINE).position(|b| *b == b'\n') else {
        return if buffer.len() < MAX_LINE {
            Ok(None)
        } else {
            Err(BadMessage::Malformed("chunk size: too long"))
        };
    };
    let line = buffer.split_to(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(BadMessage::BareLineFeed)?;
    size_of(line).map(Some)
}

/// `1*HEXDIG [ BWS ";" … ]`
fn size_of(line: &[u8]) -> Result<u64, BadMessage> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    let controls = rest.iter().any(|b| b.is_ascii_control() && *b != b'\t');
    let extension = rest.first() == Some(&b';') && !controls;
    if digits.is_empty() || digits.len() > 16 || !(extension || line.len() == digits.len()) {
        return Err(BadMessage::Malformed("chunk size"));
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BadMessage::Malformed("chunk size"))?;
    u64::from_str_radix(digits, 16).map_err(|_| BadMessage::Malformed("chunk size"))
}

/// Writes the line before a chunk of `size` bytes.
pub fn put_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0_u8; 16];
    let mut left = size;
    let mut at = digits.len();
    while let Some(digit) = at.checked_sub(1).and_then(|i| digits.get_mut(i)) {
        *digit = *b"0123456789abcdef".get(left & 15).unwrap_or(&b'0');
        at -= 1;
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.put_slice(digits.get(at..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

/// Writes the last chunk, the trailers and the end.
pub fn put_end(out: &mut BytesMut, trailers: &HeaderMap) {
    out.put_slice(b"0\r\n");
    head::put_fields(out, trailers);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
#[path = "chunked/tests.rs"]
mod tests;
