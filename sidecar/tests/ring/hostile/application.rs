//! Answers of a hostile application.

use std::sync::{Arc, Mutex};

use crate::http_mesh::{App, Chain, Raw, field};

/// What the client gets for an answer.
enum Gets {
    /// This status and body.
    Whole(u16, &'static str),
    /// An answer of the sidecar's own, 502.
    Refused,
    /// This status, and the connection is broken off before the end of the body.
    Cut(u16),
}

use Gets::{Cut, Refused, Whole};

/// Each case on a connection of its own to one application; then the client asks once more on the same connection (or a
/// new one where the first was cut) and must get the answer to that, not what was left of the one before.
async fn hold(method: &str, cases: &[(&str, &'static [u8], Gets)]) {
    let script = Arc::new(Mutex::new(&b""[..]));
    let answer = script.clone();
    let app = App::start(move |mut raw| {
        let answer = answer.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                if head.contains("/next ") {
                    raw.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext").await;
                } else {
                    let answer = *answer.lock().unwrap();
                    raw.send(answer).await;
                    if answer.ends_with(b"<") {
                        return;
                    }
                }
            }
        }
    })
    .await;
    let chain = Chain::start_http(&[app.address]).await;
    let mut wrong = Vec::new();
    for (name, bytes, gets) in cases {
        *script.lock().unwrap() = bytes;
        for way in ["out", "plain"] {
            let mut raw = connect(&chain, way).await;
            raw.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let got = answer_to(&mut raw, method).await;
            let good = match (&got, gets) {
                (Some((head, body)), Whole(status, expected)) => {
                    head.starts_with(&format!("HTTP/1.1 {status} ")) && body.as_deref() == Some(*expected)
                }
                (Some((head, Some(_))), Refused) => {
                    head.starts_with("HTTP/1.1 502 ")
                        && field(head, "outrigger-error") == Some("bad-response")
                }
                (Some((head, None)), Cut(status)) => head.starts_with(&format!("HTTP/1.1 {status} ")),
                // Between sidecars the reset may overtake the head.
                (Some((head, Some(_))), Cut(_)) => way == "out" && head.starts_with("HTTP/1.1 502 "),
                _ => false,
            };
            if !good {
                wrong.push(format!("{name} ({way}): {got:?}"));
            }
            let closes = got.as_ref().is_none_or(|(head, body)| {
                body.is_none() || field(head, "connection") == Some("close") || !good
            });
            if closes {
                raw = connect(&chain, way).await;
            }
            raw.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let next = answer_to(&mut raw, "GET").await;
            if next.as_ref().and_then(|(_, body)| body.as_deref()) != Some("next") {
                wrong.push(format!("{name} ({way}), next: {next:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

async fn connect(chain: &Chain, way: &str) -> Raw {
    if way == "out" { chain.connect().await } else { chain.connect_plain().await }
}

/// The final response as a strict client reads it; no body where it was cut.
async fn answer_to(raw: &mut Raw, method: &str) -> Option<(String, Option<String>)> {
    let head = loop {
        let head = raw.part("\r\n\r\n").await?;
        assert!(!head.starts_with("HTTP/1.1 101 "), "a switch nobody asked for: {head}");
        if !head.starts_with("HTTP/1.1 1") {
            break head;
        }
    };
    let lines: Vec<_> = head.lines().collect();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
    let said = |name: &str| lines.iter().filter(|line| line.starts_with(&format!("{name}: "))).count();
    assert!(said("content-length") + said("transfer-encoding") <= 1, "{head:?}");
    let none = method == "HEAD" || head.starts_with("HTTP/1.1 204 ") || head.starts_with("HTTP/1.1 304 ");
    if none {
        return Some((head, Some(String::new())));
    }
    let mut body = String::new();
    if let Some(length) = field(&head, "content-length") {
        let length = length.parse().unwrap();
        return Some((head, raw.piece(length).await));
    }
    assert_eq!(said("transfer-encoding"), 1, "{head:?}");
    loop {
        let Some(size) = raw.part("\r\n").await else { return Some((head, None)) };
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let Some(piece) = raw.piece(size).await else { return Some((head, None)) };
        body.push_str(&piece);
        let Some(end) = raw.part("\r\n").await else { return Some((head, None)) };
        if size == 0 {
            assert_eq!(end, "\r\n");
            return Some((head, Some(body)));
        }
    }
}

/// A 200 with field lines and a body.
macro_rules! ok {
    ($fields:literal, $body:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $fields, "\r\n\r\n", $body).as_bytes()
    };
}

#[tokio::test]
async fn responses_are_framed_once() {
    hold(
        "GET",
        &[
            ("a length", ok!("content-length: 2", "ok"), Whole(200, "ok")),
            ("twice the same", ok!("content-length: 2\r\nContent-Length: 2", "ok"), Whole(200, "ok")),
            ("chunks", ok!("transfer-encoding: chunked", "2;x\r\nok\r\n0\r\n\r\n"), Whole(200, "ok")),
            (
                "both",
                ok!("content-length: 9\r\ntransfer-encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
                Whole(200, "ok"),
            ),
            ("two lengths", ok!("content-length: 2\r\ncontent-length: 3", "ok!"), Refused),
            ("two lengths in a list", ok!("content-length: 2, 3", "ok!"), Refused),
            ("signed", ok!("content-length: +2", "ok"), Refused),
            ("chunked twice", ok!("transfer-encoding: chunked, chunked", "2\r\nok\r\n0\r\n\r\n"), Refused),
            ("gzip, then chunked", ok!("transfer-encoding: gzip, chunked", "0\r\n\r\n"), Refused),
            ("identity", ok!("transfer-encoding: identity\r\ncontent-length: 2", "ok"), Refused),
            ("a space before the colon", ok!("content-length : 2", "ok"), Refused),
            ("folded", ok!("content-length: 2\r\nx: y\r\n z", "ok"), Refused),
            ("a bare CR", ok!("content-length: 2\r\nx: y\rz: y", "ok"), Refused),
            ("NUL", ok!("content-length: 2\r\nx: \0", "ok"), Refused),
            ("HTTP/2.0", b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Refused),
            ("no HTTP", b"220 hello\r\n\r\n", Refused),
            ("two digits", b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok", Refused),
            ("status 000", b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok", Refused),
            (
                "a control character in the reason",
                b"HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nok",
                Refused,
            ),
            (
                "a reason of its own",
                b"HTTP/1.1 200 Fine: \x80\r\ncontent-length: 2\r\n\r\nok",
                Whole(200, "ok"),
            ),
            ("no end of the coding", ok!("transfer-encoding: chunked", "2\r\nok\r\nx\r\n"), Cut(200)),
            ("a bad chunk end", ok!("transfer-encoding: chunked", "2\r\nokk0\r\n\r\n"), Cut(200)),
            ("shorter than said", ok!("content-length: 9", "ok<"), Cut(200)),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_follows_a_response_is_not_the_next_one() {
    hold("GET", &[
        ("a second response", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            Whole(200, "ok")),
        ("longer than said", ok!("content-length: 2", "okmore"), Whole(200, "ok")),
        ("after the last chunk", ok!("transfer-encoding: chunked", "2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
            Whole(200, "ok")),
        ("204 with a body", b"HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil", Whole(204, "")),
        ("304 with a body", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil", Whole(304, "")),
        ("204 in chunks", b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
            Whole(204, "")),
    ])
    .await;
    hold(
        "HEAD",
        &[
            ("HEAD with a body", ok!("content-length: 4", "evil"), Whole(200, "")),
            ("HEAD in chunks", ok!("transfer-encoding: chunked", "4\r\nevil\r\n0\r\n\r\n"), Whole(200, "")),
            ("HEAD with two lengths", ok!("content-length: 4, 5", ""), Refused),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_none() {
    hold(
        "GET",
        &[
            (
                "101",
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
                Refused,
            ),
            ("101 that says nothing", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Refused),
            (
                "101, then more",
                b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                Refused,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn informational_responses_end() {
    hold("GET", &[
        ("a few", b"HTTP/1.1 102 \r\n\r\nHTTP/1.1 103 \r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(200, "ok")),
        ("with a length", b"HTTP/1.1 103 \r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(200, "ok")),
        ("with a coding", b"HTTP/1.1 103 \r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(200, "ok")),
    ])
    .await;
    let app = App::start(|mut raw| async move {
        raw.head().await;
        while tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, b"HTTP/1.1 103 \r\n\r\n").await.is_ok() {}
    })
    .await;
    let chain = Chain::start_http(&[app.address]).await;
    for way in ["out", "plain"] {
        let mut raw = connect(&chain, way).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, _) = answer_to(&mut raw, "GET").await.unwrap();
        assert!(head.starts_with("HTTP/1.1 502 "), "{way}: {head}");
    }
}
