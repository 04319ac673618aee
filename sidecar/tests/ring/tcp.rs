//! Byte streams through two sidecars.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, nobody, parse, within};

fn one(workload: &str, address: std::net::SocketAddr) -> String {
    caller(&BTreeMap::from([(workload, address)]))
}

#[tokio::test]
async fn bytes_cross_two_sidecars_and_half_close_is_kept() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &one("shop-echo-1", there.at("mesh"))).await;
    let text: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let answer = exchange(here.at("out"), &text).await.unwrap();
    assert_eq!(answer.len(), text.len() + 3);
    assert!(answer.starts_with(&text) && answer.ends_with(b"bye"));
    let edges = there.runtime.telemetry().edges();
    assert_eq!((edges.len(), edges[0].peer.as_str(), edges[0].mtls), (1, "web.shop", true));
    let metrics = here.get("/metrics").await;
    let edge = r#"direction="outbound",source="web.shop",destination="echo.shop",destination_port="7000",protocol="tcp",mtls="true""#;
    assert!(metrics.contains(&format!("outrigger_tcp_connections_total{{{edge}}} 1")), "{metrics}");
}

#[tokio::test]
async fn many_streams_at_once_each_get_their_own_bytes() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &one("shop-echo-1", there.at("mesh"))).await;
    let out = here.at("out");
    let stream = |i: usize| async move {
        let text = vec![i as u8; 10_000 + i * 997];
        let answer = exchange(out, &text).await.unwrap();
        assert_eq!(answer[..text.len()], text);
    };
    futures_util::future::join_all((0..40).map(stream)).await;
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_or_whose_application_refuses_is_passed_over() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let good = Node::start(&ca, &callee(echo.address)).await;
    let without_application = Node::start(&ca, &callee(nobody())).await;
    let endpoints = [
        ("shop-echo-1", nobody()),
        ("shop-echo-2", without_application.at("mesh")),
        ("shop-echo-3", good.at("mesh")),
    ];
    let here = Node::start(&ca, &caller(&BTreeMap::from(endpoints))).await;
    for _ in 0..20 {
        assert_eq!(exchange(here.at("out"), b"hello").await.unwrap(), b"hellobye");
    }
    assert_eq!(good.runtime.telemetry().edges()[0].requests, 20);
}

#[tokio::test]
async fn a_connection_is_held_until_an_endpoint_arrives() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &caller(&BTreeMap::new())).await;
    let out = here.at("out");
    let exchanged = exchange(out, b"hello");
    let arrive = async {
        // The stream is under way once its edge is counted.
        while here.runtime.telemetry().edges().is_empty() {
            tokio::task::yield_now().await;
        }
        here.runtime.apply(parse(&one("shop-echo-1", there.at("mesh")))).unwrap();
    };
    let (answer, ()) = within(async { tokio::join!(exchanged, arrive) }).await;
    assert_eq!(answer.unwrap(), b"hellobye");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_reset_at_the_other_end() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = Node::start(&ca, &callee(application.local_addr().unwrap())).await;
    let here = Node::start(&ca, &one("shop-echo-1", there.at("mesh"))).await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    let (mut served, _) = within(application.accept()).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut ping = [0; 4];
    within(served.read_exact(&mut ping)).await.unwrap();
    served.set_zero_linger().unwrap();
    drop(served);
    let read = within(client.read_u8()).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_silent_stream_ends_after_the_idle_timeout() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let config = one("shop-echo-1", there.at("mesh"));
    let config = config.replace("protocol: tcp }", "protocol: tcp, timeouts: { idle_ms: 200 } }");
    let here = Node::start(&ca, &config).await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let end = within(client.read_to_end(&mut answer)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(answer, b"ping");
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_drain_waits_for_streams_and_ends_at_once_when_idle() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &one("shop-echo-1", there.at("mesh"))).await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"a").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'a');
    let (out, stopping) = (here.at("out"), here.stop());
    let rest = async {
        // New connections are refused, the one that runs goes on.
        while TcpStream::connect(out).await.is_ok() {
            tokio::task::yield_now().await;
        }
        client.write_all(b"b").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "bbye");
    };
    let (ended, ()) = within(async { tokio::join!(stopping, rest) }).await;
    assert!(ended);
    assert!(there.stop().await);
}

#[tokio::test]
async fn a_stopped_worker_resets_what_still_runs() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let mut client = TcpStream::connect(there.at("plain")).await.unwrap();
    client.write_all(b"a").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'a');
    assert!(!there.stop_within(Duration::ZERO).await);
    let end = within(client.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset, "what is cut does not look whole");
}

#[tokio::test]
async fn plaintext_from_outside_is_served_and_counted_under_permissive_only() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let config = callee(echo.address);
    let there = Node::start(&ca, &config).await;
    assert_eq!(exchange(there.at("plain"), b"hello").await.unwrap(), b"hellobye");
    assert!(there.get("/metrics").await.contains("outrigger_plaintext_inbound_total 1\n"));
    let strict = parse(&config.replace("workload:", "mode: strict\n  workload:"));
    there.runtime.apply(strict).unwrap();
    assert!(exchange(there.at("plain"), b"hello").await.is_err());
}

#[tokio::test]
async fn server_first_is_carried_where_the_client_stays_silent() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = callee(application.local_addr().unwrap()).replace("protocol: tcp", "protocol: detect");
    let there = Node::start(&ca, &config).await;
    let mut client = TcpStream::connect(there.at("plain")).await.unwrap();
    let (mut served, _) = within(application.accept()).await.unwrap();
    served.write_all(b"220 ready").await.unwrap();
    let mut greeting = [0; 9];
    within(client.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"220 ready");
}

#[tokio::test]
async fn a_connection_that_was_not_redirected_is_refused() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let config = callee(echo.address).replace("target: { port: 7000 }", "target: original-destination");
    let there = Node::start(&ca, &config).await;
    assert!(exchange(there.at("plain"), b"hello").await.is_err());
}

#[tokio::test]
async fn an_application_seen_listening_is_reached_without_being_declared() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let port = echo.address.port();
    let config = callee(echo.address);
    let config = config.split("  ports:").next().unwrap().replace("7000", &port.to_string());
    let there = Node::start(&ca, &config).await;
    assert!(exchange(there.at("plain"), b"hello").await.is_err());
    there.listening.send_replace([(port, [echo.address.ip()].into())].into());
    assert_eq!(exchange(there.at("plain"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn last_words_before_a_reset_arrive() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = Node::start(&ca, &callee(application.local_addr().unwrap())).await;
    let here = Node::start(&ca, &one("shop-echo-1", there.at("mesh"))).await;
    for _ in 0..20 {
        let mut client = TcpStream::connect(here.at("out")).await.unwrap();
        let (mut served, _) = within(application.accept()).await.unwrap();
        client.write_all(b"one more question").await.unwrap();
        within(served.readable()).await.unwrap();
        served.write_all(b"terminated by the administrator").await.unwrap();
        // Unread bytes make the kernel reset what is closed.
        drop(served);
        let mut said = Vec::new();
        let _reset = within(client.read_to_end(&mut said)).await;
        assert_eq!(String::from_utf8_lossy(&said), "terminated by the administrator");
    }
}
