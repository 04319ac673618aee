//! A workload that is to stop while its application still runs, as a task of ECS: peers go elsewhere, its own calls and
//! outsiders are served until it ends.

use outrigger_lifecycle::{Ended, Tasks};
use tokio::net::TcpStream;

use crate::draining::{assert_once, client, counting};
use crate::http_mesh::{App, Chain, Raw};
use crate::mesh::{Echo, exchange, nobody, within};

/// Resolves when nobody listens there any more.
async fn closed(address: std::net::SocketAddr) {
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// An application that says its name.
async fn named(name: &'static str) -> App {
    App::start(move |mut raw: Raw| async move {
        while raw.maybe_head().await.is_some() {
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}")).await;
        }
    })
    .await
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn peers_go_elsewhere_before_anything_else_ends_and_lose_nothing() {
    let (app, seen) = counting().await;
    let chain = Chain::start(&[app.address, app.address]).await;
    let mut clients = Tasks::new();
    for name in 0..8 {
        let raw = chain.connect().await;
        clients.spawn("client", async move {
            assert_eq!(client(raw, name, 400).await, 400);
        });
    }
    let leaving = &chain.callees[0];
    let mesh = leaving.at("mesh");
    assert!(!leaving.reporter.report().stopping);
    let mut reporter = leaving.reporter.clone();
    leaving.leaving.send_replace(true);
    // At once, and not with the next of those that come every few seconds.
    within(reporter.changed()).await;
    assert!(reporter.report().stopping);
    closed(mesh).await;
    assert!(!reporter.report().ready);
    while let Some(ended) = within(clients.next_ended()).await {
        assert_eq!(ended, Ended::Returned("client"));
    }
    assert_once(&seen, 3200);
}

#[tokio::test]
async fn connections_that_were_there_are_of_no_use_to_peers_any_more() {
    let (a, b) = (named("a").await, named("b").await);
    let chain = Chain::start(&[a.address, b.address]).await;
    let mut raw = chain.connect().await;
    let mut answers = std::collections::BTreeSet::new();
    while answers.len() < 2 {
        answers.insert(raw.ask(GET).await.1);
    }
    let mesh = chain.callees[0].at("mesh");
    chain.callees[0].leaving.send_replace(true);
    closed(mesh).await;
    for _ in 0..50 {
        assert_eq!(raw.ask(GET).await.1, "b");
    }
    // A new configuration opens nothing again.
    let config = chain.callees[0].runtime.configured().borrow().as_ref().unwrap().config.clone();
    chain.callees[0].runtime.apply(config).unwrap();
    assert!(TcpStream::connect(mesh).await.is_err());
    assert!(!chain.callees[0].runtime.addresses().contains_key("mesh"));
}

#[tokio::test]
async fn outsiders_and_its_own_calls_are_served_on() {
    let app = named("a").await;
    let mut chain = Chain::start(&[app.address]).await;
    let mut kept = chain.connect().await;
    assert_eq!(kept.ask(GET).await.1, "a");
    let mut outside = chain.connect_plain().await;
    assert_eq!(outside.ask(GET).await.1, "a");
    // The caller stops: what its application calls, on new connections and old ones, is carried.
    chain.caller.leaving.send_replace(true);
    within(async {
        while !chain.caller.get("/ready").await.contains("stopping") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(kept.ask(GET).await.1, "a");
    assert_eq!(chain.connect().await.ask(GET).await.1, "a");
    // The callee stops: outsiders, who know nothing of the mesh, are served as long as the application serves.
    let mesh = chain.callees[0].at("mesh");
    chain.callees[0].leaving.send_replace(true);
    closed(mesh).await;
    assert_eq!(outside.ask(GET).await.1, "a");
    assert_eq!(chain.connect_plain().await.ask(GET).await.1, "a");
    drop((kept, outside));
    assert!(chain.callees.remove(0).stop().await);
    assert!(chain.caller.stop().await);
}

/// Byte streams that run are not cut.
#[tokio::test]
async fn a_byte_stream_of_a_peer_runs_to_its_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let echo = Echo::start().await;
    let ca = crate::mesh::Ca::new();
    let callee = crate::mesh::Node::start(&ca, &crate::mesh::callee(echo.address)).await;
    let endpoints = [("shop-echo-1", callee.at("mesh")), ("shop-echo-2", nobody())].into();
    let caller = crate::mesh::Node::start(&ca, &crate::mesh::caller(&endpoints)).await;
    let mut tcp = TcpStream::connect(caller.at("out")).await.unwrap();
    let mut read = [0; 2];
    tcp.write_all(b"hi").await.unwrap();
    within(tcp.read_exact(&mut read)).await.unwrap();
    let mesh = callee.at("mesh");
    callee.leaving.send_replace(true);
    closed(mesh).await;
    tcp.write_all(b"ho").await.unwrap();
    within(tcp.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"ho");
    assert!(exchange(caller.at("out"), b"new").await.map_or(true, |answer| answer.is_empty()));
}
