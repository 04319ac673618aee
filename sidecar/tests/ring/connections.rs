//! As many connections of HTTP as a replica takes: who comes after them is told so, and callers of the mesh go to another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use tokio::io::AsyncReadExt;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::http_two as grpc;
use crate::mesh::{self, Ca, Node, within};
use crate::policy::GOOD;
use crate::rate::{callee, metric, until};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SWITCH: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const ONE: &str = "capacity: { connections: 1 }";

/// Answers requests and counts them; switches where that is asked for, and says `hello` then. Bytes that are no HTTP it
/// echoes, one.
async fn app() -> (App, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let app = App::start(move |mut raw: Raw| {
        let count = count.clone();
        async move {
            let mut first = [0];
            while matches!(raw.tcp.peek(&mut first).await, Ok(1)) {
                if !first[0].is_ascii_alphabetic() {
                    let byte = raw.exactly(1).await;
                    raw.send(byte).await;
                    continue;
                }
                let Some(head) = raw.maybe_head().await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                if head.starts_with("GET /chat ") {
                    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
                    raw.send(switch).await;
                    raw.rest().await;
                    return;
                }
                raw.send(GOOD).await;
            }
        }
    })
    .await;
    (app, counter)
}

fn under_way(number: usize) -> String {
    format!("outrigger_replica_under_way{{bound=\"connections\"}} {number}\n")
}

/// Two replicas and a caller that would eject one at its first failure.
async fn two(first: SocketAddr, second: SocketAddr) -> Chain {
    let policy = "{ outlier: { consecutive_errors: 1, most_percent: 100 } }";
    Chain::start_policed(&[first, second], "", policy).await
}

fn bound(node: &Node, application: SocketAddr) {
    node.runtime.apply(mesh::parse(&callee(application, ONE))).unwrap();
}

async fn assert_nobody_ejected(chain: &Chain) {
    let ejections = r#"outrigger_ejections_total{cluster="echo.shop:7000"} 0"#;
    metric(&chain.caller.get("/metrics").await, ejections);
}

