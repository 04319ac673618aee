//! Plaintext from outside the mesh, under permissive and strict.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;

use outrigger_sidecar::downstream::Destination;
use outrigger_sidecar::runtime::Found;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, parse, within};

/// A second port of the application, 7001, with a listener of its own.
fn two_ports(application: SocketAddr) -> String {
    let more = "    second: { address: '127.0.0.1:0', kind: inbound, target: { port: 7001 } }\n  ports:\n";
    let config = callee(application).replace("  ports:\n", more);
    format!("{config}    7001: {{ protocol: http, app_address: '{application}' }}\n")
}

fn strict(config: &str, edge: &str) -> String {
    config.replace("proxy:\n", &format!("proxy:\n  mode: strict\n  edge: {edge}\n"))
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

#[tokio::test]
async fn strict_refuses_plaintext_serves_the_edge_and_leaves_the_mesh_alone() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = strict(&two_ports(application.local_addr().unwrap()), "[7001]");
    let there = Node::start(&ca, &config).await;
    for _ in 0..3 {
        let error = within(async { TcpStream::connect(there.at("plain")).await?.read_u8().await });
        let error = error.await.unwrap_err();
        assert!(is_reset(&error), "at once, with nothing said: {error}");
    }
    let answer = async {
        let (mut tcp, _) = application.accept().await.unwrap();
        let mut head = [0; 512];
        let read = tcp.read(&mut head).await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        String::from_utf8(head[..read].to_vec()).unwrap()
    };
    let ask = async {
        let mut client = TcpStream::connect(there.at("second")).await.unwrap();
        let request =
            b"GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: 192.0.2.7\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (seen, answered) = within(async { tokio::join!(answer, ask) }).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert!(seen.contains("x-forwarded-for: 192.0.2.7, 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");

    let here = Node::start(&ca, &caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]))).await;
    let through_the_mesh = async {
        let (tcp, _) = application.accept().await.unwrap();
        tcp
    };
    let mut call = TcpStream::connect(here.at("out")).await.unwrap();
    call.write_all(b"x").await.unwrap();
    let mut served = within(through_the_mesh).await;
    assert_eq!(within(served.read_u8()).await.unwrap(), b'x', "the refused ones never came this far");

    let report = there.runtime.telemetry().outsiders();
    let known: Vec<_> =
        report.iter().map(|o| (o.address.as_str(), o.port, o.connections, o.refused)).collect();
    assert_eq!(known, [("127.0.0.1", 7000, 3, 3), ("127.0.0.1", 7001, 1, 0)]);
    let peers: Vec<_> = there.runtime.telemetry().edges().into_iter().map(|e| (e.port, e.peer)).collect();
    assert_eq!(peers, [(7001, "edge".to_owned()), (7000, "web.shop".to_owned())]);
    let metrics = there.get("/metrics").await;
    for line in [
        "outrigger_plaintext_refused_total{destination_port=\"7000\"} 3",
        "outrigger_plaintext_inbound_total 1",
        "outrigger_connections_refused_total{reason=\"plaintext\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn strict_switched_on_closes_what_it_does_not_allow_and_nothing_else() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let config = callee(echo.address);
    let there = Node::start(&ca, &config).await;
    let here = Node::start(&ca, &caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]))).await;
    let mut outside = TcpStream::connect(there.at("plain")).await.unwrap();
    let mut inside = TcpStream::connect(here.at("out")).await.unwrap();
    for tcp in [&mut outside, &mut inside] {
        tcp.write_all(b"a").await.unwrap();
        assert_eq!(within(tcp.read_u8()).await.unwrap(), b'a');
    }
    // A generation that changes nothing of it, and one that makes it an edge port.
    there.runtime.apply(parse(&strict(&config, "[7000]"))).unwrap();
    outside.write_all(b"b").await.unwrap();
    assert_eq!(within(outside.read_u8()).await.unwrap(), b'b');
    there.runtime.apply(parse(&strict(&config, "[]"))).unwrap();
    let error = within(outside.read_u8()).await.unwrap_err();
    assert!(is_reset(&error), "{error}");
    let error = exchange(there.at("plain"), b"hello").await.unwrap_err();
    assert!(is_reset(&error), "{error}");
    inside.write_all(b"c").await.unwrap();
    assert_eq!(within(inside.read_u8()).await.unwrap(), b'c');
    there.runtime.apply(parse(&config)).unwrap();
    assert_eq!(exchange(there.at("plain"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_its_connection_closed() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = two_ports(application.local_addr().unwrap());
    let there = Node::start(&ca, &config).await;
    let mut idle = TcpStream::connect(there.at("second")).await.unwrap();
    let mut busy = TcpStream::connect(there.at("second")).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    // The application closes, so that each request comes on a connection of its own, whichever worker serves it.
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let (mut heard, mut said) = ([0; 512], [0; 512]);
    idle.write_all(request).await.unwrap();
    let (mut app_of_idle, _) = within(application.accept()).await.unwrap();
    within(app_of_idle.read(&mut heard)).await.unwrap();
    app_of_idle.write_all(answer).await.unwrap();
    drop(app_of_idle);
    let mut answered = Vec::new();
    while !answered.ends_with(b"hi") {
        let read = within(idle.read(&mut said)).await.unwrap();
        assert_ne!(read, 0);
        answered.extend_from_slice(&said[..read]);
    }
    busy.write_all(request).await.unwrap();
    let (mut app_of_busy, _) = within(application.accept()).await.unwrap();
    within(app_of_busy.read(&mut heard)).await.unwrap();
    there.runtime.apply(parse(&strict(&config, "[]"))).unwrap();
    assert_eq!(within(idle.read(&mut said)).await.unwrap_or(0), 0, "an idle connection ends at once");
    app_of_busy.write_all(answer).await.unwrap();
    let mut rest = String::new();
    within(busy.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("hi"), "{rest}");
    assert!(rest.contains("connection: close"), "{rest}");
}

#[tokio::test]
async fn every_address_of_a_replica_leads_through_the_mesh() {
    let ca = Ca::new();
    let config = caller(&BTreeMap::from([("shop-echo-1", "192.0.2.1:15008".parse().unwrap())]));
    let config = config.replace("'192.0.2.1:15008' }", "'192.0.2.1:15008', also: [ 192.0.2.9, 'fd00::9' ] }");
    let here = Node::start(&ca, &config).await;
    let generation = here.runtime.configured().borrow().clone().unwrap();
    for address in ["192.0.2.1:7000", "192.0.2.9:7000", "[fd00::9]:7000"] {
        let found = generation.outbound(address.parse().unwrap());
        let Found::To(Destination::Endpoint { workload, .. }, _) = found else {
            panic!("{address}: {found:?}")
        };
        assert_eq!(workload, "shop-echo-1");
    }
    let other_port = generation.outbound("192.0.2.9:7001".parse().unwrap());
    assert!(matches!(other_port, Found::To(Destination::Passthrough(_), _)), "{other_port:?}");
}
