//! HTTP/1 message heads: bytes to fields and back. Pure functions; RFC 9112 sections 2 to 5.

use std::cell::Cell;
use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, StatusCode, Version};

use super::error::BadMessage;
use super::framing::{self, Length};
use super::hop::{self, Caller, Hop};
use super::names;
use super::trace;

/// Largest head, bytes: request or status line, fields and the empty line.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most field lines in a head or in trailers.
pub const MAX_FIELDS: usize = 128;

/// A request as it goes through: end-to-end fields only.
#[derive(Debug)]
pub struct Request {
    /// Method, case as sent.
    pub method: Method,
    /// HTTP/2: scheme, authority and path. HTTP/1: the path alone, or `*`; the authority is in `host`.
    pub uri: Uri,
    /// End-to-end fields, in the order they came.
    pub headers: HeaderMap,
    /// What the body will be.
    pub length: Length,
    /// The value of `Upgrade` when the connection is asked to be switched.
    pub upgrade: Option<HeaderValue>,
}

/// A response as it goes through: end-to-end fields only.
#[derive(Debug)]
pub struct Response {
    /// Its status, 1xx included.
    pub status: StatusCode,
    /// End-to-end fields, in the order they came.
    pub headers: HeaderMap,
    /// What the body will be.
    pub length: Length,
    /// The value of `Upgrade` of a 101.
    pub upgrade: Option<HeaderValue>,
}

/// What a head says of its connection rather than of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Version of the sender: 1.0 or 1.1.
    pub version: Version,
    /// The sender lets the connection live on.
    pub keep_alive: bool,
    /// Seconds of `Keep-Alive: timeout=`.
    pub keep_alive_seconds: Option<u64>,
}

type Fields<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_FIELDS];

/// Takes a request head off the front of `buffer`; `None` until it is whole.
///
/// # Errors
/// Anything RFC 9112 calls malformed, and bare line feeds, which it tolerates: two parsers that differ
/// there are how requests are smuggled. The connection cannot go on after one.
pub fn take_request(buffer: &mut BytesMut) -> Result<Option<(Request, Wire)>, BadMessage> {
    skip_empty_line(buffer);
    let mut fields: Fields<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let size = match parsed.parse_with_uninit_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Complete(_)) => return Err(BadMessage::HeadTooLarge),
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) if !buffer.contains(&b'\n') => return Err(BadMessage::TargetTooLong),
        Ok(httparse::Status::Partial) => return Err(BadMessage::HeadTooLarge),
        Err(httparse::Error::Version) if !says_a_version(buffer) => {
            return Err(BadMessage::Malformed("request line"));
        }
        Err(error) => return Err(error.into()),
    };
    let head = buffer.get(..size).unwrap_or_default();
    if has_bare_line_feed(head) {
        return Err(BadMessage::BareLineFeed);
    }
    let version = version(parsed.version);
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| BadMessage::Malformed("method"))?;
    let target = range_in(head, parsed.path.unwrap_or_default().as_bytes());
    let mut hop = Hop::new();
    let places = places(head, parsed.headers, &mut hop)?;

    let head = buffer.split_to(size).freeze();
    let mut headers = fields_at(&head, places, &hop)?;
    let uri = target_of(&method, head.slice(target), version, &mut headers)?;
    let length = framing::of_request(&hop, version)?;
    framing::collapse_length(&mut headers, &hop);
    // RFC 9110 section 7.8: an upgrade needs HTTP/1.1. One to h2c is ours to decline.
    let upgrade = hop.upgrade().filter(|_| version == Version::HTTP_11);
    let wire = hop.wire(version);
    Ok(Some((Request { method, uri, headers, length, upgrade }, wire)))
}

