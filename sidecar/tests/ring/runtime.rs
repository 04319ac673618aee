//! Applying configurations.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_sidecar::runtime::Generation;

use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, nobody, parse};

#[tokio::test]
async fn a_configuration_is_applied_whole_or_not_at_all() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let config = callee(echo.address);
    let node = Node::start(&ca, &config).await;
    let (version, before) = (node.runtime.version(), node.runtime.addresses());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut next = parse(&config);
    next.proxy.listeners.remove("mesh");
    let extra = [("taken", address), ("free", "127.0.0.1:0".parse().unwrap())];
    for (name, address) in extra {
        let mut listener = next.proxy.listeners["plain"].clone();
        listener.address = address;
        next.proxy.listeners.insert(name.into(), listener);
    }
    let reasons = node.runtime.apply(next).unwrap_err();
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("`taken`") && reasons[0].contains(&address.to_string()), "{reasons:?}");
    assert_eq!((node.runtime.version(), node.runtime.addresses()), (version, before));
    assert_eq!(exchange(node.at("plain"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn references_to_nothing_and_names_that_cannot_be_are_refused_with_reasons() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let node = Node::start(&ca, &callee(echo.address)).await;
    let good = caller(&BTreeMap::new());
    let no_cluster = parse(&good.replace("cluster: 'echo.shop:7000'", "cluster: nothing"));
    assert!(node.runtime.apply(no_cluster).unwrap_err()[0].contains("no cluster `nothing`"));
    let bad_name = parse(&good.replace("service: echo.shop\n", "service: 'echo shop'\n"));
    assert!(node.runtime.apply(bad_name).unwrap_err()[0].contains("server name"));
}

#[tokio::test]
async fn listeners_come_and_go_while_their_connections_stay() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let config = callee(echo.address);
    let node = Node::start(&ca, &config).await;
    let plain = node.at("plain");
    let mut running = tokio::net::TcpStream::connect(plain).await.unwrap();
    running.write_all(b"a").await.unwrap();
    assert_eq!(running.read_u8().await.unwrap(), b'a');
    let mut next = parse(&config);
    next.proxy.listeners.remove("plain");
    node.runtime.apply(next).unwrap();
    assert!(!node.runtime.addresses().contains_key("plain"));
    crate::mesh::within(async {
        while tokio::net::TcpStream::connect(plain).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.write_all(b"b").await.unwrap();
    assert_eq!(running.read_u8().await.unwrap(), b'b');
    node.runtime.apply(parse(&config)).unwrap();
    assert_eq!(exchange(node.at("plain"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn endpoints_live_on_between_generations_until_they_are_named_no_more() {
    let ca = Ca::new();
    let address = "127.0.0.1:9".parse().unwrap();
    let node = Node::start(&ca, &caller(&BTreeMap::from([("a", address), ("b", address)]))).await;
    let endpoints = || {
        let generation = node.runtime.configured().borrow().clone().unwrap();
        let cluster = generation.clusters.get("echo.shop:7000").unwrap().clone();
        cluster.members.iter().map(|m| m.endpoint.clone()).collect::<Vec<_>>()
    };
    let before = endpoints();
    node.runtime.apply(parse(&caller(&BTreeMap::from([("b", address), ("c", address)])))).unwrap();
    let after = endpoints();
    assert!(before[0].is_removed() && !before[1].is_removed());
    assert_eq!(before[1].id, after[0].id);
    crate::mesh::within(before[0].removed()).await;
    // The same replica at another address is another endpoint.
    let moved = "127.0.0.1:10".parse().unwrap();
    node.runtime.apply(parse(&caller(&BTreeMap::from([("b", moved)])))).unwrap();
    assert_ne!(endpoints()[0].id, after[0].id);
    assert!(after[0].is_removed());
}

#[tokio::test]
async fn the_admin_port_says_what_is_awaited_and_what_runs() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let node = Node::start_without_identity(parse(&callee(echo.address))).await;
    let ready = node.get("/ready").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("certificate"), "{ready}");
    assert!(node.get("/live").await.starts_with("HTTP/1.1 200"));
    node.identify(ca.issue("echo")).await;
    assert!(node.get("/ready").await.starts_with("HTTP/1.1 200"));
    let config = node.get("/config").await;
    assert!(config.contains("shop-echo-1") && !config.contains("PRIVATE"), "{config}");
    let shown = config.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(parse(shown), parse(&callee(echo.address)));
    let metrics = node.get("/metrics").await;
    assert!(metrics.contains("outrigger_build_info{") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(node.get("/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_example_of_the_documentation_works() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let page = include_str!("../../../docs/static-config.md");
    let mut examples = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let (mut cart, mut web) = (parse(examples.next().unwrap()), parse(examples.next().unwrap()));
    assert!(examples.next().is_none());
    // The same, on ports of this test.
    let application = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    cart.proxy.ports.get_mut(&8080).unwrap().app_address = Some(application.local_addr().unwrap());
    let any = "127.0.0.1:0".parse().unwrap();
    cart.proxy.listeners.get_mut("mesh").unwrap().address = any;
    web.proxy.listeners.get_mut("cart").unwrap().address = any;
    let (ca, domain) = (Ca::new(), "spiffe://demo.internal/shop");
    let there = Node::start_without_identity(cart).await;
    there.identify(ca.issue_uris(&[&format!("{domain}/cart")])).await;
    web.clusters.get_mut("cart.shop:8080").unwrap().endpoints[0].address = there.at("mesh");
    let here = Node::start_without_identity(web).await;
    here.identify(ca.issue_uris(&[&format!("{domain}/web")])).await;
    let mut client = tokio::net::TcpStream::connect(here.at("cart")).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n").await.unwrap();
    let serve = async {
        let (mut served, _) = application.accept().await.unwrap();
        let mut head = [0; 5];
        served.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"GET /");
        served.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        served
    };
    let mut answer = String::new();
    let (_served, read) =
        crate::mesh::within(async { tokio::join!(serve, client.read_to_string(&mut answer)) }).await;
    read.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[tokio::test]
async fn clusters_that_did_not_change_are_the_same_ones() {
    let node = Node::start(&Ca::new(), &caller(&BTreeMap::from([("shop-echo-1", nobody())]))).await;
    let running = || node.runtime.configured().borrow().clone().unwrap();
    let first = running();
    let mut config = first.config.clone();
    config.clusters.insert("other:7000", config.clusters["echo.shop:7000"].clone());
    node.runtime.apply(config.clone()).unwrap();
    let second = running();
    let of = |generation: &Generation, key: &str| generation.clusters.get(key).unwrap().clone();
    let same = |a: &Generation, b: &Generation, key: &str| Arc::ptr_eq(&of(a, key), &of(b, key));
    assert!(same(&first, &second, "echo.shop:7000"));
    config.clusters.get_mut("echo.shop:7000").unwrap().endpoints.clear();
    node.runtime.apply(config).unwrap();
    let third = running();
    assert!(same(&second, &third, "other:7000") && !same(&second, &third, "echo.shop:7000"));
}
