//! What protects the callee's application, whoever calls: rate limits, and how much may be under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::http_two as grpc;
use crate::mesh::{self, Ca, Echo, Node, within};
use crate::policy::{GOOD, gated};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(crate) fn callee(application: SocketAddr, words: &str) -> String {
    format!("{}  {words}\n", mesh::callee(application).replace("protocol: tcp", "protocol: detect"))
}

fn caller(service: &str, mesh: SocketAddr) -> String {
    let config = mesh::caller(&[("shop-echo-1", mesh)].into());
    config.replace("protocol: tcp", "protocol: detect").replace("shop/web", &format!("shop/{service}"))
}

/// A caller and a callee whose `proxy` has these words more.
async fn chain(ca: &Ca, application: SocketAddr, words: &str) -> Chain {
    let callee = Node::start(ca, &callee(application, words)).await;
    let caller = Node::start(ca, &caller("web", callee.at("mesh"))).await;
    Chain { caller, callees: vec![callee] }
}

async fn app() -> (App, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let app = App::start(move |mut raw: Raw| {
        let count = count.clone();
        async move {
            while raw.maybe_head().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                raw.send(GOOD).await;
            }
        }
    })
    .await;
    (app, counter)
}

async fn statuses(client: &mut Raw, request: &str, times: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(client.ask(request).await.0[9..12].to_owned());
    }
    all
}

pub(crate) fn metric(metrics: &str, line: &str) {
    assert!(metrics.contains(line), "{line}\n{metrics}");
}