/// Takes a response head off the front of `buffer`; `None` until it is whole. `method` is the request's.
///
/// # Errors
/// A head that cannot be understood, or a transfer coding other than `chunked`.
pub fn take_response(buffer: &mut BytesMut, method: &Method) -> Result<Option<(Response, Wire)>, BadMessage> {
    let mut fields: Fields<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(BadMessage::HeadTooLarge),
        Err(error) => return Err(error.into()),
    };
    let version = version(parsed.version);
    let status =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| BadMessage::Malformed("status"))?;
    let mut hop = Hop::new();
    let places = places(buffer, parsed.headers, &mut hop)?;

    let head = buffer.split_to(size).freeze();
    let mut headers = fields_at(&head, places, &hop)?;
    let length = framing::of_response(&hop, status, method)?;
    if hop.is_chunked() || status == StatusCode::NO_CONTENT || status.is_informational() {
        headers.remove(header::CONTENT_LENGTH);
    } else {
        framing::collapse_length(&mut headers, &hop);
    }
    let upgrade = hop.upgrade().filter(|_| status == StatusCode::SWITCHING_PROTOCOLS);
    let mut wire = hop.wire(version);
    // RFC 9112 sections 6.1 and 6.3: such a sender may mean another end than the one found here.
    wire.keep_alive &= !hop.is_framed_strangely(version);
    Ok(Some((Response { status, headers, length, upgrade }, wire)))
}

/// Reads a trailer section (`\r\n` at its end included) off the front of `buffer`; `None` until it is whole.
///
/// # Errors
/// Malformed fields, or more of them than a head may have.
pub fn take_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, BadMessage> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (size, places) = match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete((size, parsed))) if size <= MAX_HEAD => {
            (size, places(buffer, parsed, &mut Hop::default())?)
        }
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(BadMessage::HeadTooLarge),
        Err(error) => return Err(error.into()),
    };
    if has_bare_line_feed(buffer.get(..size).unwrap_or_default()) {
        return Err(BadMessage::BareLineFeed);
    }
    let section = buffer.split_to(size).freeze();
    let mut trailers = fields_at(&section, places, &Hop::default())?;
    hop::strip_forbidden_trailers(&mut trailers);
    Ok(Some(trailers))
}

/// Writes a request head; `chunked` adds the transfer coding, `caller` what the application is told of who calls, `trace` a
/// new one.
pub fn put_request(
    out: &mut BytesMut,
    request: &Request,
    chunked: bool,
    caller: Option<&Caller>,
    trace: Option<&trace::New>,
) {
    out.reserve(256);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.uri.path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = request.uri.authority().filter(|_| !request.headers.contains_key(header::HOST)) {
        put_field(out, b"host", authority.as_str().as_bytes());
    }
    match caller {
        Some(caller) => {
            let authority = request.uri.authority().map(Authority::as_str);
            caller.put_fields(out, &request.headers, authority);
        }
        None => put_fields(out, &request.headers),
    }
    if let Some(trace) = trace {
        put_field(out, b"traceparent", trace);
    }
    let says_length = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
    let empty = says_length && request.length == Length::Empty;
    if empty && !request.headers.contains_key(header::CONTENT_LENGTH) {
        put_field(out, b"content-length", b"0");
    }
    if let Some(upgrade) = &request.upgrade {
        put_field(out, b"connection", b"upgrade");
        put_field(out, b"upgrade", upgrade.as_bytes());
    } else if hop::has(&request.headers, &header::TE) {
        put_field(out, b"connection", b"te");
    }
    put_end(out, chunked);
}

