//! How long a body is: RFC 9112 section 6, on both sides.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};

use super::error::BadMessage;
use super::hop::{self, Coding, Hop, SaidLength};

/// What is known of a body before it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    Empty,
    /// So many bytes.
    Known(u64),
    /// It ends when it ends: chunks, frames, or (response of an HTTP/1 server only) the connection's end.
    Unknown,
    /// As `Unknown`, and the end of the connection is the end of the body.
    UntilClose,
}

/// The body of an HTTP/1 request.
///
/// # Errors
/// Both length and coding, a coding that is not `chunked`, a length that is not one number, a coding
/// from an HTTP/1.0 sender.
pub fn of_request(hop: &Hop, version: Version) -> Result<Length, BadMessage> {
    match (hop.coding, hop.said_length) {
        (Coding::None, SaidLength::None | SaidLength::Is(0)) => Ok(Length::Empty),
        (Coding::None, SaidLength::Is(length)) => Ok(Length::Known(length)),
        (_, SaidLength::Bad) => Err(BadMessage::Malformed("content-length")),
        (_, SaidLength::Is(_)) => Err(BadMessage::Malformed("framing: content-length and transfer-encoding")),
        (_, SaidLength::None) if version == Version::HTTP_10 => {
            Err(BadMessage::Malformed("framing: transfer-encoding in HTTP/1.0"))
        }
        (Coding::Chunked, SaidLength::None) => Ok(Length::Unknown),
        (Coding::OtherThenChunked, SaidLength::None) => Err(BadMessage::Coding),
        (Coding::Other, SaidLength::None) => Err(BadMessage::Malformed("transfer-encoding")),
    }
}

/// The body of an HTTP/1 response to `method`.
///
/// # Errors
/// A coding that is not `chunked`, a length that is not one number.
pub fn of_response(hop: &Hop, status: StatusCode, method: &Method) -> Result<Length, BadMessage> {
    if hop.said_length == SaidLength::Bad {
        return Err(BadMessage::Malformed("content-length"));
    }
    if has_no_body(status, method) {
        return Ok(Length::Empty);
    }
    match (hop.coding, hop.said_length) {
        (Coding::Chunked, _) => Ok(Length::Unknown),
        (Coding::Other | Coding::OtherThenChunked, _) => Err(BadMessage::Coding),
        (Coding::None, SaidLength::Is(0)) => Ok(Length::Empty),
        (Coding::None, SaidLength::Is(length)) => Ok(Length::Known(length)),
        (Coding::None, SaidLength::None | SaidLength::Bad) => Ok(Length::UntilClose),
    }
}

/// The body of an HTTP/2 message; the `h2` crate has checked `content-length`.
pub fn of_stream(headers: &HeaderMap, ended: bool) -> Length {
    if ended {
        return Length::Empty;
    }
    let said = hop::first(headers, &header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    said.map_or(Length::Unknown, Length::Known)
}

/// RFC 9110 section 6.4.1: no body whatever the fields say.
pub fn has_no_body(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// A length becomes one field in plain digits, however it was said: `5, 5` and `005` are `5`.
pub fn collapse_length(headers: &mut HeaderMap, hop: &Hop) {
    if let (SaidLength::Is(length), false) = (hop.said_length, hop.said_plainly) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Says `content-length: 0` where an HTTP/1 client would otherwise wait for the end of the connection.
pub fn say_empty_response(headers: &mut HeaderMap, status: StatusCode, method: &Method) {
    if !has_no_body(status, method) && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}
