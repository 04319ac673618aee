//! What connections take that nothing moves on. Allocated bytes are counted, so that nothing depends on the machine; of
//! what the process takes from the kernel, `cargo xtask bench` tells.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod counted;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../ring/mesh.rs"]
mod mesh;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use counted::Alive;
use mesh::{Ca, Node, callee, caller};

/// Connections held open; clients and applications are plain threads, which allocate nothing for them.
const CONNECTIONS: usize = 100;
/// For connections to settle once the last byte has come.
const SETTLE: Duration = Duration::from_secs(10);

/// An application in a thread: answers each connection once, and leaves it open.
fn application(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut served = Vec::with_capacity(2 * CONNECTIONS);
        loop {
            let (mut tcp, _) = listener.accept().unwrap();
            let answered = tcp.read(&mut [0; 4096]).and_then(|_| tcp.write_all(answer));
            served.push(answered.map(|()| tcp));
        }
    });
    address
}

fn exchange(tcp: &mut TcpStream, ask: &[u8], answer: &[u8]) {
    tcp.write_all(ask).unwrap();
    let mut got = [0; 256];
    // The last bytes are those of the body; of the fields before, some are the sidecar's.
    let mut size = 0;
    while !got[..size].ends_with(answer) {
        size += tcp.read(&mut got[size..]).unwrap();
    }
}

/// Connections that have each served one exchange; and bytes allocated for each of them.
fn hold(entry: SocketAddr, ask: &[u8], answer: &[u8], most: i64) {
    let open = || {
        let mut tcp = TcpStream::connect(entry).unwrap();
        exchange(&mut tcp, ask, answer);
        tcp
    };
    // What is there once for all of them: buffers that wait for use, too.
    let _first: Vec<TcpStream> = (0..64).map(|_| open()).collect();
    let mut held = Vec::with_capacity(CONNECTIONS);
    let before = Alive::now();
    held.extend((0..CONNECTIONS).map(|_| open()));
    let late = Instant::now() + SETTLE;
    loop {
        let (each, sizes) = before.since(CONNECTIONS);
        if each <= most {
            println!("{each} bytes for each{sizes}");
            return;
        }
        assert!(Instant::now() < late, "{each} bytes for each idle connection, {most} at most{sizes}");
        std::thread::yield_now();
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
const REQUEST: &[u8] = b"GET /some/where HTTP/1.1\r\nhost: echo\r\nuser-agent: test\r\naccept: */*\r\n\r\n";

#[tokio::test]
async fn idle_connections_take_little() {
    let ca = Ca::new();
    let http = |config: String| config.replace("protocol: tcp", "protocol: http");
    let there = Node::start(&ca, &http(callee(application(ANSWER)))).await;
    let here = Node::start(&ca, &http(caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))])))).await;
    hold(here.at("out"), REQUEST, b"hello", HTTP);
    drop((there, here));
    let there = Node::start(&ca, &callee(application(b"pong"))).await;
    let here = Node::start(&ca, &caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]))).await;
    hold(here.at("out"), b"ping", b"pong", 2 * STREAM);
}

/// Bytes for an HTTP connection of a client, which waits for its next request.
const HTTP: i64 = 2800;
/// Bytes for a byte stream, at each of the two sidecars.
const STREAM: i64 = 10_500;
