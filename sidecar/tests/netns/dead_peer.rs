//! Peers that vanish without a word: a machine without power, a network namespace that is gone. Nothing says FIN, and what
//! is sent is not acknowledged. docs/conformance.md says within what time that is noticed.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::mesh::{self, Ca, Node};
use crate::namespace::{inside, run};

/// A link's requests fail after 20 s, and may be tried once more; a busy machine gets the rest.
const LINK: Duration = Duration::from_secs(35);
/// A byte stream is reset after 20 to 40 s.
const STREAM: Duration = Duration::from_secs(50);
/// What is noticed before was noticed by chance.
const TOO_EARLY: Duration = Duration::from_secs(15);

/// From here on nothing arrives at that port, and no answer of it.
fn cut(port: u16) {
    for way in ["dport", "sport"] {
        run(&format!("nft add rule ip cut gone tcp {way} {port} drop"));
    }
}

/// A callee and its caller; `more` stands with the called port.
async fn pair(ca: &Ca, application: SocketAddr, protocol: &str, more: &str) -> (Node, Node) {
    let speaks = |config: String| config.replace("protocol: tcp", &format!("protocol: {protocol}"));
    let there = Node::start(ca, &speaks(mesh::callee(application))).await;
    let config = mesh::caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]));
    let config = config.replace("protocol: tcp }", &format!("protocol: {protocol}{more} }}"));
    (Node::start(ca, &config).await, there)
}

/// Carries a byte each way, then nothing; both ends are told in time.
async fn bytes(ca: &Ca) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = pair(ca, listener.local_addr().unwrap(), "tcp", "").await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    assert_eq!(application.read_u8().await.unwrap(), b'x');
    cut(there.at("mesh").port());
    let begun = Instant::now();
    client.write_all(b"y").await.unwrap();
    application.write_all(b"z").await.unwrap();
    for (end, name) in [(&mut client, "client"), (&mut application, "application")] {
        let told =
            timeout(STREAM, end.read_u8()).await.unwrap_or_else(|_| panic!("{name}: not told in time"));
        assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionReset, "{name}");
        let after = begun.elapsed();
        assert!((TOO_EARLY..STREAM).contains(&after), "{name}: after {after:?}");
    }
}

/// Asks once, then again when nobody is there any more.
async fn requests(ca: &Ca) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) =
        pair(ca, listener.local_addr().unwrap(), "http", ", timeouts: { request_ms: 0, idle_ms: 0 }").await;
    let mut client = TcpStream::connect(here.at("out")).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    let mut head = [0; 4096];
    assert!(application.read(&mut head).await.unwrap() > 0);
    application.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(client.read(&mut head).await.unwrap() > 0);
    cut(there.at("mesh").port());
    let begun = Instant::now();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let answered = timeout(LINK, client.read(&mut head)).await.expect("an answer in time").unwrap();
    let answer = String::from_utf8_lossy(&head[..answered]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    assert!(answer.contains("outrigger-error: "), "{answer}");
    assert!(begun.elapsed() > TOO_EARLY, "{:?}", begun.elapsed());
}

#[test]
fn a_peer_that_vanishes_is_noticed_in_time() {
    inside("dead_peer::a_peer_that_vanishes_is_noticed_in_time", || {
        run("nft add table ip cut");
        run("nft add chain ip cut gone { type filter hook input priority 0 ; }");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ca = Ca::new();
            tokio::join!(bytes(&ca), requests(&ca));
        });
    });
}