#[tokio::test]
async fn over_a_rate_limit_the_caller_is_told_when_to_come_back() {
    let (app, asked) = app().await;
    let limits = "rate_limits: [ { name: all, requests: 600, window_s: 3600, burst: 2 } ]";
    let chain = chain(&Ca::new(), app.address, limits).await;
    let mut client = chain.connect().await;
    let (head, body) = client.ask(GET).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "good", "{head}");
    assert_eq!(field(&head, "ratelimit-policy"), Some("\"all\";q=600;w=3600"));
    assert_eq!(field(&head, "ratelimit"), Some("\"all\";r=1;t=6"));
    assert_eq!(field(&head, "retry-after"), None);
    assert_eq!(statuses(&mut client, GET, 1).await, ["200"]);
    let (head, body) = client.ask(GET).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && body.contains("over the rate limit all"), "{head}{body}");
    assert_eq!(field(&head, "outrigger-error"), Some("rate-limited"));
    assert_eq!(
        (field(&head, "retry-after"), field(&head, "ratelimit")),
        (Some("6"), Some("\"all\";r=0;t=6"))
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    metric(&chain.callees[0].get("/metrics").await, r#"outrigger_rate_limited_total{limit="all"} 1"#);
    // From outside the mesh it holds as well.
    assert_eq!(statuses(&mut chain.connect_plain().await, GET, 1).await, ["429"]);
}

/// Both workers of the callee accept, and no more than the burst comes through them together.
#[tokio::test]
async fn workers_share_one_bucket() {
    for per in ["", ", per: source"] {
        let (app, asked) = app().await;
        let limits = format!("rate_limits: [ {{ name: all, requests: 1, window_s: 3600, burst: 25{per} }} ]");
        let chain = chain(&Ca::new(), app.address, &limits).await;
        let ask = || async { statuses(&mut chain.connect_plain().await, GET, 3).await };
        let all = futures_util::future::join_all((0..20).map(|_| ask())).await.concat();
        let good = all.iter().filter(|status| *status == "200").count();
        assert_eq!((good, asked.load(Ordering::SeqCst), all.len()), (25, 25, 60), "{per}");
    }
}

#[tokio::test]
async fn each_caller_has_a_limit_of_its_own_by_its_proven_identity() {
    let (ca, (app, _)) = (Ca::new(), app().await);
    let limits = "rate_limits: [ { name: each, requests: 1, window_s: 3600, burst: 1, per: caller }, \
                  { name: stock, requests: 1, window_s: 3600, burst: 1, matches: [ { path: !prefix /a, from: [ stock.shop ] } ] } ]";
    let chain = chain(&ca, app.address, limits).await;
    let stock = Node::start(&ca, &caller("stock", chain.callees[0].at("mesh"))).await;
    let forged =
        GET.replace("\r\n\r\n", "\r\nx-forwarded-client-cert: URI=spiffe://test.internal/shop/else\r\n\r\n");
    for mut client in
        [chain.connect().await, Raw::connect(stock.at("out")).await, chain.connect_plain().await]
    {
        assert_eq!(statuses(&mut client, &forged, 2).await, ["200", "429"]);
    }
}

#[tokio::test]
async fn grpc_learns_that_its_resource_is_exhausted() {
    let app = grpc::App::echo().await;
    let limits = "rate_limits: [ { name: calls, requests: 1800, window_s: 3600, burst: 1, matches: [ { grpc: true } ] } ]";
    let chain = chain(&Ca::new(), app.address, limits).await;
    let client = grpc::Client::connect(chain.caller.at("out")).await;
    let first = client.call(grpc::grpc(), "hello").await.unwrap();
    assert_eq!(first.headers()["ratelimit"], "\"calls\";r=0;t=2");
    let second = client.call(grpc::grpc(), "hello").await.unwrap();
    let said = |name: &str| second.headers().get(name).map_or("", |value| value.to_str().unwrap());
    assert_eq!(
        (second.status().as_u16(), said("grpc-status"), said("outrigger-error")),
        (200, "8", "rate-limited")
    );
    assert!(second.body().is_end_stream() && said("grpc-message").contains("rate limit calls"));
    let pushback: u64 = said("grpc-retry-pushback-ms").parse().unwrap();
    assert!((1..=2000).contains(&pushback), "{pushback}");
}

#[tokio::test]
async fn a_refusal_is_repeated_only_where_that_is_asked_for() {
    for (statuses_, times) in [("", 1), (", statuses: [ 429 ]", 3)] {
        let (app, _) = app().await;
        let limits = "rate_limits: [ { name: all, requests: 1, window_s: 3600, burst: 1 } ]";
        let policy = format!(
            "policy: {{ retries: {{ attempts: 2, backoff_least_ms: 1, budget_least: 100{statuses_} }} }}"
        );
        let ca = Ca::new();
        let there = Node::start(&ca, &callee(app.address, limits)).await;
        let config = caller("web", there.at("mesh"))
            .replace("    port: 7000\n", &format!("    port: 7000\n    {policy}\n"));
        let here = Node::start(&ca, &config).await;
        let mut client = Raw::connect(here.at("out")).await;
        assert_eq!(statuses(&mut client, GET, 2).await, ["200", "429"]);
        metric(
            &there.get("/metrics").await,
            &format!(r#"outrigger_rate_limited_total{{limit="all"}} {times}"#),
        );
    }
}

#[tokio::test]
async fn another_configuration_keeps_the_buckets_of_limits_that_stay() {
    let (app, _) = app().await;
    let limits = "rate_limits: [ { name: all, requests: 1, window_s: 3600, burst: 1 } ]";
    let chain = chain(&Ca::new(), app.address, limits).await;
    let (there, mut client) = (&chain.callees[0], chain.connect().await);
    assert_eq!(statuses(&mut client, GET, 2).await, ["200", "429"]);
    let more = limits.replace(" ]", ", { name: more, requests: 1, window_s: 60, burst: 9 } ]");
    there.runtime.apply(mesh::parse(&callee(app.address, &more))).unwrap();
    assert_eq!(statuses(&mut client, GET, 1).await, ["429"]);
    there.runtime.apply(mesh::parse(&callee(app.address, "seen_ports: true"))).unwrap();
    assert_eq!(statuses(&mut client, GET, 3).await, ["200", "200", "200"]);
}

/// Waits until the callee's metrics have that line.
pub(crate) async fn until(node: &Node, line: &str) {
    within(async {
        while !node.get("/metrics").await.contains(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_given_so_much_and_the_next_wait_in_their_order() {
    let (app, gate, entered) = gated().await;
    let chain = chain(&Ca::new(), app.address, "capacity: { requests: 1, pending: 2 }").await;
    let there = &chain.callees[0];
    let mut clients = [chain.connect().await, chain.connect_plain().await, chain.connect().await];
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(GET).await;
        let line = format!(
            r#"outrigger_replica_under_way{{bound="{}"}} {}"#,
            ["requests", "pending", "pending"][n],
            n.max(1)
        );
        until(there, &line).await;
    }
    let (head, _) = chain.connect().await.ask(GET).await;
    assert!(
        head.starts_with("HTTP/1.1 503 ") && field(&head, "outrigger-error") == Some("overloaded"),
        "{head}"
    );
    assert_eq!(entered.available_permits(), 1);
    for (n, client) in clients.iter_mut().enumerate() {
        gate.add_permits(1);
        assert!(client.answer().await.0.starts_with("HTTP/1.1 200 "), "{n}");
    }
    let metrics = there.get("/metrics").await;
    metric(&metrics, r#"outrigger_replica_overloads_total{bound="pending"} 1"#);
    until(there, r#"outrigger_replica_under_way{bound="requests"} 0"#).await;
}

#[tokio::test]
async fn who_stops_waiting_gives_the_place_up() {
    let (app, gate, entered) = gated().await;
    let chain = chain(&Ca::new(), app.address, "capacity: { requests: 1, pending: 1 }").await;
    let there = &chain.callees[0];
    let (mut first, mut second, mut third) =
        (chain.connect().await, chain.connect().await, chain.connect().await);
    first.send(GET).await;
    within(entered.acquire()).await.unwrap().forget();
    second.send(GET).await;
    until(there, r#"outrigger_replica_under_way{bound="pending"} 1"#).await;
    second.tcp.set_zero_linger().unwrap();
    drop(second);
    until(there, r#"outrigger_replica_under_way{bound="pending"} 0"#).await;
    third.send(GET).await;
    until(there, r#"outrigger_replica_under_way{bound="pending"} 1"#).await;
    gate.add_permits(2);
    assert!(first.answer().await.0.starts_with("HTTP/1.1 200 "));
    assert!(third.answer().await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_full_replica_is_not_taken_for_a_broken_one() {
    let (app, gate, entered) = gated().await;
    let ca = Ca::new();
    let there = Node::start(&ca, &callee(app.address, "capacity: { requests: 1 }")).await;
    let policy = "    port: 7000\n    policy: { outlier: { consecutive_errors: 1, most_percent: 100 } }\n";
    let here = Node::start(&ca, &caller("web", there.at("mesh")).replace("    port: 7000\n", policy)).await;
    let mut first = Raw::connect(here.at("out")).await;
    first.send(GET).await;
    within(entered.acquire()).await.unwrap().forget();
    assert_eq!(statuses(&mut Raw::connect(here.at("out")).await, GET, 3).await, ["503"; 3]);
    metric(&here.get("/metrics").await, r#"outrigger_ejections_total{cluster="echo.shop:7000"} 0"#);
    gate.add_permits(1);
    assert!(first.answer().await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn byte_streams_over_the_limit_are_reset() {
    let echo = Echo::start().await;
    let words = "  capacity: { streams: 1 }\n";
    let there = Node::start(&Ca::new(), &format!("{}{words}", mesh::callee(echo.address))).await;
    let mut first = Raw::connect(there.at("plain")).await;
    first.send("a").await;
    assert_eq!(first.exactly(1).await, b"a");
    let refused = async {
        // The reset may come before connecting has come to its end.
        TcpStream::connect(there.at("plain")).await?.read(&mut [0]).await
    };
    let refused = within(refused).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    metric(&there.get("/metrics").await, r#"outrigger_replica_overloads_total{bound="streams"} 1"#);
    drop(first);
    until(&there, r#"outrigger_replica_under_way{bound="streams"} 0"#).await;
    assert_eq!(mesh::exchange(there.at("plain"), b"hello").await.unwrap(), b"hellobye");
}
