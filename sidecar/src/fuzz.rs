//! What must hold for any bytes from outside. A target panics where it does not: `cargo xtask fuzz` runs them for long, the
//! tests of this module for a moment.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a target fails by panicking")]

use std::sync::LazyLock;

use bytes::BytesMut;
use http::Method;
use outrigger_wire::control::proof::Proof;
use outrigger_wire::{Held, ProxyConfig, Resource};

use crate::detect;
use crate::dns::answer::{Transport, Verdict, judge};
use crate::dns::names::Names;
use crate::handover::line;
use crate::http::chunked::{self, Chunks, Step};
use crate::http::error::BadMessage;
use crate::http::framing::Length;
use crate::http::head;
use crate::probe;
use crate::proxy_protocol::{self, Said};
use crate::task::{Credentials, Task, TaskArn};

/// The bytes of one connection, as requests: what is accepted reads the same when it comes byte by byte, and when it is
/// written and read again.
pub fn http_requests(bytes: &[u8]) {
    let mut whole = BytesMut::from(bytes);
    loop {
        let before = whole.clone();
        let Ok(Some((request, wire))) = head::take_request(&mut whole) else { return };
        let (again, wire_again) = trickle(&before, head::take_request).unwrap().unwrap();
        assert_eq!(
            (&request.method, &request.uri, &request.headers),
            (&again.method, &again.uri, &again.headers)
        );
        assert_eq!((request.length, wire), (again.length, wire_again));
        let mut written = BytesMut::new();
        head::put_request(&mut written, &request, request.length == Length::Unknown, None, None);
        assert!(lines_are_lines(&written), "{written:?}");
        if request.headers.contains_key(http::header::HOST) {
            let (read, _) = head::take_request(&mut written).unwrap().unwrap();
            assert_eq!((&request.method, &request.uri), (&read.method, &read.uri));
            assert_eq!(request.length, read.length);
            assert!(written.is_empty());
        }
        if !skip_body(request.length, &mut whole) {
            return;
        }
    }
}

/// The same of responses. The first byte chooses the method that is answered.
pub fn http_responses(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let method = if first % 2 == 0 { Method::GET } else { Method::HEAD };
    let mut whole = BytesMut::from(bytes);
    while let Ok(Some((response, _))) = head::take_response(&mut whole, &method) {
        let mut written = BytesMut::new();
        head::put_response(&mut written, &response, response.length == Length::Unknown, None);
        assert!(lines_are_lines(&written), "{written:?}");
        let (read, _) = head::take_response(&mut written, &method).unwrap().unwrap();
        assert_eq!((response.status, response.length), (read.status, read.length));
        if !skip_body(response.length, &mut whole) {
            return;
        }
    }
}

/// A body in chunks is the same however it is cut into reads, and when it is written and read again.
pub fn chunks(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len().max(1));
    for size in [1, 2, 7] {
        let pieces = decode(bytes, size);
        assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "in reads of {size}");
    }
    if let Ok(Some((body, trailers))) = whole {
        let mut written = BytesMut::new();
        if !body.is_empty() {
            chunked::put_size(&mut written, body.len());
            written.extend_from_slice(&body);
            written.extend_from_slice(b"\r\n");
        }
        chunked::put_end(&mut written, &trailers);
        let (again, trailers_again) = decode(&written, 3).unwrap().unwrap();
        assert_eq!((body, trailers), (again, trailers_again));
    }
}

/// What a connection speaks is known after 24 bytes, and does not change with those that follow.
pub fn first_bytes(bytes: &[u8]) {
    let mut known = None;
    for end in 0..=bytes.len().min(64) {
        let found = detect::look(bytes.get(..end).unwrap_or_default());
        assert!(known.is_none() || known == found, "{known:?}, then {found:?}");
        assert!(end < 24 || found.is_some());
        known = found;
    }
}

