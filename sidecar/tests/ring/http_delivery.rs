//! "Never delivered": what is sent elsewhere, and what is not. Applications count what they were given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_lifecycle::Tasks;
use outrigger_wire::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::mesh::nobody;

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
/// Its head is all of it.
const SHORT: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

/// Answers every POST and counts it; `uses` requests per connection, then it closes without having said so.
async fn counting(counter: &Arc<AtomicUsize>, uses: usize) -> App {
    let counter = counter.clone();
    App::start(move |mut raw| {
        let counter = counter.clone();
        async move {
            for _ in 0..uses {
                let Some(head) = raw.maybe_head().await else { return };
                raw.exactly(field(&head, "content-length").map_or(0, |length| length.parse().unwrap())).await;
                counter.fetch_add(1, Ordering::SeqCst);
                raw.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

async fn post(client: &mut Raw) {
    answered(client, POST).await;
}

async fn answered(client: &mut Raw, request: &str) {
    let (head, body) = client.ask(request).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok", "{head}{body}");
}

/// The race of every keep-alive: the application closes while the next request is on its way. Without a body, which may
/// come a moment after its head: what met an application that closed between the two is no proof.
#[tokio::test]
async fn posts_survive_an_application_that_closes_after_each_response() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter, 1).await;
    let chain = Chain::start(&[app.address]).await;
    let mut clients = Tasks::new();
    for _ in 0..8 {
        let mut client = chain.connect().await;
        clients.spawn("client", async move {
            for _ in 0..50 {
                answered(&mut client, SHORT).await;
            }
        });
    }
    while let Some(ended) = clients.next_ended().await {
        assert_eq!(ended, outrigger_lifecycle::Ended::Returned("client"));
    }
    assert_eq!(counter.load(Ordering::SeqCst), 400);
}

#[tokio::test]
async fn an_endpoint_whose_application_is_down_gets_nothing_and_loses_nothing() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter, usize::MAX).await;
    let chain = Chain::start(&[nobody(), app.address]).await;
    let mut client = chain.connect().await;
    for _ in 0..30 {
        post(&mut client).await;
    }
    assert_eq!(counter.load(Ordering::SeqCst), 30);
}

#[tokio::test]
async fn a_callee_that_stops_hands_its_requests_over() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter, usize::MAX).await;
    let mut chain = Chain::start(&[app.address, app.address]).await;
    let stopping = chain.callees.remove(0);
    let mut clients = Tasks::new();
    for _ in 0..4 {
        let mut client = chain.connect().await;
        clients.spawn("client", async move {
            for _ in 0..100 {
                post(&mut client).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stopping.stop().await);
    while let Some(ended) = clients.next_ended().await {
        assert_eq!(ended, outrigger_lifecycle::Ended::Returned("client"));
    }
    assert_eq!(counter.load(Ordering::SeqCst), 400);
}

/// It read the request and then died: nobody can know what it did.
#[tokio::test]
async fn a_post_that_was_read_is_never_sent_twice_and_a_get_is_sent_once_more() {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let app = App::start(move |mut raw| {
        let seen = seen.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            // The second request of each connection is read whole, and not answered.
            if let Some(head) = raw.maybe_head().await {
                raw.exactly(field(&head, "content-length").map_or(0, |n| n.parse().unwrap())).await;
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect_plain().await;
    client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, _) = client.ask(POST).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(field(&head, "outrigger-error"), Some("upstream-reset"));
    assert_eq!(counter.load(Ordering::SeqCst), 1);

    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(client.ask(get).await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.ask(get).await.0.starts_with("HTTP/1.1 200 "), "on a new connection");
    assert_eq!(counter.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_twice() {
    let app = App::start(|mut raw| async move {
        raw.head().await;
        raw.exactly(1).await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let mut client = chain.connect_plain().await;
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n").await;
    client.send(vec![b'x'; 200_000]).await;
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn requests_are_held_until_an_endpoint_is_there() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter, usize::MAX).await;
    let chain = Chain::start(&[app.address]).await;
    let full = chain.caller.runtime.configured().borrow().clone().unwrap().config.clone();
    let mut empty = full.clone();
    for cluster in empty.clusters.values_mut() {
        cluster.endpoints.clear();
    }
    chain.caller.runtime.apply(empty).unwrap();
    let mut client = chain.connect().await;
    client.send(POST).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    chain.caller.runtime.apply(full).unwrap();
    assert!(client.answer().await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_upgrade_goes_to_another_endpoint() {
    let app = App::start(|mut raw| async move {
        raw.head().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nhi").await;
    })
    .await;
    let chain = Chain::start(&[nobody(), app.address]).await;
    for _ in 0..10 {
        let mut client = chain.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        client.finish().await;
        assert_eq!(client.rest().await, "hi");
    }
}

/// A cable between two sidecars that can be cut; connections opened later are whole again.
struct Cable {
    address: SocketAddr,
    cut: watch::Sender<(u32, After)>,
    _tasks: Tasks,
}

/// What becomes of bytes on a connection that was cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Lost, as when a network namespace has died.
    Silence,
    /// Answered with RST, as by the namespace that took its address.
    Reset,
}

impl Cable {
    async fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cut, cuts) = watch::channel((0, After::Silence));
        let mut tasks = Tasks::new();
        let own = listener.local_addr().unwrap();
        tasks.spawn("cable", async move {
            let mut connections = Tasks::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(address).await.unwrap();
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                connections.spawn("connection", carry(near, far, cuts));
            }
        });
        Self { address: own, cut, _tasks: tasks }
    }

    fn cut(&self, after: After) {
        self.cut.send_modify(|(times, then)| (*times, *then) = (*times + 1, after));
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut cuts: watch::Receiver<(u32, After)>) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _ = cuts.changed() => {}
    }
    let after = cuts.borrow().1;
    match after {
        After::Silence => std::future::pending().await,
        After::Reset => {
            let _bytes = near.readable().await;
            near.set_zero_linger().unwrap();
        }
    }
}

#[tokio::test]
async fn a_removed_endpoint_that_is_silent_gives_its_requests_back() {
    let (slow, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = slow.clone();
    let never = App::start(move |mut raw| {
        let asked = asked.clone();
        async move {
            raw.head().await;
            asked.fetch_add(1, Ordering::SeqCst);
            raw.rest().await;
        }
    })
    .await;
    let other = counting(&answered, usize::MAX).await;
    let chain = Chain::start(&[never.address, other.address]).await;
    let cable = Cable::to(chain.callees[0].at("mesh")).await;
    let both = chain.caller.runtime.configured().borrow().clone().unwrap().config.clone();
    let only = |index: usize, address: Option<SocketAddr>| {
        let mut config = both.clone();
        for cluster in config.clusters.values_mut() {
            let endpoint = cluster.endpoints.swap_remove(index);
            cluster.endpoints = vec![Endpoint { address: address.unwrap_or(endpoint.address), ..endpoint }];
        }
        config
    };
    chain.caller.runtime.apply(only(0, Some(cable.address))).unwrap();
    let mut client = chain.connect().await;
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
    while slow.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cable.cut(After::Silence);
    chain.caller.runtime.apply(only(1, None)).unwrap();
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(answered.load(Ordering::SeqCst), 1);
}

/// A quick restart: name and address stay, and no configuration ever lacked the endpoint. What was held for it goes
/// to its new run, not to what is left of a connection to the old one.
#[tokio::test]
async fn held_posts_survive_a_replica_that_restarts_at_the_same_address() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter, usize::MAX).await;
    let chain = Chain::start(&[app.address]).await;
    let cable = Cable::to(chain.callees[0].at("mesh")).await;
    let whole = chain.caller.runtime.configured().borrow().clone().unwrap().config.clone();
    let tell = |instance: &str, ready: bool| {
        let mut config = whole.clone();
        for endpoint in config.clusters.values_mut().flat_map(|cluster| &mut cluster.endpoints) {
            let (instance, address) = (instance.to_owned(), cable.address);
            *endpoint = Endpoint { instance, address, ready, ..endpoint.clone() };
        }
        chain.caller.runtime.apply(config).unwrap();
    };
    tell("first", true);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(chain.connect().await);
    }
    for client in &mut clients {
        post(client).await;
    }
    tell("first", false);
    for client in &mut clients {
        client.send(POST).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    cable.cut(After::Reset);
    tell("second", false);
    tell("second", true);
    for client in &mut clients {
        let (head, _) = client.answer().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!(counter.load(Ordering::SeqCst), 16);
}
