//! HTTP/1 from end to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::http_mesh::{App, Chain, field};
use crate::mesh::{nobody, within};

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: echo:7000\r\nX-Two: 2\r\nx-one: 1\r\nX-Two: 3\r\n\
                   TraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n\r\n";

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    for _ in 0..3 {
        let (head, seen) = client.ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(
            seen,
            "GET /a?b=c HTTP/1.1\r\nhost: echo:7000\r\nx-two: 2\r\nx-two: 3\r\nx-one: 1\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\nx-forwarded-for: 127.0.0.1\r\n\
             x-forwarded-proto: http\r\nx-forwarded-host: echo:7000\r\n\
             x-forwarded-client-cert: URI=spiffe://test.internal/shop/web\r\n\r\n"
        );
    }
    let metrics = chain.callees[0].get("/metrics").await;
    assert!(metrics.contains("source=\"web.shop\"") && metrics.contains("status=\"200\""), "{metrics}");
}

#[tokio::test]
async fn from_outside_nobody_can_claim_an_identity() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n\
                   x-forwarded-client-cert: URI=spiffe://test.internal/shop/admin\r\n\r\n";
    let (_, seen) = chain.connect_plain().await.ask(request).await;
    assert!(!seen.contains("spiffe"), "{seen}");
    assert_eq!(field(&seen, "x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = App::start(|mut raw| async move {
        while let Some(head) = raw.maybe_head().await {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())).await;
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(all).await;
    for n in 0..20 {
        assert_eq!(client.answer().await.1, format!("/{n}"));
    }
}