#[tokio::test]
async fn a_client_over_the_limit_is_answered_and_closed_and_the_next_is_served() {
    let (app, asked) = app().await;
    let there = Node::start(&Ca::new(), &callee(app.address, ONE)).await;
    let mut first = Raw::connect(there.at("plain")).await;
    // Before it has said a word.
    until(&there, &under_way(1)).await;
    let mut second = Raw::connect(there.at("plain")).await;
    let (head, body) = second.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("as many connections"), "{head}{body}");
    assert_eq!(
        (field(&head, "outrigger-error"), field(&head, "connection")),
        (Some("overloaded"), Some("close"))
    );
    assert_eq!(second.rest().await, "");
    assert!(first.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    metric(&there.get("/metrics").await, r#"outrigger_replica_overloads_total{bound="connections"} 1"#);
    drop(first);
    until(&there, &under_way(0)).await;
    assert!(Raw::connect(there.at("plain")).await.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
}

/// It waits for nothing, and takes no place for longer than that.
#[tokio::test]
async fn a_silent_client_over_the_limit_is_closed() {
    let (app, _) = app().await;
    let config = callee(app.address, ONE).replace("protocol: detect", "protocol: http");
    let there = Node::start(&Ca::new(), &config).await;
    let _first = Raw::connect(there.at("plain")).await;
    until(&there, &under_way(1)).await;
    let mut second = Raw::connect(there.at("plain")).await;
    assert_eq!(within(second.tcp.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn http_2_over_the_limit_is_sent_away_before_its_first_request() {
    let app = grpc::App::echo().await;
    let there = Node::start(&Ca::new(), &callee(app.address, ONE)).await;
    let first = grpc::Client::connect(there.at("plain")).await;
    assert_eq!(first.call(grpc::grpc(), "hello").await.unwrap().status(), 200);
    let tcp = tokio::net::TcpStream::connect(there.at("plain")).await.unwrap();
    let (_send, connection) = h2::client::handshake(tcp).await.unwrap();
    let error = within(connection).await.unwrap_err();
    assert!(error.is_go_away() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{error}");
    assert_eq!(first.call(grpc::grpc(), "hello").await.unwrap().status(), 200);
}

#[tokio::test]
async fn byte_streams_are_not_counted() {
    let (app, _) = app().await;
    let there = Node::start(&Ca::new(), &callee(app.address, ONE)).await;
    let mut http = Raw::connect(there.at("plain")).await;
    assert!(http.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
    let mut bytes = [Raw::connect(there.at("plain")).await, Raw::connect(there.at("plain")).await];
    for stream in &mut bytes {
        stream.send([0]).await;
        assert_eq!(stream.exactly(1).await, [0]);
    }
    let metrics = there.get("/metrics").await;
    metric(&metrics, &under_way(1));
    metric(&metrics, r#"outrigger_replica_overloads_total{bound="connections"} 0"#);
}

/// One that is full is not broken: nothing is lost, and nothing ejected. It is asked again when it has room.
#[tokio::test]
async fn a_caller_goes_to_another_replica() {
    let ((full, asked), (other, served)) = (app().await, app().await);
    let chain = two(full.address, other.address).await;
    let there = &chain.callees[0];
    bound(there, full.address);
    let outsider = chain.connect_plain().await;
    until(there, &under_way(1)).await;
    let mut client = chain.connect().await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    for n in 0..40 {
        let request = if n % 2 == 0 { GET } else { post };
        let (head, _) = client.ask(request).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!((asked.load(Ordering::SeqCst), served.load(Ordering::SeqCst)), (0, 40));
    assert_nobody_ejected(&chain).await;
    drop(outsider);
    within(async {
        while asked.load(Ordering::SeqCst) == 0 {
            assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    metric(&there.get("/metrics").await, &under_way(1));
}

#[tokio::test]
async fn grpc_goes_to_another_replica() {
    let (full, other) = (grpc::App::echo().await, grpc::App::echo().await);
    let chain = two(full.address, other.address).await;
    bound(&chain.callees[0], full.address);
    let _outsider = chain.connect_plain().await;
    until(&chain.callees[0], &under_way(1)).await;
    let client = grpc::Client::connect(chain.caller.at("out")).await;
    for _ in 0..10 {
        assert_eq!(client.call(grpc::grpc(), "hello").await.unwrap().status(), 200);
    }
    assert_nobody_ejected(&chain).await;
}

#[tokio::test]
async fn a_websocket_goes_to_another_replica() {
    let ((full, asked), (other, _)) = (app().await, app().await);
    let chain = two(full.address, other.address).await;
    bound(&chain.callees[0], full.address);
    let _outsider = chain.connect_plain().await;
    until(&chain.callees[0], &under_way(1)).await;
    for _ in 0..5 {
        let mut client = chain.connect().await;
        client.send(SWITCH).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(client.exactly(5).await, b"hello");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_nobody_ejected(&chain).await;
}

#[tokio::test]
async fn where_all_are_full_the_client_is_told_so() {
    let ((app, asked), _) = (app().await, ());
    let chain =
        Chain::start_policed(&[app.address], "", "{ outlier: { consecutive_errors: 1, most_percent: 100 } }")
            .await;
    bound(&chain.callees[0], app.address);
    let outsider = chain.connect_plain().await;
    until(&chain.callees[0], &under_way(1)).await;
    for request in [GET, SWITCH] {
        let (head, _) = chain.connect().await.ask(request).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(field(&head, "outrigger-error"), Some("overloaded"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_nobody_ejected(&chain).await;
    drop(outsider);
    until(&chain.callees[0], &under_way(0)).await;
    within(async { while !chain.connect().await.ask(GET).await.0.starts_with("HTTP/1.1 200 ") {} }).await;
}

/// A link that is there goes on, however long it was there before the limit.
#[tokio::test]
async fn a_limit_that_comes_later_holds_for_those_that_are_open() {
    let (app, _) = app().await;
    let chain = Chain::start(&[app.address]).await;
    let there = &chain.callees[0];
    let mut client = chain.connect().await;
    assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
    bound(there, app.address);
    metric(&there.get("/metrics").await, &under_way(1));
    assert!(chain.connect_plain().await.ask(GET).await.0.starts_with("HTTP/1.1 503 "));
    assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
}