/// A PROXY header: known after so many bytes, the same with more behind it, and written anew it names the same client.
pub fn proxy_headers(bytes: &[u8]) {
    let whole = proxy_protocol::read(bytes);
    if let Ok(Some((said, length))) = whole {
        assert!(length <= bytes.len() && length <= proxy_protocol::MAX_HEADER);
        assert_eq!(proxy_protocol::read(bytes.get(..length).unwrap_or_default()), whole);
        if let Said::Client(client) = said {
            let written = proxy_protocol::header(client, client, None);
            assert_eq!(proxy_protocol::read(&written), Ok(Some((said, written.len()))));
        }
    }
    assert!(bytes.len() < proxy_protocol::MAX_HEADER || whole != Ok(None), "more than any header");
    for end in 0..bytes.len().min(256) {
        match proxy_protocol::read(bytes.get(..end).unwrap_or_default()) {
            Ok(None) => {}
            known => return assert_eq!(known, whole, "after {end} bytes"),
        }
    }
}

/// A DNS message: an answer is one to this query, and of the size that its transport allows.
pub fn dns_query(bytes: &[u8]) {
    static NAMES: LazyLock<Names> = LazyLock::new(|| Names::of(&config()));
    for transport in [Transport::Udp, Transport::Tcp] {
        if let Verdict::Answer(answer) = judge(bytes, &NAMES, transport) {
            assert_eq!(answer.get(..2), bytes.get(..2), "the id");
            assert!(answer.get(2).is_some_and(|flags| flags & 0x80 != 0), "a response");
            let most =
                if transport == Transport::Udp { 1232.max(bytes.len()) } else { usize::from(u16::MAX) };
            assert!(answer.len() <= most, "{} bytes", answer.len());
        }
    }
}

/// Frames of a hand-over: each takes bytes off, and what is understood is written as itself.
pub fn hand_over(bytes: &[u8]) {
    let mut left = bytes.to_vec();
    let mut before = left.len() + 1;
    while let Ok(Some((message, _))) = line::take(&mut left) {
        assert!(left.len() < before);
        before = left.len();
        if message != line::Message::Unknown {
            let text = serde_json::to_vec(&message).unwrap();
            assert_eq!(serde_json::from_slice::<line::Message>(&text).unwrap(), message);
        }
    }
}

/// Resources of the control stream, `name body` on each line: a configuration that is taken is the same again, or the
/// whole is refused.
pub fn resources(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let resources = text.lines().filter_map(|line| line.split_once(' ')).map(|(name, body)| Resource {
        name: name.to_owned(),
        hash: outrigger_wire::resource::hash(body.as_bytes()),
        body: body.as_bytes().to_vec(),
    });
    let Ok(held) = Held::default().apply(resources.collect(), &[]) else { return };
    if let Ok(config) = held.config() {
        let again = Held::of(&config).config().unwrap();
        assert_eq!(config, again);
    }
}

/// An answer of the agent: metadata of bounded size that name one task, or none; and no key in what is said of bad ones.
pub fn task_answers(bytes: &[u8]) {
    if let Ok(task) = Task::read(bytes) {
        if let Ok(arn) = task.arn() {
            assert_eq!(TaskArn::parse(arn.as_str()).unwrap(), arn);
            assert!(!arn.id().is_empty() && !arn.region().is_empty());
        }
        assert!(task.containers.len() <= 64);
    }
    match Credentials::read(bytes) {
        Ok(credentials) => {
            let shown = format!("{credentials:?}");
            assert!(shown.len() <= credentials.access_key_id.len() + 20, "{shown}");
        }
        Err(error) => assert!(error.to_string().len() < 100, "{error}"),
    }
}

