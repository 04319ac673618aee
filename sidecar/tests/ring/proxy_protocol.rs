//! The PROXY protocol: a load balancer in front of the sidecar, and an application that wants to be told as well.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use outrigger_sidecar::patience::Patience;
use outrigger_sidecar::proxy_protocol::{self, MAX_HEADER, SIGNATURE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http_mesh::{App, Raw};
use crate::http_two::{self, Client};
use crate::mesh::{self, Ca, Echo, Node, callee, within};

const V1: &str = "PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n";
/// In the fields that an application gets.
const SAID: &str = "x-forwarded-for: 192.0.2.7\r\n";

/// The callee of these tests with more words about its port, which speaks `protocol`.
fn config(application: SocketAddr, protocol: &str, proxy_protocol: &str) -> String {
    let said = format!("protocol: {protocol}, proxy_protocol: {proxy_protocol},");
    callee(application).replace("protocol: tcp,", &said)
}

/// Version 2, of a client at 192.0.2.7, with what the load balancers of AWS put behind.
fn v2() -> Vec<u8> {
    let mut header = proxy_protocol::header(at("192.0.2.7:56324"), at("10.0.0.2:443"), None);
    let vpc_endpoint = [&[0xea, 0, 23, 1][..], b"vpce-08d2bf15fac5001c9"].concat();
    header[15] += u8::try_from(vpc_endpoint.len()).unwrap();
    header.extend(vpc_endpoint);
    header
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[tokio::test]
async fn the_header_says_who_the_client_is() {
    let app = App::mirror().await;
    for protocol in ["http", "detect"] {
        let node = Node::start(&Ca::new(), &config(app.address, protocol, "{ accept: true }")).await;
        for header in [V1.as_bytes().to_vec(), v2()] {
            let mut client = Raw::connect(node.at("plain")).await;
            // In pieces, and with the first request right behind it.
            let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            let bytes = [&header[..], request].concat();
            for piece in bytes.chunks(bytes.len() / 3) {
                client.send(piece).await;
                tokio::task::yield_now().await;
            }
            let (_, seen) = client.answer().await;
            assert!(seen.starts_with("GET / HTTP/1.1\r\n") && seen.contains(SAID), "{seen}");
            // For as long as the connection lives.
            let (_, seen) =
                client.ask("GET /2 HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 198.51.100.9\r\n\r\n").await;
            assert!(seen.contains("x-forwarded-for: 198.51.100.9, 192.0.2.7\r\n"), "{seen}");
        }
        let seen = node.runtime.telemetry().outsiders();
        let seen: Vec<_> = seen.iter().map(|o| (o.address.as_str(), o.connections)).collect();
        assert_eq!(seen, [("192.0.2.7", 2)]);
    }
}

#[tokio::test]
async fn bytes_and_http_2_follow_the_header() {
    let echo = Echo::start().await;
    let node = Node::start(&Ca::new(), &config(echo.address, "tcp", "{ accept: true }")).await;
    let bytes = [&v2()[..], b"PROXY is a word like any other"].concat();
    let back = mesh::exchange(node.at("plain"), &bytes).await.unwrap();
    assert_eq!(back, b"PROXY is a word like any otherbye");

    let app = http_two::App::start(|request, mut respond| async move {
        let said = request.headers()["x-forwarded-for"].clone();
        let answer = http::Response::builder().header("said", said).body(()).unwrap();
        let _client_gone = respond.send_response(answer, true);
    })
    .await;
    let node = Node::start(&Ca::new(), &config(app.address, "http", "{ accept: true }")).await;
    let mut tcp = TcpStream::connect(node.at("plain")).await.unwrap();
    tcp.write_all(V1.as_bytes()).await.unwrap();
    let client = Client::over(tcp).await;
    let request = || http::Request::get("http://a/").body(()).unwrap();
    assert_eq!(client.call(request(), "").await.unwrap().headers()["said"], "192.0.2.7");
}

/// Closed with RST, and nothing reaches the application.
async fn is_refused(to: SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(to).await.unwrap();
    let _closed_already = tcp.write_all(bytes).await;
    let error = within(tcp.read_u8()).await.unwrap_err();
    let text = String::from_utf8_lossy(bytes);
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{text}: {error}");
}

#[tokio::test]
async fn a_connection_without_a_good_header_reaches_nobody() {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(application.local_addr().unwrap(), "http", "{ accept: true }");
    let patience = Patience { head: Duration::from_millis(200), ..Patience::default() };
    let node = Node::start_patient(&Ca::new(), &config, patience).await;
    let oversized =
        [&SIGNATURE[..], &[0x21, 0x11], &u16::try_from(MAX_HEADER).unwrap().to_be_bytes()].concat();
    let truncated = &v2()[..30];
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 4096]].concat();
    let bad: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7 10.0.0.2 56324\r\n",
        // Late: the rest, or all of it.
        b"PROXY TCP4 192",
        b"",
        truncated,
        &oversized,
        &endless,
    ];
    for bytes in bad {
        is_refused(node.at("plain"), bytes).await;
    }
    let refused = async {
        // Counted once the connection is closed.
        let counted = "outrigger_connections_refused_total{reason=\"proxy_header\"} 8";
        while !node.get("/metrics").await.contains(counted) {}
    };
    within(refused).await;
    assert!(node.runtime.telemetry().outsiders().is_empty(), "they are not counted as served");
    // LOCAL: the load balancer itself asks, and nobody else is named.
    let mut client = Raw::connect(node.at("plain")).await;
    client.send(proxy_protocol::LOCAL).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (tcp, _) = within(application.accept()).await.unwrap();
    let head = Raw::new(tcp).head().await;
    assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "the first that came: {head}");
}

