//! One sidecar takes another's place in the same network namespace, and nobody notices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use outrigger_lifecycle::{Ended, Tasks};
use outrigger_sidecar::Stopped;
use outrigger_sidecar::handover::{HandOver, Place};
use outrigger_wire::ProxyConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::http_mesh::{App, Raw, field};
use crate::mesh::{self, Ca, Echo, Node, exchange, parse, within};

/// What still runs in a sidecar whose place was taken may take so long.
const DEADLINE: Duration = Duration::from_secs(10);

/// A place of its own for each sidecar of each test; who may meet there is whoever runs the tests.
pub fn place() -> Place {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("outrigger-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let own = std::fs::metadata("/proc/self").unwrap();
    Place { name, uid: own.uid(), gid: own.gid() }
}

/// A workload whose sidecar is replaced.
struct Berth {
    config: ProxyConfig,
    place: Place,
    node: Node,
}

impl Berth {
    async fn new(ca: &Ca, config: &str) -> Self {
        let (config, place) = (parse(config), place());
        let hand_over = HandOver::find(place.clone(), DEADLINE).await;
        assert!(hand_over.predecessor.is_none() && hand_over.inherited.is_empty());
        let node = ready(ca, &config, hand_over).await;
        Self { config, place, node }
    }

    /// Starts a successor and waits until it is ready; the predecessor.
    async fn succeed(&mut self, ca: &Ca, deadline: Duration) -> Node {
        let hand_over = HandOver::find(self.place.clone(), deadline).await;
        assert!(hand_over.predecessor.is_some());
        let addresses = self.node.runtime.addresses();
        let before = std::mem::replace(&mut self.node, ready(ca, &self.config, hand_over).await);
        assert_eq!(self.node.runtime.addresses(), addresses);
        before
    }
}

async fn ready(ca: &Ca, config: &ProxyConfig, hand_over: HandOver) -> Node {
    let node = Node::start_at(config.clone(), Some(hand_over)).await;
    node.identify(ca.issue(config.proxy.identity.service())).await;
    node
}

fn http(config: &str) -> String {
    config.replace("protocol: tcp", "protocol: detect")
}

/// An application that notes the number of every POST.
async fn counter() -> (App, Arc<Mutex<Vec<u64>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let app = App::start(move |mut raw| {
        let note = note.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                let number = head.strip_prefix("POST /").unwrap().split(' ').next().unwrap().parse().unwrap();
                note.lock().unwrap().push(number);
                tokio::time::sleep(Duration::from_millis(number % 5)).await;
                raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-number: {number}\r\n\r\n")).await;
            }
        }
    })
    .await;
    (app, seen)
}

