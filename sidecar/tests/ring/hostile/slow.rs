//! Clients that take their time, with a sidecar that has less of it than by default.

use std::time::{Duration, Instant};

use outrigger_sidecar::patience::Patience;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::frames::{END_HEADERS, END_STREAM, Frames, GET, HEADERS, SETTINGS, frame};
use crate::http_mesh::{App, Raw, field};
use crate::http_two;
use crate::mesh::{Ca, Node, callee, within};

const SHORT: Duration = Duration::from_millis(300);
/// What else is done in these tests takes less, even on a busy machine.
const LONG: Duration = Duration::from_secs(100);
/// What a client does that is in time.
const STEP: Duration = Duration::from_millis(100);

fn patient() -> Patience {
    Patience { head: LONG, idle: LONG, body: LONG, stalled: LONG, pooled: LONG }
}

async fn before(app: &App, patience: Patience) -> Node {
    let config = callee(app.address).replace("protocol: tcp", "protocol: http");
    Node::start_patient(&Ca::new(), &config, patience).await
}

async fn connect(node: &Node) -> Raw {
    Raw::connect(node.at("plain")).await
}

#[tokio::test]
async fn a_head_that_trickles_is_408_whatever_comes() {
    let app = App::mirror().await;
    let node = before(&app, Patience { head: SHORT, ..patient() }).await;
    let mut raw = connect(&node).await;
    let begun = Instant::now();
    let (read, mut write) = raw.tcp.into_split();
    let drip = async {
        write.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
        while write.write_all(b"y").await.is_ok() {
            tokio::time::sleep(STEP / 4).await;
        }
    };
    let answer = async {
        let mut answer = String::new();
        let mut read = read;
        let _reset_after_it = tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer).await;
        answer
    };
    let (answer, ()) = within(async { tokio::join!(answer, drip) }).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() >= SHORT);
    raw = connect(&node).await;
    assert!(raw.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_body_may_be_slow_but_not_stop() {
    let app = App::mirror().await;
    // A busy machine may make a step many times as long.
    let node = before(&app, Patience { body: 10 * STEP, ..patient() }).await;
    let mut raw = connect(&node).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1500\r\n\r\n";
    raw.send(head).await;
    for _ in 0..15 {
        tokio::time::sleep(STEP).await;
        raw.send([b'x'; 100]).await;
    }
    assert!(raw.answer().await.0.starts_with("HTTP/1.1 200 "));
    raw.send(head).await;
    raw.send("half").await;
    let (head, _) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 408 ") && field(&head, "connection") == Some("close"), "{head}");
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn a_body_that_trickles_is_408_in_the_end() {
    let app = App::mirror().await;
    let node = before(&app, Patience { body: SHORT, ..patient() }).await;
    let raw = connect(&node).await;
    let begun = Instant::now();
    let (mut read, mut write) = raw.tcp.into_split();
    let drip = async {
        write.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
        while write.write_all(b"y").await.is_ok() {
            tokio::time::sleep(STEP / 4).await;
        }
    };
    let answer = async {
        let mut answer = [0; 13];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer).await.unwrap();
        answer
    };
    let answer = within(async {
        tokio::select! { answer = answer => answer, () = drip => panic!("hung up on without an answer") }
    });
    assert_eq!(&answer.await, b"HTTP/1.1 408 ");
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn clients_that_say_nothing_are_closed() {
    let app = App::mirror().await;
    let node = before(&app, Patience { idle: SHORT, ..patient() }).await;
    let (mut first, mut between) = (connect(&node).await, connect(&node).await);
    assert!(between.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!((first.rest().await, between.rest().await), (String::new(), String::new()));
}

/// An application that sends without end, and tells when it cannot any more.
async fn endless() -> (App, mpsc::UnboundedReceiver<()>) {
    let (tell, told) = mpsc::unbounded_channel();
    let app = App::start(move |mut raw| {
        let tell = tell.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\n\r\n").await;
            while raw.tcp.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
            tell.send(()).unwrap();
        }
    })
    .await;
    (app, told)
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_and_one_that_reads_slowly_is_not() {
    let (app, mut ended) = endless().await;
    let node = before(&app, Patience { stalled: 15 * STEP, ..patient() }).await;
    let mut slow = connect(&node).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..25 {
        tokio::time::sleep(STEP).await;
        slow.exactly(2 << 20).await;
    }
    assert!(ended.try_recv().is_err(), "cut although it reads");
    within(ended.recv()).await.unwrap();
    // What the kernel had taken is there; the end of the response is not.
    assert!(!slow.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_neighbours_live() {
    let app = http_two::App::start(|request, mut respond| async move {
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        let small = request.uri().path() != "/";
        let _gone = send.send_data(if small { "ok".into() } else { vec![b'x'; 1 << 20].into() }, small);
        let _client_gone = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
    })
    .await;
    let config = callee(app.address).replace("protocol: tcp", "protocol: detect");
    let node = Node::start_patient(&Ca::new(), &config, Patience { stalled: SHORT, ..patient() }).await;
    let mut frames = Frames::plain(node.at("plain")).await;
    frames.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 16])).await;
    frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &GET)).await;
    let seen = within(frames.seen_until(|seen| !seen.resets.is_empty())).await;
    assert!(seen.lives && seen.resets == [(1, 8)] && seen.data == 16, "{seen:?}");
    // `GET http://a/index.html`
    let other = [0x82, 0x86, 0x85, 0x01, 0x01, b'a'];
    frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &other)).await;
    let seen = within(frames.seen_until(|seen| seen.data == 2)).await;
    assert!(seen.lives && seen.answered == [3], "{seen:?}");
}

#[tokio::test]
async fn idle_connections_to_the_application_are_closed_in_time() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let app = App::start(move |mut raw| {
        let tell = tell.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let answered = Instant::now();
            raw.rest().await;
            tell.send(answered.elapsed()).unwrap();
        }
    })
    .await;
    let node = before(&app, Patience { pooled: SHORT, ..patient() }).await;
    connect(&node).await.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let idle = within(told.recv()).await.unwrap();
    assert!(idle >= SHORT && idle < Duration::from_secs(10), "{idle:?}");
}
