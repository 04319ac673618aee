//! How long a request and its response may last as a whole, and how long nothing of them may move.

use std::time::{Duration, Instant};

use crate::http_mesh::{App, Chain, Raw};
use crate::http_two as grpc;
use crate::mesh::within;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const TICK: Duration = Duration::from_millis(20);

/// Sends `ticks` pieces, one after the other with a pause, then rests for `rest`, then ends.
async fn ticking(ticks: usize, rest: Duration) -> App {
    App::start(move |mut raw: Raw| async move {
        while raw.maybe_head().await.is_some() {
            raw.send(CHUNKED).await;
            for _ in 0..ticks {
                raw.send("1\r\nx\r\n").await;
                tokio::time::sleep(TICK).await;
            }
            tokio::time::sleep(rest).await;
            raw.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// The answer as it came, and whether all of it did.
async fn answer(chain: &Chain) -> (String, bool) {
    let mut client = chain.connect().await;
    client.send(GET).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = String::new();
    while let Some(line) = client.part("\r\n").await {
        body += &line;
        if line == "0\r\n" {
            return (body, true);
        }
    }
    (body, false)
}

#[tokio::test]
async fn a_stream_without_end_is_cut_when_its_time_is_up() {
    let app = ticking(5000, Duration::ZERO).await;
    let chain = Chain::start_with(&[app.address], ", timeouts: { stream_ms: 300 }").await;
    let begun = Instant::now();
    let (body, whole) = within(answer(&chain)).await;
    assert!(!whole && body.contains('x'), "{body}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let metrics = chain.caller.get("/metrics").await;
    assert!(metrics.contains(r#"status="200"} 1"#), "{metrics}");
}

#[tokio::test]
async fn what_moves_is_not_idle_and_what_rests_is_cut() {
    for (rest, whole) in [(Duration::ZERO, true), (Duration::from_secs(15), false)] {
        let app = ticking(40, rest).await;
        let chain = Chain::start_with(&[app.address], ", timeouts: { stream_idle_ms: 500 }").await;
        let begun = Instant::now();
        let (body, came_whole) = within(answer(&chain)).await;
        assert_eq!((came_whole, body.matches('x').count()), (whole, 40));
        assert!(whole || begun.elapsed() >= Duration::from_millis(40 * 20 + 500));
    }
}

#[tokio::test]
async fn a_route_has_limits_of_its_own() {
    let app = ticking(20, Duration::ZERO).await;
    let words = ", timeouts: { stream_ms: 100, stream_idle_ms: 10 }, \
                 routes: [ { name: long, stream_ms: 0, stream_idle_ms: 0 } ]";
    let chain = Chain::start_with(&[app.address], words).await;
    assert!(within(answer(&chain)).await.1);
    let words = ", routes: [ { name: short, stream_ms: 100 } ]";
    let chain = Chain::start_with(&[app.address], words).await;
    assert!(!within(answer(&chain)).await.1);
}

#[tokio::test]
async fn it_counts_from_the_request_on() {
    let app = App::start(|mut raw: Raw| async move {
        raw.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let words = ", timeouts: { request_ms: 0, stream_ms: 200 }";
    let chain = Chain::start_with(&[app.address], words).await;
    let (head, _) = within(async { chain.connect().await.ask(GET).await }).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
}

#[tokio::test]
async fn an_upgraded_connection_has_the_limit_of_the_whole_and_its_own_for_idling() {
    let app = App::start(|mut raw: Raw| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
        while let Some(byte) = raw.piece(1).await {
            raw.send(byte).await;
        }
    })
    .await;
    let words = ", timeouts: { stream_ms: 600, stream_idle_ms: 50 }";
    let chain = Chain::start_with(&[app.address], words).await;
    let mut client = chain.connect().await;
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    tokio::time::sleep(Duration::from_millis(150)).await;
    client.send("a").await;
    assert_eq!(client.piece(1).await.as_deref(), Some("a"));
    assert_eq!(within(client.piece(1)).await, None);
    assert!(begun.elapsed() >= Duration::from_millis(600));
}

#[tokio::test]
async fn grpc_is_told_that_its_deadline_is_exceeded() {
    let app = grpc::App::start(|_, mut respond| async move {
        let response = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let Ok(mut send) = respond.send_response(response, false) else { return };
        while send.send_data("hello".into(), false).is_ok() {
            tokio::time::sleep(TICK).await;
        }
    })
    .await;
    let chain = Chain::start_with(&[app.address], ", timeouts: { stream_ms: 200 }").await;
    let client = grpc::Client::connect(chain.caller.at("out")).await;
    let mut body = client.call(grpc::grpc(), "hello").await.unwrap().into_body();
    let mut came = 0;
    while let Some(data) = within(body.data()).await {
        came += data.unwrap().len();
    }
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    assert_eq!((trailers["grpc-status"].as_bytes(), came % 5), (&b"4"[..], 0));
}
