//! Who may speak to whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, parse};

fn one(address: SocketAddr) -> String {
    caller(&BTreeMap::from([("shop-echo-1", address)]))
}

#[tokio::test]
async fn a_callee_that_proves_another_identity_is_refused() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let config = one(there.at("mesh"));
    let here = Node::start(
        &ca,
        &config.replace(
            "identity: spiffe://test.internal/shop/echo",
            "identity: spiffe://test.internal/shop/cart",
        ),
    )
    .await;
    assert!(exchange(here.at("out"), b"hello").await.is_err());
    assert!(there.runtime.telemetry().edges().is_empty(), "nothing reached the application");
}

/// A session is resumed without a certificate: it was good for as long as the session, a day.
#[tokio::test]
async fn nobody_outlives_a_certificate_by_resuming_a_session() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &one(there.at("mesh"))).await;
    for (node, service) in [(&here, "web"), (&there, "echo")] {
        let (identity, expired) = ca.issue_for(service, 2);
        node.identify(identity).await;
        for _ in 0..2 {
            exchange(here.at("out"), b"hello").await.unwrap();
        }
        tokio::time::sleep(expired.duration_since(SystemTime::now()).unwrap_or_default()).await;
        assert!(exchange(here.at("out"), b"hello").await.is_err(), "{service}");
        node.identify(ca.issue(service)).await;
        exchange(here.at("out"), b"hello").await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_is_not_ours_is_refused_on_both_sides() {
    let (ours, theirs, echo) = (Ca::new(), Ca::new(), Echo::start().await);
    let there = Node::start(&ours, &callee(echo.address)).await;
    let stranger = Node::start(&theirs, &one(there.at("mesh"))).await;
    assert!(exchange(stranger.at("out"), b"hello").await.is_err());
    // One that trusts our root, but whose own certificate is of another authority.
    let mut identity = theirs.issue("web");
    std::sync::Arc::get_mut(&mut identity).unwrap().roots = ours.issue("web").roots.clone();
    stranger.identify(identity).await;
    assert!(exchange(stranger.at("out"), b"hello").await.is_err());
    assert!(there.runtime.telemetry().edges().is_empty());
    assert!(there.get("/metrics").await.contains(r#"outrigger_connections_refused_total{reason="tls"}"#));
}

#[tokio::test]
async fn a_caller_of_another_trust_domain_or_with_two_names_is_refused() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &one(there.at("mesh"))).await;
    assert!(exchange(here.at("out"), b"hello").await.is_ok());
    for uris in [
        &["spiffe://other.internal/shop/web"][..],
        &["spiffe://test.internal/shop/web", "spiffe://test.internal/shop/admin"],
        &["spiffe://test.internal/shop/web", "https://example.test/"],
    ] {
        // Two names are refused by the own sidecar already, which keeps what it had; ask the callee itself.
        let refused = ca.ask(there.at("mesh"), "7000.echo.shop", uris, b"outrigger-tcp").await;
        assert!(refused.is_err(), "{uris:?}");
    }
    let good =
        ca.ask(there.at("mesh"), "7000.echo.shop", &["spiffe://test.internal/shop/web"], b"outrigger-tcp");
    assert_eq!(good.await.unwrap(), [0]);
}

#[tokio::test]
async fn only_own_ports_may_be_named() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let web = ["spiffe://test.internal/shop/web"];
    for name in
        ["7001.echo.shop", "7000.cart.shop", "7000.echo.other", "echo.shop", "x.echo.shop", "70000.echo.shop"]
    {
        assert!(ca.ask(there.at("mesh"), name, &web, b"outrigger-tcp").await.is_err(), "{name}");
    }
    assert!(ca.ask(there.at("mesh"), "7000.echo.shop", &web, b"h3").await.is_err(), "unknown ALPN");
    assert_eq!(ca.ask(there.at("mesh"), "7000.Echo.shop", &web, b"outrigger-tcp").await.unwrap(), [0]);
}

#[tokio::test]
async fn plaintext_to_the_mesh_port_gets_nothing() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let answer = exchange(there.at("mesh"), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap_or_default();
    assert!(!answer.ends_with(b"bye") && !answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(there.runtime.telemetry().edges().is_empty());
}

#[tokio::test]
async fn without_an_identity_the_mesh_port_is_closed_and_nothing_is_called() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start_without_identity(parse(&callee(echo.address))).await;
    let refused = tokio::net::TcpStream::connect(there.at("mesh")).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(there.get("/ready").await.contains("certificate"));
    let here = Node::start_without_identity(parse(&one(there.at("mesh")))).await;
    assert!(exchange(here.at("out"), b"hello").await.is_err());
    here.identify(ca.issue("web")).await;
    there.identify(ca.issue("echo")).await;
    assert!(there.get("/ready").await.starts_with("HTTP/1.1 200"));
    assert_eq!(exchange(here.at("out"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn a_new_identity_counts_for_new_connections_while_old_ones_run_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (old, new, echo) = (Ca::new(), Ca::new(), Echo::start().await);
    let there = Node::start(&old, &callee(echo.address)).await;
    let here = Node::start(&old, &one(there.at("mesh"))).await;
    let mut running = tokio::net::TcpStream::connect(here.at("out")).await.unwrap();
    running.write_all(b"a").await.unwrap();
    assert_eq!(running.read_u8().await.unwrap(), b'a');
    there.identify(new.issue("echo")).await;
    assert!(exchange(here.at("out"), b"hello").await.is_err(), "the old root does not know the new one");
    here.identify(new.issue("web")).await;
    assert_eq!(exchange(here.at("out"), b"hello").await.unwrap(), b"hellobye");
    running.write_all(b"b").await.unwrap();
    assert_eq!(running.read_u8().await.unwrap(), b'b');
}
