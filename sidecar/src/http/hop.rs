//! What belongs to one hop and what to the whole way: RFC 9110 section 7.6.1.

use std::net::IpAddr;

use bytes::BytesMut;
use http::Version;
use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use outrigger_wire::SpiffeId;

use super::head::{Wire, put_field};

/// The caller's proven identity, as Envoy names it: `URI=spiffe://…`.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What `transfer-encoding` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Nothing.
    #[default]
    None,
    /// `chunked` and nothing else.
    Chunked,
    /// Something else, then `chunked`.
    OtherThenChunked,
    /// Something that does not end with `chunked`.
    Other,
}

/// What `content-length` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaidLength {
    /// Nothing.
    #[default]
    None,
    /// One number, perhaps several times.
    Is(u64),
    /// Several numbers, or none that is one.
    Bad,
}

/// The fields of an HTTP/1 head that speak of this connection only.
#[derive(Debug, Default)]
pub struct Hop {
    pub(super) coding: Coding,
    pub(super) said_length: SaidLength,
    /// It is said once, in plain digits.
    pub(super) said_plainly: bool,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    trailers: bool,
    keep_alive_seconds: Option<u64>,
    upgrade: Option<HeaderValue>,
    /// None of the fields ends at this hop.
    clean: bool,
    nominated: Vec<HeaderName>,
}

impl Hop {
    /// Of a head of which no field was read yet.
    pub fn new() -> Self {
        Self { clean: true, ..Self::default() }
    }

    /// Reads a field; false for one that ends at each hop.
    pub fn read(&mut self, name: &HeaderName, value: &[u8]) -> bool {
        match *name {
            header::CONTENT_LENGTH => self.read_length(value),
            header::CONNECTION => self.read_connection(value),
            header::TRANSFER_ENCODING => self.read_coding(value),
            header::UPGRADE => self.upgrade = HeaderValue::from_bytes(value).ok(),
            header::TE => self.trailers |= list(value).any(|item| token(item, b"trailers")),
            _ if *name == KEEP_ALIVE => self.keep_alive_seconds = keep_alive_seconds(value),
            _ => {}
        }
        let goes_on = !always_ends(name);
        self.clean &= goes_on;
        goes_on
    }

    fn read_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if token(option, b"close") {
                self.close = true;
            } else if token(option, b"keep-alive") {
                self.keep_alive = true;
            } else if token(option, b"upgrade") {
                self.upgrade_option = true;
            } else if let Ok(name) = HeaderName::from_bytes(option) {
                self.nominated.push(name);
            }
        }
    }

    fn read_length(&mut self, value: &[u8]) {
        // What is one number without anything around it begins and ends with a digit.
        let bare =
            value.first().is_some_and(u8::is_ascii_digit) && value.last().is_some_and(u8::is_ascii_digit);
        let plain = bare && (value == b"0" || !value.starts_with(b"0")) && !value.contains(&b',');
        self.said_plainly = plain && self.said_length == SaidLength::None;
        for item in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            self.said_length = match (self.said_length, digits(item)) {
                (SaidLength::None, Some(length)) => SaidLength::Is(length),
                (SaidLength::Is(before), Some(length)) if before == length => SaidLength::Is(length),
                _ => SaidLength::Bad,
            };
        }
    }

    fn read_coding(&mut self, value: &[u8]) {
        for item in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let chunked = token(item, b"chunked");
            self.coding = match self.coding {
                Coding::None if chunked => Coding::Chunked,
                // Chunked twice is as bad as anything after it: whoever is behind may stop at the first.
                Coding::Chunked | Coding::OtherThenChunked => Coding::Other,
                Coding::Other if chunked => Coding::OtherThenChunked,
                Coding::None | Coding::Other => Coding::Other,
            };
        }
    }

    /// True for a field that ends at this hop.
    pub fn drops(&self, name: &HeaderName) -> bool {
        // Most heads have none: it is enough to have looked once. What `connection` nominates needs that field.
        if self.clean {
            return false;
        }
        // Nominating these would take away what the message means, or what we have just checked.
        let kept = || *name == header::HOST || *name == header::CONTENT_LENGTH || *name == header::EXPECT;
        always_ends(name) || (!self.nominated.is_empty() && self.nominated.contains(name) && !kept())
    }

    /// `te: trailers` travels on: it is true of us as of the client.
    pub fn wants_trailers(&self) -> bool {
        self.trailers
    }

    /// The transfer coding is `chunked` alone.
    pub fn is_chunked(&self) -> bool {
        self.coding == Coding::Chunked
    }

    /// Both a length and a coding, or a coding from a sender of HTTP/1.0.
    pub fn is_framed_strangely(&self, version: Version) -> bool {
        self.coding != Coding::None && (self.said_length != SaidLength::None || version == Version::HTTP_10)
    }

    /// What to switch to, when asked for. Never h2c: the offer may be ignored, and we do.
    pub fn upgrade(&self) -> Option<HeaderValue> {
        let value = self.upgrade.as_ref().filter(|_| self.upgrade_option)?;
        let h2c = list(value.as_bytes()).any(|item| token(item, b"h2c"));
        (!h2c).then(|| value.clone())
    }

    /// What it says of the connection.
    pub fn wire(&self, version: Version) -> Wire {
        let keep_alive = !self.close && (version == Version::HTTP_11 || self.keep_alive);
        Wire { version, keep_alive, keep_alive_seconds: self.keep_alive_seconds }
    }
}

