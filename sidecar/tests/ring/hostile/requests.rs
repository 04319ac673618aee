//! Requests that two readers could read differently.

use super::recorder::{Recorded, answers};
use crate::mesh::{Ca, Node, callee};

/// What becomes of one.
enum Then {
    /// Answered so, and the connection ends; the application takes nothing.
    Refused(u16),
    /// The application takes this, and the next request after it.
    Passes(&'static str),
    /// The application takes this; the connection ends.
    Last(&'static str),
}

use Then::{Last, Passes, Refused};

/// Follows each case on its connection: it is a request of its own, or it is never seen.
const NEXT: &str = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

/// Runs cases over both ways in.
async fn hold(cases: &[(&str, &[u8], Then)]) {
    let mut recorded = Recorded::start().await;
    let mut wrong = Vec::new();
    for (name, bytes, then) in cases {
        for way in ["out", "plain"] {
            let mut raw = match way {
                "out" => recorded.chain.connect().await,
                _ => recorded.chain.connect_plain().await,
            };
            let sent = [*bytes, NEXT.as_bytes()].concat();
            let next = format!("{} bytes", next_size(way));
            let (statuses, ended) = answers(&mut raw, &sent, &next).await;
            let taken = recorded.taken();
            let expected = match then {
                Refused(status) => (vec![*status], true, vec![]),
                Passes(message) => (vec![200, 200], false, vec![(*message).to_owned(), NEXT.to_owned()]),
                Last(message) => (vec![200], true, vec![(*message).to_owned()]),
            };
            if (statuses.clone(), ended, taken.clone()) != expected {
                wrong.push(format!("{name} ({way}): {statuses:?}, ended: {ended}, {taken:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Bytes of [`NEXT`] as the application takes it: `out` proves who calls.
fn next_size(way: &str) -> usize {
    let added = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a\r\n";
    let proof = "x-forwarded-client-cert: URI=spiffe://test.internal/shop/web\r\n";
    let trace = "traceparent: \r\n".len() + 55;
    NEXT.len() + added.len() + trace + if way == "out" { proof.len() } else { 0 }
}

/// A GET with one more field line.
macro_rules! get {
    ($field:literal) => {
        concat!("GET / HTTP/1.1\r\nhost: a\r\n", $field, "\r\n\r\n").as_bytes()
    };
}

/// A POST with field lines and a body.
macro_rules! post {
    ($fields:literal, $body:literal) => {
        concat!("POST / HTTP/1.1\r\nhost: a\r\n", $fields, "\r\n\r\n", $body).as_bytes()
    };
}

/// A POST in chunks.
macro_rules! chunks {
    ($body:literal) => {
        concat!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", $body).as_bytes()
    };
}

/// What a POST without anything becomes.
const FIVE: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
const NONE: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n[hello]\r\n";
const PLAIN: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn the_length_is_said_once_and_as_a_number() {
    hold(&[
        ("a length", post!("content-length: 5", "hello"), Passes(FIVE)),
        ("the same length twice", post!("content-length: 5\r\ncontent-length: 5", "hello"), Passes(FIVE)),
        ("the same length in a list", post!("content-length: 5, 5", "hello"), Passes(FIVE)),
        ("two lengths", post!("content-length: 5\r\ncontent-length: 6", "hello"), Refused(400)),
        ("two lengths in a list", post!("content-length: 5, 6", "hello"), Refused(400)),
        ("leading zeros", post!("content-length: 0005", "hello"), Passes(FIVE)),
        ("zeros", post!("content-length: 000", ""), Passes(NONE)),
        ("plus", post!("content-length: +5", "hello"), Refused(400)),
        ("minus", post!("content-length: -5", "hello"), Refused(400)),
        ("minus zero", post!("content-length: -0", ""), Refused(400)),
        ("hexadecimal", post!("content-length: 0x5", "hello"), Refused(400)),
        ("a fraction", post!("content-length: 5.0", "hello"), Refused(400)),
        ("an exponent", post!("content-length: 5e0", "hello"), Refused(400)),
        ("underscore", post!("content-length: 1_0", "hello"), Refused(400)),
        ("quoted", post!("content-length: \"5\"", "hello"), Refused(400)),
        ("a space within", post!("content-length: 1 0", "hello"), Refused(400)),
        ("empty", post!("content-length:", "hello"), Refused(400)),
        ("a comma behind", post!("content-length: 5,", "hello"), Refused(400)),
        ("more than 64 bits", post!("content-length: 18446744073709551621", "hello"), Refused(400)),
        ("a vertical tab", post!("content-length: \x0b5", "hello"), Refused(400)),
        ("a form feed", post!("content-length: 5\x0c", "hello"), Refused(400)),
        ("other digits", post!("content-length: \u{0665}", "hello"), Refused(400)),
        ("tab around", post!("content-length:\t5\t", "hello"), Passes(FIVE)),
        (
            "zero with GET",
            get!("content-length: 0"),
            Passes("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        ),
        ("a space in the name", post!("content length: 5", "hello"), Refused(400)),
        ("a space before the colon", post!("content-length : 5", "hello"), Refused(400)),
        ("a tab before the colon", post!("content-length\t: 5", "hello"), Refused(400)),
        ("a NUL before the colon", post!("content-length\0: 5", "hello"), Refused(400)),
        (
            "none",
            post!("x: y", ""),
            Passes("POST / HTTP/1.1\r\nhost: a\r\nx: y\r\ncontent-length: 0\r\n\r\n"),
        ),
        ("nominated", post!("connection: content-length\r\ncontent-length: 5", "hello"), Passes(FIVE)),
    ])
    .await;
}

#[tokio::test]
async fn the_coding_is_chunked_and_nothing_else() {
    hold(&[
        ("chunked", chunks!("5\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("upper case", post!("Transfer-Encoding: CHUNKED", "5\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("both", post!("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"), Refused(400)),
        (
            "both, other order",
            post!("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
            Refused(400),
        ),
        ("twice", post!("transfer-encoding: chunked, chunked", "0\r\n\r\n"), Refused(400)),
        (
            "on two lines",
            post!("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
            Refused(400),
        ),
        ("then identity", post!("transfer-encoding: chunked, identity", "0\r\n\r\n"), Refused(400)),
        ("identity", post!("transfer-encoding: identity", "hello"), Refused(400)),
        (
            "identity and a length",
            post!("transfer-encoding: identity\r\ncontent-length: 5", "hello"),
            Refused(400),
        ),
        ("identity, then chunked", post!("transfer-encoding: identity, chunked", "0\r\n\r\n"), Refused(501)),
        ("gzip, then chunked", post!("transfer-encoding: gzip, chunked", "0\r\n\r\n"), Refused(501)),
        ("xchunked", post!("transfer-encoding: xchunked", "0\r\n\r\n"), Refused(400)),
        ("quoted", post!("transfer-encoding: \"chunked\"", "0\r\n\r\n"), Refused(400)),
        ("a parameter", post!("transfer-encoding: chunked;x=y", "0\r\n\r\n"), Refused(400)),
        ("empty", post!("transfer-encoding:", "0\r\n\r\n"), Refused(400)),
        ("a comma before", post!("transfer-encoding: ,chunked", "0\r\n\r\n"), Refused(501)),
        ("a comma behind", post!("transfer-encoding: chunked,", "0\r\n\r\n"), Refused(400)),
        ("a vertical tab", post!("transfer-encoding: \x0bchunked", "0\r\n\r\n"), Refused(400)),
        ("a tab", post!("transfer-encoding:\tchunked", "5\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("no space", post!("transfer-encoding:chunked", "5\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("a space before the colon", post!("transfer-encoding : chunked", "0\r\n\r\n"), Refused(400)),
        ("folded", post!("transfer-encoding:\r\n chunked", "0\r\n\r\n"), Refused(400)),
        ("a bare LF before", post!("x: y\ntransfer-encoding: chunked", "0\r\n\r\n"), Refused(400)),
        ("a bare CR before", post!("x: y\rtransfer-encoding: chunked", "0\r\n\r\n"), Refused(400)),
        ("a letter like another", post!("transfer-encoding: chun\u{212a}ed", "0\r\n\r\n"), Refused(400)),
        (
            "in HTTP/1.0",
            b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "nominated",
            post!("connection: transfer-encoding\r\ntransfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
            Passes(CHUNKED),
        ),
        (
            "an underscore",
            post!("transfer_encoding: chunked\r\ncontent-length: 5", "hello"),
            Passes(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer_encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn chunks_have_a_size_in_digits_and_end_with_cr_lf() {
    hold(&[
        ("upper case and zeros", chunks!("0005\r\nhello\r\n000\r\n\r\n"), Passes(CHUNKED)),
        ("several", chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("an extension", chunks!("5;x=y\r\nhello\r\n0;z\r\n\r\n"), Passes(CHUNKED)),
        ("a quoted extension", chunks!("5;x=\"a;b\"\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("a space before the extension", chunks!("5 ;x\r\nhello\r\n0\r\n\r\n"), Passes(CHUNKED)),
        ("a space", chunks!("5 \r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a space before", chunks!(" 5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("plus", chunks!("+5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("minus", chunks!("-5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("0x", chunks!("0x5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("an underscore", chunks!("0_5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("no digit", chunks!("\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("no digit, an extension", chunks!(";x\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("more than 64 bits", chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("17 digits", chunks!("00000000000000005\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a bare LF", chunks!("5\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a bare LF in an extension", chunks!("5;x\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a bare CR in an extension", chunks!("5;x\ry\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a NUL in an extension", chunks!("5;\0\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("too long", chunks!("5\r\nhellooo\r\n0\r\n\r\n"), Refused(400)),
        ("too short", chunks!("5\r\nhel\r\n0\r\n\r\n"), Refused(400)),
        ("LF after the chunk", chunks!("5\r\nhello\n0\r\n\r\n"), Refused(400)),
        ("CR after the chunk", chunks!("5\r\nhello\r0\r\n\r\n"), Refused(400)),
        ("LF at the end", chunks!("5\r\nhello\r\n0\n\n"), Refused(400)),
        ("LF after the trailers", chunks!("5\r\nhello\r\n0\r\n\n"), Refused(400)),
    ])
    .await;
}

#[tokio::test]
async fn trailers_say_nothing_of_framing_or_of_the_caller() {
    const TRAILER: &str =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n[hello]x-sum: 1\r\n\r\n";
    hold(&[
        ("a trailer", chunks!("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), Passes(TRAILER)),
        ("a length", chunks!("5\r\nhello\r\n0\r\nContent-Length: 50\r\nx-sum: 1\r\n\r\n"), Passes(TRAILER)),
        (
            "a coding",
            chunks!("5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\nx-sum: 1\r\n\r\n"),
            Passes(TRAILER),
        ),
        ("a host", chunks!("5\r\nhello\r\n0\r\nHost: b\r\nx-sum: 1\r\n\r\n"), Passes(TRAILER)),
        (
            "a connection",
            chunks!("5\r\nhello\r\n0\r\nconnection: close\r\nx-sum: 1\r\n\r\n"),
            Passes(TRAILER),
        ),
        (
            "an identity",
            chunks!("5\r\nhello\r\n0\r\nx-forwarded-client-cert: URI=spiffe://x/y/z\r\nx-sum: 1\r\n\r\n"),
            Passes(TRAILER),
        ),
        ("folded", chunks!("5\r\nhello\r\n0\r\nx-sum: 1\r\n 2\r\n\r\n"), Refused(400)),
        ("a bare LF", chunks!("5\r\nhello\r\n0\r\nx-sum: 1\n\r\n"), Refused(400)),
        ("no name", chunks!("5\r\nhello\r\n0\r\n: 1\r\n\r\n"), Refused(400)),
        ("no colon", chunks!("5\r\nhello\r\n0\r\nx-sum\r\n\r\n"), Refused(400)),
    ])
    .await;
}

#[tokio::test]
async fn field_lines_have_one_reading() {
    hold(&[
        ("folded", get!("x: 1\r\n 2"), Refused(400)),
        ("folded with a tab", get!("x: 1\r\n\t2"), Refused(400)),
        ("folded at the start", b"GET / HTTP/1.1\r\n host: a\r\n\r\n", Refused(400)),
        ("a bare LF", get!("x: 1\ny: 2"), Refused(400)),
        ("a bare CR", get!("x: 1\ry: 2"), Refused(400)),
        ("CR CR LF", get!("x: 1\r\r\ny: 2"), Refused(400)),
        ("a bare LF at the end", b"GET / HTTP/1.1\r\nhost: a\r\n\n", Refused(400)),
        ("bare LFs alone", b"GET / HTTP/1.1\nhost: a\n\n", Refused(400)),
        ("NUL in a value", get!("x: 1\x002"), Refused(400)),
        ("BEL in a value", get!("x: 1\x072"), Refused(400)),
        ("DEL in a value", get!("x: 1\x7f2"), Refused(400)),
        ("NUL in a name", get!("x\0: 1"), Refused(400)),
        ("a name beyond ASCII", get!("\u{e4}: 1"), Refused(400)),
        ("no name", get!(": 1"), Refused(400)),
        ("no colon", get!("x"), Refused(400)),
        ("a space before the colon", get!("x : 1"), Refused(400)),
        ("a bracket in a name", get!("x[]: 1"), Refused(400)),
        ("spaces around a value", get!("x:  1 \t "), Passes("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n")),
        (
            "an end within a value",
            get!("x: a\\r\\nhost: b"),
            Passes("GET / HTTP/1.1\r\nhost: a\r\nx: a\\r\\nhost: b\r\n\r\n"),
        ),
        (
            "expect is not what it is",
            get!("connection: host\r\nx: 1"),
            Passes("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n"),
        ),
        ("close", get!("connection: close"), Last(PLAIN)),
        ("close in a list", get!("connection: x, CLOSE"), Last(PLAIN)),
        (
            "an identity",
            get!("X-Forwarded-Client-Cert: URI=spiffe://test.internal/shop/admin"),
            Passes(PLAIN),
        ),
        (
            "h2c is not taken",
            get!("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk"),
            Passes(PLAIN),
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_host_is_one() {
    hold(&[
        ("none", b"GET / HTTP/1.1\r\n\r\n", Refused(400)),
        ("two", get!("Host: b"), Refused(400)),
        ("the same twice", get!("host: a"), Refused(400)),
        ("a list", b"GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", Refused(400)),
        ("a space", b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", Refused(400)),
        ("a user", b"GET / HTTP/1.1\r\nhost: b@a\r\n\r\n", Refused(400)),
        ("a path", b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", Refused(400)),
        ("a query", b"GET / HTTP/1.1\r\nhost: a?b\r\n\r\n", Refused(400)),
        ("folded", b"GET / HTTP/1.1\r\nhost:\r\n a\r\n\r\n", Refused(400)),
        ("absolute form", b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", Passes(PLAIN)),
        ("absolute form, another host", b"GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", Passes(PLAIN)),
        ("absolute form, no host", b"GET http://a/ HTTP/1.1\r\n\r\n", Refused(400)),
        ("absolute form, two hosts", b"GET http://a/ HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refused(400)),
        ("absolute form, a user", b"GET http://u:p@a/ HTTP/1.1\r\nhost: b\r\n\r\n", Passes(PLAIN)),
        ("absolute form, no authority", b"GET http:/// HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("only an authority", b"GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", Refused(405)),
    ])
    .await;
}

#[tokio::test]
async fn heads_have_a_size() {
    let line = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(70_000));
    let field = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(128));
    let trailers = "x: y\r\n".repeat(129);
    let trailers =
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
    hold(&[
        ("a first line over 64 KiB", line.as_bytes(), Refused(414)),
        ("a field over 64 KiB", field.as_bytes(), Refused(431)),
        ("129 fields", fields.as_bytes(), Refused(431)),
        ("129 trailers", trailers.as_bytes(), Refused(431)),
    ])
    .await;
}

/// As bytes a request would arrive as it is, with whatever identity it claims.
#[tokio::test]
async fn a_port_declared_to_speak_http_takes_no_bytes_of_peers() {
    let app = crate::mesh::Echo::start().await;
    let ca = Ca::new();
    for (protocol, taken) in [("http", false), ("http2", false), ("detect", true), ("tcp", true)] {
        let config = callee(app.address).replace("protocol: tcp", &format!("protocol: {protocol}"));
        let node = Node::start(&ca, &config).await;
        let peer = ["spiffe://test.internal/shop/web"];
        let asked = ca.ask(node.at("mesh"), "7000.echo.shop", &peer, b"outrigger-tcp").await;
        assert_eq!(asked.is_ok_and(|first| first == [0]), taken, "{protocol}");
    }
}

#[tokio::test]
async fn the_request_line_has_three_parts() {
    hold(&[
        ("an empty line before", b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Passes(PLAIN)),
        ("LF before", b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("HTTP/0.9", b"GET /\r\n", Refused(400)),
        ("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nhost: a\r\n\r\n", Refused(505)),
        ("HTTP/2.0", b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", Refused(505)),
        ("HTTP/1.2", b"GET / HTTP/1.2\r\nhost: a\r\n\r\n", Refused(505)),
        ("HTTP/1.10", b"GET / HTTP/1.10\r\nhost: a\r\n\r\n", Refused(400)),
        ("HTTP/01.1", b"GET / HTTP/01.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("lower case", b"GET / http/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a space in the target", b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a space behind", b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n", Refused(400)),
        ("two spaces", b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a tab", b"GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a space before", b" GET / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a bare CR", b"GET / HTTP/1.1\rhost: a\r\n\r\n", Refused(400)),
        ("NUL in the target", b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("no method", b"/ HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("a bracket in the method", b"G(T / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        (
            "a method in lower case",
            b"get / HTTP/1.1\r\nhost: a\r\n\r\n",
            Passes("get / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        ("a fragment", b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        ("an asterisk with GET", b"GET * HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        (
            "dots stay",
            b"GET /a/../b%2f%00 HTTP/1.1\r\nhost: a\r\n\r\n",
            Passes("GET /a/../b%2f%00 HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        (
            "the preface of HTTP/2 later",
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Last(PLAIN),
        ),
    ])
    .await;
}