/// POSTs numbered by all posters together.
#[derive(Clone, Default)]
struct Load {
    next: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Load {
    fn next(&self) -> Option<u64> {
        (!self.over.load(Ordering::Relaxed)).then(|| self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// All over one connection, which must stay.
    async fn keep(self, to: SocketAddr) {
        let mut raw = Raw::connect(to).await;
        while let Some(number) = self.next() {
            let (head, _) = raw.ask(&format!("POST /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            assert_eq!(field(&head, "x-number"), Some(number.to_string().as_str()), "{head}");
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
        }
    }

    /// Each over a connection of its own.
    async fn renew(self, to: SocketAddr) {
        while let Some(number) = self.next() {
            let mut raw = Raw::connect(to).await;
            let request = format!("POST /{number} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let (head, _) = raw.ask(&request).await;
            assert_eq!(field(&head, "x-number"), Some(number.to_string().as_str()), "{head}");
        }
    }

    /// Waits until so many more were sent.
    async fn more(&self, count: u64) {
        let enough = self.next.load(Ordering::Relaxed) + count;
        within(async {
            while self.next.load(Ordering::Relaxed) < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_was_handed_over_is_still_the_clients_whom_its_header_named() {
    let (ca, app) = (Ca::new(), App::mirror().await);
    let config = mesh::callee(app.address)
        .replace("protocol: tcp", "protocol: http, proxy_protocol: { accept: true }");
    let mut berth = Berth::new(&ca, &config).await;
    let (mut asked, mut silent) =
        (Raw::connect(berth.node.at("plain")).await, Raw::connect(berth.node.at("plain")).await);
    asked.send("PROXY TCP4 192.0.2.7 10.0.0.2 1 2\r\n").await;
    silent.send("PROXY TCP4 192.0.2.8 10.0.0.2 1 2\r\n").await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let (_, seen) = asked.ask(request).await;
    assert!(seen.contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    while berth.node.runtime.telemetry().outsiders().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(berth.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
    // A header of the client's own is a request, and a bad one.
    for (client, address) in [(&mut asked, "192.0.2.7"), (&mut silent, "192.0.2.8")] {
        let (_, seen) = client.ask(request).await;
        assert!(seen.contains(&format!("x-forwarded-for: {address}\r\n")), "{seen}");
        let (head, _) = client.ask("PROXY TCP4 192.0.2.9 10.0.0.2 1 2\r\n").await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
}

#[tokio::test]
async fn no_request_is_lost_while_caller_and_callee_are_replaced() {
    let ca = Ca::new();
    let (app, seen) = counter().await;
    let mut callee = Berth::new(&ca, &http(&mesh::callee(app.address))).await;
    let endpoints = BTreeMap::from([("shop-echo-1", callee.node.at("mesh"))]);
    let mut caller = Berth::new(&ca, &http(&mesh::caller(&endpoints))).await;
    let load = Load::default();
    let mut posters = Tasks::new();
    for to in [caller.node.at("out"), callee.node.at("plain")] {
        for _ in 0..8 {
            posters.spawn("keep", load.clone().keep(to));
            posters.spawn("renew", load.clone().renew(to));
        }
    }
    for _ in 0..3 {
        load.more(200).await;
        assert_eq!(caller.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
        load.more(200).await;
        assert_eq!(callee.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
    }
    load.more(200).await;
    load.over.store(true, Ordering::Relaxed);
    while let Some(ended) = within(posters.next_ended()).await {
        assert!(matches!(ended, Ended::Returned(_)), "{ended:?}");
    }
    let (sent, mut seen) = (load.next.load(Ordering::Relaxed), seen.lock().unwrap().clone());
    seen.sort_unstable();
    assert_eq!(seen, (0..sent).collect::<Vec<_>>(), "each arrived once");
}

/// An application that answers every stream with 200.
async fn streams(tasks: &mut Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("application", async move {
        let mut connections = Tasks::new();
        while let Ok((tcp, _)) = listener.accept().await {
            connections.spawn("connection", async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(http::Response::new(()), true).unwrap();
                }
            });
        }
    });
    address
}

/// One request after the other, over a new connection where the old one takes no more.
async fn post_streams(load: Load, to: SocketAddr) {
    let mut connections = Tasks::new();
    let mut link = async || {
        let shaken = h2::client::handshake(TcpStream::connect(to).await.unwrap()).await;
        let (send, connection): (SendRequest<Bytes>, _) = shaken.unwrap();
        connections.spawn("connection", async move { drop(connection.await) });
        send
    };
    let mut send = link().await;
    while load.next().is_some() {
        send = match send.ready().await {
            Ok(send) => send,
            Err(error) if error.is_go_away() || error.is_io() => link().await.ready().await.unwrap(),
            Err(error) => panic!("{error:?}"),
        };
        let request = http::Request::post("http://a/").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        assert_eq!(within(response).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_elsewhere_and_loses_nothing() {
    let (ca, mut application) = (Ca::new(), Tasks::new());
    let mut callee = Berth::new(&ca, &http(&mesh::callee(streams(&mut application).await))).await;
    let endpoints = BTreeMap::from([("shop-echo-1", callee.node.at("mesh"))]);
    let mut caller = Berth::new(&ca, &http(&mesh::caller(&endpoints))).await;
    let (load, mut poster) = (Load::default(), Tasks::new());
    poster.spawn("poster", post_streams(load.clone(), caller.node.at("out")));
    for _ in 0..3 {
        load.more(50).await;
        assert_eq!(caller.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
        load.more(50).await;
        assert_eq!(callee.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
    }
    load.more(50).await;
    load.over.store(true, Ordering::Relaxed);
    assert_eq!(within(poster.next_ended()).await, Some(Ended::Returned("poster")));
}

#[tokio::test]
async fn byte_streams_are_waited_for_and_cut_at_the_deadline() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let mut berth = Berth::new(&ca, &mesh::callee(echo.address)).await;
    let plain = berth.node.at("plain");
    let mut stream = TcpStream::connect(plain).await.unwrap();
    let pass = async |stream: &mut TcpStream| {
        stream.write_all(b"a").await?;
        within(stream.read_u8()).await
    };
    assert_eq!(pass(&mut stream).await.unwrap(), b'a');
    let before = berth.succeed(&ca, DEADLINE).await;
    assert_eq!(exchange(plain, b"new").await.unwrap(), b"newbye", "the successor serves");
    assert_eq!(pass(&mut stream).await.unwrap(), b'a', "and the old one what it had");
    drop(stream);
    assert_eq!(before.ended().await, Stopped::Drained);

    let mut stream = TcpStream::connect(plain).await.unwrap();
    assert_eq!(pass(&mut stream).await.unwrap(), b'a');
    let before = berth.succeed(&ca, Duration::from_millis(50)).await;
    assert_eq!(before.ended().await, Stopped::Cut(1));
    pass(&mut stream).await.unwrap_err();
}

#[tokio::test]
async fn a_successor_that_is_never_ready_changes_nothing() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let mut berth = Berth::new(&ca, &mesh::callee(echo.address)).await;
    let plain = berth.node.at("plain");
    // It dies with its sockets, configured but not certified.
    let hand_over = HandOver::find(berth.place.clone(), DEADLINE).await;
    let failed = Node::start_at(berth.config.clone(), Some(hand_over)).await;
    assert_eq!(failed.at("plain"), plain);
    drop(failed);
    for _ in 0..20 {
        assert_eq!(exchange(plain, b"x").await.unwrap(), b"xbye");
    }
    assert_eq!(berth.succeed(&ca, DEADLINE).await.ended().await, Stopped::Drained);
    assert_eq!(exchange(plain, b"x").await.unwrap(), b"xbye");
}

#[tokio::test]
async fn who_is_no_sidecar_gets_no_socket_and_is_asked_for_none() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let berth = Berth::new(&ca, &mesh::callee(echo.address)).await;
    // An application connects: both sides look at the other's user and group.
    let stranger = Place { uid: berth.place.uid + 1, ..berth.place.clone() };
    assert!(HandOver::find(stranger, DEADLINE).await.predecessor.is_none(), "not believed");
    let (config, other) = (parse(&mesh::callee(echo.address)), place());
    let distrusting = Place { gid: other.gid + 1, ..other.clone() };
    let hand_over = HandOver::find(distrusting, DEADLINE).await;
    let _node = ready(&ca, &config, hand_over).await;
    let found = HandOver::find(other, DEADLINE).await;
    assert!(found.predecessor.is_none() && found.inherited.is_empty(), "nothing given");
    assert_eq!(exchange(berth.node.at("plain"), b"x").await.unwrap(), b"xbye");
}

#[tokio::test]
async fn the_resolver_goes_on_at_the_same_sockets() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let dns = "    dns: { address: '127.0.0.1:0', kind: dns, forward: [ '127.0.0.1:9' ] }\n  ports:";
    let config = mesh::callee(echo.address).replace("  ports:", dns);
    let mut berth = Berth::new(&ca, &config).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(berth.node.at("dns")).await.unwrap();
    let ask = async |id: u8| {
        // A question for the root that nobody else answers: SERVFAIL shows that somebody did.
        let query = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        client.send(&query).await.unwrap();
        let mut answer = [0; 512];
        let length = within(client.recv(&mut answer)).await.unwrap();
        assert_eq!(&answer[..2], &[0, id], "{:?}", &answer[..length]);
    };
    ask(1).await;
    for id in 2..5 {
        let before = berth.succeed(&ca, DEADLINE).await;
        ask(id).await;
        assert_eq!(before.ended().await, Stopped::Drained);
        ask(id + 10).await;
    }
}

/// A client that waits for its next request has its place there, and takes one here.
#[tokio::test]
async fn connections_that_move_keep_their_places() {
    let ca = Ca::new();
    let (app, _) = counter().await;
    let config = format!("{}  capacity: {{ connections: 1 }}\n", http(&mesh::callee(app.address)));
    let mut berth = Berth::new(&ca, &config).await;
    let mut client = Raw::connect(berth.node.at("plain")).await;
    let post = |n: usize| format!("POST /{n} HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(client.ask(&post(1)).await.0.starts_with("HTTP/1.1 200 "));
    let before = berth.succeed(&ca, DEADLINE).await;
    assert_eq!(before.ended().await, Stopped::Drained);
    assert!(client.ask(&post(2)).await.0.starts_with("HTTP/1.1 200 "));
    let (head, _) = Raw::connect(berth.node.at("plain")).await.ask(&post(3)).await;
    assert!(
        head.starts_with("HTTP/1.1 503 ") && field(&head, "outrigger-error") == Some("overloaded"),
        "{head}"
    );
    assert!(client.ask(&post(4)).await.0.starts_with("HTTP/1.1 200 "));
}