/// Who called, as the application is told.
#[derive(Debug)]
pub struct Caller {
    address: HeaderValue,
    identity: Option<HeaderValue>,
}

impl Caller {
    /// An address, and an identity if it was proven.
    pub fn new(address: IpAddr, identity: Option<&SpiffeId>) -> Self {
        let value = |text: String| HeaderValue::try_from(text).ok();
        let nobody = HeaderValue::from_static("unknown");
        Self {
            address: value(address.to_canonical().to_string()).unwrap_or(nobody),
            identity: identity.and_then(|id| value(format!("URI={id}"))),
        }
    }

    /// Tells the application as RFC 7239's predecessors do: the address is appended, the rest set where absent;
    /// the identity is only ever ours.
    pub fn tell(&self, headers: &mut HeaderMap, authority: Option<&str>) {
        if !set_if_absent(headers, FORWARDED_FOR, || Some(self.address.clone())) {
            headers.insert(FORWARDED_FOR, self.appended(headers));
        }
        set_if_absent(headers, FORWARDED_PROTO, || Some(HeaderValue::from_static("http")));
        let host = headers.get(header::HOST).cloned();
        set_if_absent(headers, FORWARDED_HOST, || host.or_else(|| HeaderValue::from_str(authority?).ok()));
        match &self.identity {
            Some(identity) => drop(headers.insert(CLIENT_CERT, identity.clone())),
            None => drop(headers.remove(CLIENT_CERT)),
        }
    }

    /// Writes the fields of a head with all that [`Caller::tell`] puts into them: into text it costs a fifth.
    pub fn put_fields(&self, out: &mut BytesMut, headers: &HeaderMap, authority: Option<&str>) {
        let (mut chain, mut proto, mut host) = (false, false, false);
        let mut called = authority.map(str::as_bytes);
        for (name, value) in headers {
            match name.as_str() {
                "x-forwarded-client-cert" => continue,
                "x-forwarded-for" => {
                    if !std::mem::replace(&mut chain, true) {
                        put_field(out, b"x-forwarded-for", self.appended(headers).as_bytes());
                    }
                    continue;
                }
                "x-forwarded-proto" => proto = true,
                "x-forwarded-host" => host = true,
                "host" => called = Some(value.as_bytes()),
                _ => {}
            }
            put_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
        if !chain {
            put_field(out, b"x-forwarded-for", self.address.as_bytes());
        }
        if !proto {
            put_field(out, b"x-forwarded-proto", b"http");
        }
        if let Some(called) = called.filter(|_| !host) {
            put_field(out, b"x-forwarded-host", called);
        }
        if let Some(identity) = &self.identity {
            put_field(out, b"x-forwarded-client-cert", identity.as_bytes());
        }
    }

    fn appended(&self, headers: &HeaderMap) -> HeaderValue {
        let mut chain = Vec::new();
        for before in headers.get_all(&FORWARDED_FOR) {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(self.address.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).unwrap_or_else(|_| self.address.clone())
    }
}

/// A field that ends at each hop.
fn always_ends(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE | header::TE => true,
        _ => *name == KEEP_ALIVE || *name == PROXY_CONNECTION || *name == HTTP2_SETTINGS,
    }
}

/// True if a field is there. A head has few: to look at each costs less than to hash the name.
pub(super) fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|key| key == name)
}

/// The first line of a field, found as by [`has`].
pub(super) fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// What `host` says, and whether it says it more than once.
pub(super) fn host(headers: &HeaderMap) -> (Option<&HeaderValue>, bool) {
    let mut lines = headers.iter().filter_map(|(key, value)| (*key == header::HOST).then_some(value));
    (lines.next(), lines.next().is_some())
}

/// False if the field is there. Looks it up once.
fn set_if_absent(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: impl FnOnce() -> Option<HeaderValue>,
) -> bool {
    let Entry::Vacant(place) = headers.entry(name) else { return false };
    if let Some(value) = value() {
        place.insert(value);
    }
    true
}

/// RFC 9110 section 6.5.1: trailers say nothing of framing, routing or the connection.
pub fn strip_forbidden_trailers(trailers: &mut HeaderMap) {
    for name in [header::CONTENT_LENGTH, header::HOST, header::TRAILER, header::EXPECT, CLIENT_CERT] {
        trailers.remove(name);
    }
}

fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

fn token(item: &[u8], name: &[u8]) -> bool {
    item.eq_ignore_ascii_case(name)
}

fn digits(text: &[u8]) -> Option<u64> {
    let all = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| all)?.parse().ok()
}

fn keep_alive_seconds(value: &[u8]) -> Option<u64> {
    list(value).find_map(|item| digits(item.strip_prefix(b"timeout=")?))
}