#[tokio::test]
async fn who_is_no_load_balancer_sends_no_header() {
    let app = App::mirror().await;
    let config = config(app.address, "http", "{ accept: true, from: [ 192.0.2.0/24, '2001:db8::/32' ] }");
    let node = Node::start(&Ca::new(), &config).await;
    let mut client = Raw::connect(node.at("plain")).await;
    let (_, seen) = client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    // Its header is no request.
    let mut client = Raw::connect(node.at("plain")).await;
    let (head, _) = client.ask(V1).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let config = config.replace("192.0.2.0/24", "127.0.0.0/8");
    node.runtime.apply(mesh::parse(&config)).unwrap();
    is_refused(node.at("plain"), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
}

/// Takes a PROXY header off a connection of the sidecar: whom it names, and its TLVs.
async fn announced(tcp: &mut TcpStream) -> (SocketAddr, Vec<u8>) {
    let mut fixed = [0; 16];
    within(tcp.read_exact(&mut fixed)).await.unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([fixed[14], fixed[15]]))];
    within(tcp.read_exact(&mut rest)).await.unwrap();
    let whole = [&fixed[..], &rest].concat();
    let Ok(Some((proxy_protocol::Said::Client(client), length))) = proxy_protocol::read(&whole) else {
        panic!("{whole:?}")
    };
    assert_eq!(length, whole.len());
    (client, rest.split_off(12))
}

#[tokio::test]
async fn an_application_is_told_the_client_and_the_caller_of_the_mesh() {
    let ca = Ca::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(application.local_addr().unwrap(), "tcp", "{ accept: true, send: true }");
    let there = Node::start(&ca, &config).await;
    let here = Node::start(&ca, &mesh::caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]))).await;

    let mut client = TcpStream::connect(there.at("plain")).await.unwrap();
    client.write_all(&[&v2()[..], b"x"].concat()).await.unwrap();
    let (mut tcp, _) = within(application.accept()).await.unwrap();
    assert_eq!(announced(&mut tcp).await, (at("192.0.2.7:56324"), Vec::new()));
    assert_eq!(within(tcp.read_u8()).await.unwrap(), b'x');

    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (mut tcp, _) = within(application.accept()).await.unwrap();
    let (address, tlvs) = announced(&mut tcp).await;
    assert_eq!(address.ip(), at("127.0.0.1:1").ip(), "the caller's own, which proved who it is");
    let id = b"spiffe://test.internal/shop/web";
    assert_eq!(tlvs[..3], [0x20, 0, u8::try_from(tlvs.len() - 3).unwrap()]);
    assert!(tlvs.ends_with(&[&[0x22, 0, u8::try_from(id.len()).unwrap()][..], id].concat()), "{tlvs:?}");
    assert_eq!(within(tcp.read_u8()).await.unwrap(), b'x');
}

/// An application that answers each request with whom the header of its connection named, and the connection's own address.
async fn teller() -> App {
    App::start(|mut raw| async move {
        let (client, _) = announced(&mut raw.tcp).await;
        let own = raw.tcp.peer_addr().unwrap();
        while raw.maybe_head().await.is_some() {
            let body = format!("{client} {own}");
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

#[tokio::test]
async fn requests_of_different_clients_never_share_a_connection_that_was_announced() {
    let app = teller().await;
    let node = Node::start(&Ca::new(), &config(app.address, "http", "{ send: true }")).await;
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut client = Raw::connect(node.at("plain")).await;
        let (_, first) = client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let own = client.tcp.local_addr().unwrap().to_string();
        assert!(first.starts_with(&own), "{first} is {own}");
        let (_, second) = client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(first, second, "its own connection is used again");
        assert!(told.insert(first));
    }
}

#[tokio::test]
async fn an_announced_http_2_connection_ends_with_its_client() {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node =
        Node::start(&Ca::new(), &config(application.local_addr().unwrap(), "http2", "{ send: true }")).await;
    for _ in 0..2 {
        let tcp = TcpStream::connect(node.at("plain")).await.unwrap();
        let own = tcp.local_addr().unwrap();
        let client = Client::over(tcp).await;
        let serve = async {
            let (mut tcp, _) = within(application.accept()).await.unwrap();
            assert_eq!(announced(&mut tcp).await.0, own);
            let mut connection = h2::server::handshake(tcp).await.unwrap();
            for _ in 0..2 {
                let (_, mut respond) = within(connection.accept()).await.unwrap().unwrap();
                respond.send_response(http::Response::new(()), true).unwrap();
            }
            connection
        };
        let ask = async {
            for _ in 0..2 {
                let request = http::Request::get("http://a/").body(()).unwrap();
                assert_eq!(client.call(request, "").await.unwrap().status(), 200);
            }
        };
        let mut connection = {
            let mut serving = Box::pin(serve);
            let mut asking = Box::pin(ask);
            let connection = tokio::select! {
                connection = &mut serving => connection,
                () = &mut asking => serving.await,
            };
            // The last answer still has to be written.
            let mut connection = connection;
            tokio::select! {
                more = connection.accept() => assert!(more.is_none()),
                () = asking => {}
            }
            connection
        };
        drop(client);
        assert!(within(connection.accept()).await.is_none(), "closed with the client's");
    }
}
