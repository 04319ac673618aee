//! Replicas outside the mesh, which have no sidecar, alone and beside one that has: over real sockets, in plaintext.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http_mesh::{App, Raw, field};
use crate::http_two as grpc;
use crate::mesh::{self, Ca, Echo, Node, exchange, nobody, within};

const POST: &str = "POST / HTTP/1.1\r\nhost: echo.internal:7000\r\ncontent-length: 2\r\n\r\nhi";

/// A caller of `echo.shop`, whose port 7000 speaks `protocol` and has `routes`: `old` are replicas without a sidecar, `new` one
/// that has. `/old` and `/new` are clusters of their own.
pub(crate) async fn caller(
    ca: &Ca,
    old: &[SocketAddr],
    new: Option<SocketAddr>,
    (protocol, routes): (&str, &str),
) -> Node {
    let old = old.iter().zip(1..).map(|(address, n)| {
        format!("{{ workload: echo-old-{n}, address: '{address}', transport: plaintext }}")
    });
    let old: Vec<String> = old.collect();
    let new = new.map(|address| format!("{{ workload: echo-new-1, address: '{address}' }}"));
    let new: Vec<String> = new.into_iter().collect();
    let both: Vec<String> = old.iter().chain(&new).cloned().collect();
    let cluster = |key: &str, endpoints: &[String]| {
        let endpoints = endpoints.join(", ");
        format!(
            "  {key}: {{ service: echo.shop, port: 7000, identity: 'spiffe://test.internal/shop/echo', endpoints: [ {endpoints} ] }}\n"
        )
    };
    let config = format!(
        "
proxy:
  identity: spiffe://test.internal/shop/web
  workload: shop-web-1
  listeners:
    out: {{ address: '127.0.0.1:0', kind: outbound, target: {{ service: {{ name: echo.shop, port: 7000 }} }} }}
services:
  echo.shop:
    names: [ echo ]
    ports: {{ 7000: {{ cluster: echo.shop:7000, protocol: {protocol}, routes: [ {routes} ] }} }}
clusters:
{}{}{}",
        cluster("echo.shop:7000", &both),
        cluster("echo.shop:7000/old", &old),
        cluster("echo.shop:7000/new", &new),
    );
    Node::start(ca, &config).await
}

async fn told(node: &Node, line: &str) {
    within(async {
        while !node.get("/metrics").await.contains(line) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The way into the mesh: most requests to what has no sidecar yet, some to what has.
#[tokio::test]
async fn requests_are_shared_out_between_replicas_without_a_sidecar_and_one_with() {
    let (ca, old, new) = (Ca::new(), App::mirror().await, App::mirror().await);
    let callee = mesh::callee(new.address).replace("protocol: tcp", "protocol: http");
    let callee = Node::start(&ca, &callee).await;
    let routes = "{ name: move, backends: [ { cluster: echo.shop:7000/old, weight: 90 }, { cluster: echo.shop:7000/new, weight: 10 } ] }";
    let caller = caller(&ca, &[old.address], Some(callee.at("mesh")), ("http", routes)).await;
    let mut client = Raw::connect(caller.at("out")).await;
    let mut outside = Vec::new();
    for _ in 0..400 {
        let (head, body) = client.ask(POST).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        if field(&body, "x-forwarded-client-cert").is_none() {
            outside.push(body);
        }
    }
    assert!((320..=395).contains(&outside.len()), "{} of 400", outside.len());
    // As the application sent it, and what tells a trace; nothing that only a sidecar would read or could vouch for.
    let mut fields: Vec<&str> =
        outside[0].lines().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content-length", "host", "traceparent"], "{}", outside[0]);
    assert!(outside.iter().all(|head| field(head, "host") == Some("echo.internal:7000")));
    let edge = r#"outrigger_http_requests_total{direction="outbound",source="web.shop",destination="echo.shop",destination_port="7000",protocol="http",mtls="false",status="200"} 400"#;
    told(&caller, edge).await;
}

/// Who cannot be reached is passed over for any method, whichever way the others are reached.
#[tokio::test]
async fn a_replica_that_is_away_is_passed_over() {
    let (ca, old, new) = (Ca::new(), App::mirror().await, App::mirror().await);
    let callee = mesh::callee(new.address).replace("protocol: tcp", "protocol: http");
    let callee = Node::start(&ca, &callee).await;
    let caller = caller(&ca, &[nobody(), old.address], Some(callee.at("mesh")), ("http", "")).await;
    let mut client = Raw::connect(caller.at("out")).await;
    for _ in 0..20 {
        let (head, _) = client.ask(POST).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    // Without a certificate of its own it still calls those that ask for none.
    let alone = self::caller(&ca, &[nobody(), old.address], None, ("http", "")).await;
    let (head, _) = Raw::connect(alone.at("out")).await.ask(POST).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

/// On another host a reset proves nothing: somebody in between may have sent it after the application had read the request.
#[tokio::test]
async fn a_reset_by_a_replica_outside_is_no_proof_that_a_request_was_not_read() {
    let asked = Arc::new(AtomicUsize::new(0));
    let script = |asked: Arc<AtomicUsize>| {
        move |raw: Raw| {
            let asked = asked.clone();
            async move {
                // Closed with the request unread: the kernel resets.
                raw.tcp.readable().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let (one, two) = (App::start(script(asked.clone())).await, App::start(script(asked.clone())).await);
    let caller = caller(&Ca::new(), &[one.address, two.address], None, ("http", "")).await;
    let (head, _) = Raw::connect(caller.at("out")).await.ask(POST).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "sent once");
}

#[tokio::test]
async fn http2_and_bytes_reach_replicas_outside_as_they_are() {
    let app = grpc::App::echo().await;
    let calls = caller(&Ca::new(), &[app.address], None, ("http2", "")).await;
    let client = grpc::Client::connect(calls.at("out")).await;
    let response = client.call(grpc::grpc(), "hello").await.unwrap();
    assert_eq!(grpc::whole(response.into_body()).await, "hello");

    let echo = Echo::start().await;
    let bytes = caller(&Ca::new(), &[echo.address], None, ("tcp", "")).await;
    assert_eq!(exchange(bytes.at("out"), b"SELECT 1").await.unwrap(), b"SELECT 1bye");
}