#[tokio::test]
async fn chunks_and_trailers_both_ways() {
    let app = App::start(|mut raw| async move {
        let head = raw.head().await;
        assert_eq!(
            (field(&head, "transfer-encoding"), field(&head, "content-length")),
            (Some("chunked"), None)
        );
        let body = raw.until("0\r\nx-sum: 1\r\n\r\n").await;
        assert_eq!(body.replace("\r\n", "|"), "5|hello|6| world|0|x-sum: 1||");
        raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Check: 2\r\n\r\n")
            .await;
        raw.rest().await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n").await;
    client.send("6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(client.until("x-check: 2\r\n\r\n").await, "2\r\nok\r\n0\r\nx-check: 2\r\n\r\n");
}

#[tokio::test]
async fn continue_and_hints_come_from_the_application() {
    let app = App::start(|mut raw| async move {
        let head = raw.head().await;
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        raw.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(raw.exactly(5).await, b"hello");
        raw.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await;
        raw.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
        raw.rest().await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("hello").await;
    let hints = client.head().await;
    assert!(hints.starts_with("HTTP/1.1 103 ") && hints.contains("link: </a.css>"), "{hints}");
    assert!(client.head().await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn a_client_of_1_0_gets_no_chunks_and_no_interim_response() {
    let app = App::start(|mut raw| async move {
        let head = raw.head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n") && field(&head, "host").is_some(), "{head}");
        raw.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        raw.send("2\r\nok\r\n0\r\n\r\n").await;
        raw.rest().await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(!answer.contains("chunked") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn keep_alive_is_said_to_a_client_of_1_0() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    let asked = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(field(&client.ask(asked).await.0, "connection"), Some("keep-alive"));
    assert_eq!(field(&client.ask("GET / HTTP/1.0\r\n\r\n").await.0, "connection"), Some("close"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn responses_without_a_body_and_one_that_ends_with_its_connection() {
    let app = App::start(|mut raw| async move {
        while let Some(head) = raw.maybe_head().await {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/head" => "200 OK\r\ncontent-length: 7\r\n\r\n",
                "/same" => "304 Not Modified\r\ncontent-length: 7\r\n\r\n",
                "/none" => "204 No Content\r\n\r\n",
                "/empty" => "200 OK\r\ncontent-length: 0\r\n\r\n",
                _ => "200 OK\r\n\r\nuntil the end",
            };
            raw.send(format!("HTTP/1.1 {answer}")).await;
            if answer.ends_with("end") {
                return;
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("HEAD /head HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(field(&client.head().await, "content-length"), Some("7"));
    client.send("GET /same HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 304 "));
    client.send("GET /none HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let none = client.head().await;
    assert!(none.starts_with("HTTP/1.1 204 ") && field(&none, "content-length").is_none(), "{none}");
    assert_eq!(
        field(&client.ask("GET /empty HTTP/1.1\r\nhost: a\r\n\r\n").await.0, "content-length"),
        Some("0")
    );
    client.send("GET /end HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(field(&client.head().await, "transfer-encoding"), Some("chunked"));
    assert!(client.until("0\r\n\r\n").await.contains("until the end\r\n"));
}

#[tokio::test]
async fn an_upgrade_carries_bytes_and_half_closes() {
    let app = App::start(|mut raw| async move {
        let head = raw.head().await;
        assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("upgrade"), Some("chat")));
        raw.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\nx: y\r\n\r\nhi ",
        )
        .await;
        let said = raw.rest().await;
        raw.send(said.to_uppercase()).await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    for mut client in [chain.connect().await, chain.connect_plain().await] {
        let head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: chat\r\n\r\n";
        // The first bytes of the new protocol come with the request.
        client.send(format!("{head}good ")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("connection: upgrade\r\n"), "{head}");
        client.send("day").await;
        client.finish().await;
        assert_eq!(client.rest().await, "hi GOOD DAY");
    }
}

#[tokio::test]
async fn a_declined_upgrade_is_an_ordinary_response() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    let (head, _) =
        client.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_closed() {
    let app = App::start(|mut raw| async move { assert_eq!(raw.maybe_head().await, None) }).await;
    let chain = Chain::start(&[app.address]).await;
    let long = "a".repeat(70_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "405"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "501"),
        (&format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431"),
        (&format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "414"),
    ] {
        let mut client = chain.connect().await;
        client.send(request).await;
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer}");
        assert_eq!(field(&answer, "connection"), Some("close"), "{answer}");
        assert_eq!(field(&answer, "outrigger-error"), Some("bad-request"), "{answer}");
    }
    let mut client = chain.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_head_as_large_as_allowed_passes() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let value = "v".repeat(500);
    let fields: String = (0..120).map(|n| format!("x-{n}: {value}\r\n")).collect();
    let (head, seen) = chain.connect().await.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(field(&seen, "x-119"), Some(value.as_str()));
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const SIZE: usize = 8 << 20;
    let app = App::start(|mut raw| async move {
        let head = raw.head().await;
        let body = raw.exactly(field(&head, "content-length").unwrap().parse().unwrap()).await;
        raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())).await;
        raw.send(body).await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let body: Vec<u8> = (0..SIZE).map(|n| (n / 7) as u8).collect();
    let mut client = chain.connect().await;
    client.send(format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n")).await;
    client.send(&body).await;
    client.head().await;
    assert!(client.exactly(SIZE).await == body);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_application() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let app = App::start(move |mut raw| {
        let sent = counter.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = vec![b'x'; 64 * 1024];
            while tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, &piece).await.is_ok() {
                sent.fetch_add(piece.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.head().await;
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Most of it lies in socket buffers of the kernel: three connections of up to some MiB each.
    assert!(before < 24 << 20, "{before} bytes");
}

#[tokio::test]
async fn errors_of_our_own_say_so() {
    let chain = Chain::start(&[nobody()]).await;
    let (head, text) = chain.connect_plain().await.ask(GET).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(field(&head, "outrigger-error"), Some("connect-failed"));
    assert!(text.contains("refused"), "{text}");
    let (head, _) = chain.connect().await.ask(GET).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(field(&head, "outrigger-error"), Some("no-endpoint"));
}

#[tokio::test]
async fn a_response_that_does_not_come_in_time_is_504() {
    let app = App::start(|mut raw| async move { drop(raw.rest().await) }).await;
    let chain = Chain::start_with(&[app.address], ", timeouts: { request_ms: 300 }").await;
    let mut client = chain.connect().await;
    let (head, _) = client.ask(GET).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert_eq!(field(&head, "outrigger-error"), Some("timeout"));
    // The client's connection lives on.
    assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 504 "));
}

#[tokio::test]
async fn an_answer_before_the_whole_request_arrives() {
    let app = App::start(|mut raw| async move {
        raw.head().await;
        raw.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n")
            .await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nstart").await;
    let (head, body) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "no\n"));
}

#[tokio::test]
async fn a_client_that_closed_its_half_is_answered() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send(GET).await;
    client.finish().await;
    assert!(client.rest().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_cut_response_without_a_length_never_ends_cleanly() {
    let app = App::start(|mut raw| async move {
        raw.head().await;
        raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        raw.until("go").await;
        raw.tcp.set_zero_linger().unwrap();
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    for mut client in [chain.connect().await, chain.connect_plain().await] {
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
        client.send("POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 2\r\n\r\n").await;
        client.until("abc").await;
        client.send("go").await;
        let error = within(tokio::io::AsyncReadExt::read_u8(&mut client.tcp)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_cut_response_is_seen_as_cut() {
    let cut = Arc::new(Notify::new());
    let told = cut.clone();
    let app = App::start(move |mut raw| {
        let told = told.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
            told.notified().await;
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send(GET).await;
    client.until("hello\r\n").await;
    cut.notify_one();
    assert_eq!(client.rest().await, "");
}