/// Headers of a proof, region, date, authorization and token on a line each: what is taken is the same when it is
/// written and read again, and asks the STS of AWS one thing.
pub fn proofs(bytes: &[u8]) {
    let names = ["region", "date", "authorization", "token"].map(|name| format!("outrigger-proof-{name}"));
    let mut headers = http::HeaderMap::new();
    for (line, name) in bytes.split(|b| *b == b'\n').zip(names) {
        let Ok(value) = http::HeaderValue::from_bytes(line) else { return };
        headers.insert(http::HeaderName::try_from(name).unwrap(), value);
    }
    let Ok(proof) = Proof::read(&headers) else { return };
    let mut again = http::HeaderMap::new();
    proof.write(&mut again);
    assert_eq!(Proof::read(&again).unwrap(), proof);
    assert_eq!(again, headers);
    for (name, value) in proof.question("bound") {
        assert!(value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}: {value}");
        match name {
            "host" => assert!(value.starts_with("sts.") && value.contains(".amazonaws.com"), "{value}"),
            "authorization" => {
                assert_eq!(value.matches("SignedHeaders=").count(), 1);
                assert!(value.contains("/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date;"));
            }
            _ => {}
        }
    }
}

/// What an application answers to a health check, in HTTP/1 or, by the first byte, as gRPC: it comes to an end, the same one
/// however it is cut into reads, which people can read. Only a status of 200 to 299 passes.
pub fn health_answers(bytes: &[u8]) {
    let Some((first, answer)) = bytes.split_first() else { return };
    let gets = *first != b'g';
    let whole = probe::fuzz::tried(gets, answer, answer.len());
    for size in [1, 7] {
        let pieces = probe::fuzz::tried(gets, answer, size);
        assert_eq!(whole.is_none(), pieces.is_none(), "{whole:?}, and in reads of {size} {pieces:?}");
    }
    match whole {
        Some(why) => assert!(why.len() < 200 && !why.contains(char::is_control), "{why}"),
        None => {
            assert!(!gets || answer.windows(4).any(|piece| piece.starts_with(b" 2")), "no status is good")
        }
    }
}

/// No byte ends a line or a field but those that are meant to.
fn lines_are_lines(head: &[u8]) -> bool {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap();
    text.split(|b| *b == b'\n').all(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        !line.is_empty() && !line.iter().any(|b| matches!(b, 0..=8 | 10..=31 | 127))
    })
}

/// Takes a body off; false where the rest is none of a next message.
fn skip_body(length: Length, buffer: &mut BytesMut) -> bool {
    match length {
        Length::Empty => true,
        Length::Known(size) => {
            let whole = size <= buffer.len() as u64;
            let _body = buffer.split_to(usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len()));
            whole
        }
        Length::Unknown => {
            let mut state = Chunks::Size;
            loop {
                match state.step(buffer) {
                    Ok(Step::Data(_)) => {}
                    Ok(Step::End(_)) => return true,
                    Ok(Step::More) | Err(_) => return false,
                }
            }
        }
        Length::UntilClose => false,
    }
}

type Body = (Vec<u8>, http::HeaderMap);

/// Reads chunks from reads of `size` bytes; none where the end does not come.
fn decode(bytes: &[u8], size: usize) -> Result<Option<Body>, BadMessage> {
    let (mut state, mut buffer, mut body) = (Chunks::Size, BytesMut::new(), Vec::new());
    for read in bytes.chunks(size) {
        buffer.extend_from_slice(read);
        loop {
            match state.step(&mut buffer)? {
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(trailers) => return Ok(Some((body, trailers))),
                Step::More => break,
            }
        }
    }
    Ok(None)
}

/// Parses after each byte until there is something.
fn trickle<T>(
    bytes: &[u8],
    parse: impl Fn(&mut BytesMut) -> Result<Option<T>, BadMessage>,
) -> Result<Option<T>, BadMessage> {
    let mut buffer = BytesMut::new();
    for byte in bytes {
        buffer.extend_from_slice(&[*byte]);
        if let Some(found) = parse(&mut buffer)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn config() -> ProxyConfig {
    serde_json::from_value(serde_json::json!({
        "proxy": { "identity": "spiffe://shop.test/shop/web", "workload": "shop-web-1", "listeners": {} },
        "services": { "cart.shop": {
            "names": ["cart", "cart.shop"],
            "virtual_addresses": (0..90).map(|n| format!("127.64.1.{n}")).collect::<Vec<_>>(),
            "ports": {},
            "replicas": { "shop-cart-1": "172.18.0.4" }
        } }
    }))
    .unwrap()
}

#[cfg(test)]
mod tests;
