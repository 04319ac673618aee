//! What is under way while a sidecar stops, or while an endpoint goes: nothing is lost, nothing is sent twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_lifecycle::{Ended, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::mesh::{Ca, Echo, Node, callee, caller, within};

/// How often each request came, by its path.
pub type Seen = Arc<Mutex<BTreeMap<String, usize>>>;

/// Answers POSTs and counts them.
pub async fn counting() -> (App, Seen) {
    let seen = Seen::default();
    let count = seen.clone();
    let app = App::start(move |mut raw: Raw| {
        let count = count.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                raw.exactly(5).await;
                *count.lock().unwrap().entry(path).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
                raw.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (app, seen)
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
}

/// Sends requests one after the other until told that the connection ends, or `most` times; says how many.
pub async fn client(mut raw: Raw, name: usize, most: usize) -> usize {
    for n in 0..most {
        let (head, body) = raw.ask(&post(&format!("/{name}/{n}"))).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok", "{head}");
        if field(&head, "connection") == Some("close") {
            return n + 1;
        }
    }
    most
}

pub fn assert_once(seen: &Seen, sent: usize) {
    let seen = seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1), "sent twice: {seen:?}");
    assert_eq!(seen.len(), sent);
}

/// Each client of a sidecar that stops, busy as it is, is told with its last answer; no request goes unanswered.
#[tokio::test]
async fn clients_of_a_sidecar_that_stops_are_told_and_lose_nothing() {
    for plain in [false, true] {
        let (app, seen) = counting().await;
        let mut chain = Chain::start(&[app.address]).await;
        let (mut clients, sent) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        for name in 0..8 {
            let (raw, sent) =
                (if plain { chain.connect_plain().await } else { chain.connect().await }, sent.clone());
            clients.spawn("client", async move {
                sent.fetch_add(client(raw, name, usize::MAX).await, Ordering::SeqCst);
            });
        }
        within(async {
            while seen.lock().unwrap().len() < 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let stopping = if plain { chain.callees.remove(0) } else { chain.caller };
        assert!(stopping.stop().await);
        while let Some(ended) = within(clients.next_ended()).await {
            assert_eq!(ended, Ended::Returned("client"));
        }
        assert_once(&seen, sent.load(Ordering::SeqCst));
    }
}

/// The head of a response that promised to keep the connection went out before the drain began.
#[tokio::test]
async fn a_client_that_was_not_told_may_send_one_more_request() {
    let gate = Arc::new(Semaphore::new(0));
    let open = gate.clone();
    let app = App::start(move |mut raw: Raw| {
        let gate = gate.clone();
        async move {
            while raw.maybe_head().await.is_some() {
                raw.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
                gate.acquire().await.unwrap().forget();
                raw.send("full").await;
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let (out, mut client) = (chain.caller.at("out"), chain.connect().await);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(field(&client.head().await, "connection"), None);
    let rest = async {
        while TcpStream::connect(out).await.is_ok() {
            tokio::task::yield_now().await;
        }
        open.add_permits(2);
        assert_eq!(client.exactly(8).await, b"halffull");
        let (head, body) = client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "halffull"));
        assert_eq!(client.rest().await, "");
    };
    let (drained, ()) = within(async { tokio::join!(chain.caller.stop(), rest) }).await;
    assert!(drained);
}

/// Requests that are on their way to an endpoint when it leaves the configuration are answered by it.
#[tokio::test]
async fn an_endpoint_that_is_removed_answers_what_it_was_sent() {
    let (app, seen) = counting().await;
    let chain = Chain::start(&[app.address, app.address]).await;
    let mut clients = Tasks::new();
    for name in 0..8 {
        let raw = chain.connect().await;
        clients.spawn("client", async move {
            assert_eq!(client(raw, name, 100).await, 100);
        });
    }
    let full = chain.caller.runtime.configured().borrow().as_ref().unwrap().config.clone();
    for round in 0..10 {
        let mut config = full.clone();
        if round % 2 == 0 {
            config.clusters.get_mut("echo.shop:7000").unwrap().endpoints.remove(round / 2 % 2);
        }
        chain.caller.runtime.apply(config).unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    while let Some(ended) = within(clients.next_ended()).await {
        assert_eq!(ended, Ended::Returned("client"));
    }
    assert_once(&seen, 800);
}

#[tokio::test]
async fn a_byte_stream_outlives_its_endpoint_in_the_configuration() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &caller(&[("shop-echo-1", there.at("mesh"))].into())).await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"a").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'a');
    let mut config = here.runtime.configured().borrow().as_ref().unwrap().config.clone();
    config.clusters.get_mut("echo.shop:7000").unwrap().endpoints.clear();
    here.runtime.apply(config).unwrap();
    client.write_all(b"b").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "bbye");
}

/// What was switched has no end of its own that a sidecar could wait for but the connection's.
#[tokio::test]
async fn an_upgraded_connection_goes_on_while_both_sidecars_stop_and_is_reset_at_the_deadline() {
    let app = App::start(|mut raw: Raw| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
        loop {
            let said = raw.exactly(4).await;
            raw.send(said).await;
        }
    })
    .await;
    let mut chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let (out, callee) = (chain.caller.at("out"), chain.callees.remove(0));
    let rest = async {
        while TcpStream::connect(out).await.is_ok() {
            tokio::task::yield_now().await;
        }
        for word in ["ping", "pong"] {
            client.send(word).await;
            assert_eq!(client.exactly(4).await, word.as_bytes());
        }
        client.tcp.read_u8().await.unwrap_err().kind()
    };
    let limit = Duration::from_secs(1);
    let (caller, callee, end) =
        within(async { tokio::join!(chain.caller.stop_within(limit), callee.stop_within(limit), rest) })
            .await;
    assert!(!(caller && callee), "one of them cut it");
    assert_eq!(end, std::io::ErrorKind::ConnectionReset);
}