/// Writes a response head; `connection` is the value of that field, if one is needed.
pub fn put_response(
    out: &mut BytesMut,
    response: &Response,
    chunked: bool,
    connection: Option<&'static str>,
) {
    out.reserve(256);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(response.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(response.status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    put_fields(out, &response.headers);
    if let Some(upgrade) = &response.upgrade {
        put_field(out, b"connection", b"upgrade");
        put_field(out, b"upgrade", upgrade.as_bytes());
    } else if let Some(connection) = connection {
        put_field(out, b"connection", connection.as_bytes());
    }
    put_end(out, chunked);
}

/// Writes field lines.
pub fn put_fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        put_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}

pub(super) fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn put_end(out: &mut BytesMut, chunked: bool) {
    out.put_slice(if chunked { b"transfer-encoding: chunked\r\n\r\n" } else { b"\r\n" });
}

/// RFC 9112 section 2.2: an empty line before the request line is to be ignored; one is enough.
fn skip_empty_line(buffer: &mut BytesMut) {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
}

/// The first line ends with a version, only with none that is spoken here.
fn says_a_version(buffer: &[u8]) -> bool {
    let line = buffer.split(|b| *b == b'\r').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let mut words = line.split(|b| *b == b' ').skip(2);
    let [major, b'.', minor] = words.next().and_then(|word| word.strip_prefix(b"HTTP/")).unwrap_or_default()
    else {
        return false;
    };
    major.is_ascii_digit() && minor.is_ascii_digit() && words.next().is_none()
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let after = head.get(1..).unwrap_or_default();
    head.first() == Some(&b'\n')
        || head.iter().zip(after).fold(false, |bad, (a, b)| bad | (*b == b'\n' && *a != b'\r'))
}

/// Where a part lies in the head it was parsed from, so that it can be shared instead of copied.
fn range_in(head: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
    if part.is_empty() || start + part.len() > head.len() { 0..0 } else { start..start + part.len() }
}

/// Name of each field that may go on, and place of its value.
type Places = Vec<(HeaderName, std::ops::Range<usize>)>;

thread_local! {
    /// Empty between heads.
    static PLACES: Cell<Places> = const { Cell::new(Vec::new()) };
}

fn places(head: &[u8], fields: &[httparse::Header<'_>], hop: &mut Hop) -> Result<Places, BadMessage> {
    let mut places = PLACES.take();
    places.reserve(fields.len());
    for field in fields {
        let name = names::of(field.name.as_bytes()).map_err(|_| BadMessage::Malformed("field name"))?;
        if hop.read(&name, field.value) {
            places.push((name, range_in(head, field.value)));
        }
    }
    Ok(places)
}

fn fields_at(head: &Bytes, mut places: Places, hop: &Hop) -> Result<HeaderMap, BadMessage> {
    let mut headers = HeaderMap::with_capacity(places.len() + 2);
    for (name, range) in places.drain(..).filter(|(name, _)| !hop.drops(name)) {
        let value = HeaderValue::from_maybe_shared(head.slice(range));
        headers.append(name, value.map_err(|_| BadMessage::Malformed("field value"))?);
    }
    PLACES.set(places);
    if hop.wants_trailers() {
        headers.append(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(headers)
}

/// RFC 9112 section 3.2 and 3.3: the target's form must fit the method, and 1.1 has exactly one `host`.
fn target_of(
    method: &Method,
    target: Bytes,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<Uri, BadMessage> {
    if *method == Method::CONNECT {
        return Err(BadMessage::Connect);
    }
    match hop::host(headers) {
        (_, true) => return Err(BadMessage::Malformed("host: more than one")),
        (None, _) if version == Version::HTTP_11 => return Err(BadMessage::Malformed("host: missing")),
        (Some(host), false) if !is_authority(host.as_bytes()) => return Err(BadMessage::Malformed("host")),
        _ => {}
    }
    if target.contains(&b'#') {
        return Err(BadMessage::Malformed("target: a fragment"));
    }
    if target.first() == Some(&b'/') || (target.as_ref() == b"*" && *method == Method::OPTIONS) {
        let path = PathAndQuery::from_maybe_shared(target).map_err(|_| BadMessage::Malformed("target"))?;
        return Ok(Uri::from(path));
    }
    let uri = Uri::from_maybe_shared(target).map_err(|_| BadMessage::Malformed("target"))?;
    let mut parts = uri.into_parts();
    let (Some(_), Some(authority)) = (parts.scheme.take(), parts.authority.take()) else {
        return Err(BadMessage::Malformed("target"));
    };
    // Section 3.2.2: the authority of an absolute target replaces what `host` says.
    let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| BadMessage::Malformed("target"))?);
    let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if path.as_str().starts_with('/') {
        return Ok(Uri::from(path));
    }
    // Section 3.2.1: an empty path is sent as `/`, also before a query.
    let path = PathAndQuery::try_from(format!("/{}", path.as_str()));
    Ok(Uri::from(path.map_err(|_| BadMessage::Malformed("target"))?))
}

/// An empty `host` is allowed: it says that the target has no authority.
fn is_authority(host: &[u8]) -> bool {
    is_plain(host) || host.is_empty() || (Authority::try_from(host).is_ok() && !host.contains(&b'@'))
}

/// A name or an IPv4 address, perhaps with a port: what nearly all are, seen without the copy that parsing one makes.
fn is_plain(host: &[u8]) -> bool {
    let colon = host.iter().position(|b| *b == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(colon);
    let named =
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    named && (port.is_empty() || (2..=6).contains(&port.len()) && port.iter().skip(1).all(u8::is_ascii_digit))
}

#[cfg(test)]
#[path = "head/tests.rs"]
mod tests;
