//! The sidecar asks its own application whether it can serve, and says what follows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use outrigger_lifecycle::Tasks;
use outrigger_sidecar::netns::Listening;
use outrigger_wire::control::{Checked, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::mesh::{Ca, Node, parse, within};

/// An application whose health can be set.
struct App {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<watch::Sender<u32>>,
    _tasks: Tasks,
}

impl App {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (status, asked) = (Arc::new(AtomicU16::new(status)), Arc::<watch::Sender<u32>>::default());
        let (answered, counted) = (status.clone(), asked.clone());
        let mut tasks = Tasks::new();
        tasks.spawn("application", async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && tcp.read_buf(&mut request).await.unwrap() > 0 {}
                let status = answered.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n");
                let _hung_up = tcp.write_all(answer.as_bytes()).await;
                counted.send_modify(|asked| *asked += 1);
            }
        });
        Self { address, status, asked, _tasks: tasks }
    }

    fn becomes(&self, status: u16) {
        self.asked.send_replace(0);
        self.status.store(status, Ordering::SeqCst);
    }

    /// Waits until it was asked so often since its health was set.
    async fn is_asked(&self, times: u32) {
        within(self.asked.subscribe().wait_for(|asked| *asked >= times)).await.unwrap();
    }

    fn listening(&self) -> Listening {
        [(self.address.port(), [self.address.ip()].into())].into()
    }
}

fn config(check: &str) -> String {
    format!(
        "
proxy:
  identity: spiffe://test.internal/shop/cart
  workload: shop-cart-1
  listeners: {{}}
  {check}
"
    )
}

fn check(more: &str) -> String {
    config(&format!("check: {{ ask: {{ kind: http, path: /healthz }}, {more} }}"))
}

/// Waits until it says that, and that nothing else was said at once on the way.
async fn says(node: &mut Node, expected: Option<Verdict>) -> String {
    within(async {
        loop {
            let said = node.reporter.report().check;
            if said.as_ref().map(Checked::verdict) == expected {
                return said.map(|said| said.reason).unwrap_or_default();
            }
            node.reporter.changed().await;
        }
    })
    .await
}

#[tokio::test]
async fn it_is_pending_then_passes_then_fails_then_passes() {
    let app = App::start(500).await;
    let mut node = Node::start_bare(None, None);
    assert_eq!(node.reporter.report().check, None, "there is no configuration");
    node.runtime.apply(parse(&check("interval_ms: 20, unhealthy: 4, healthy: 2"))).unwrap();
    let at_once = node.reporter.report().check.unwrap();
    assert_eq!(at_once.verdict(), Verdict::Pending, "before anybody has asked");
    says(&mut node, Some(Verdict::Pending)).await;
    assert_eq!(*app.asked.borrow(), 0, "nothing listens, so nobody is asked");
    node.listening.send_replace(app.listening());
    app.is_asked(10).await;
    assert_eq!(says(&mut node, Some(Verdict::Pending)).await, "GET /healthz answered 500");
    app.becomes(200);
    says(&mut node, Some(Verdict::Passing)).await;
    assert!(*app.asked.borrow() >= 2, "two in a row");
    app.becomes(503);
    assert_eq!(says(&mut node, Some(Verdict::Failing)).await, "GET /healthz answered 503");
    assert!(*app.asked.borrow() >= 4, "four in a row");
    app.becomes(204);
    says(&mut node, Some(Verdict::Passing)).await;
    let metrics = node.get("/metrics").await;
    assert!(metrics.contains("outrigger_health_checks_total{result=\"failed\"}"), "{metrics}");
    assert!(metrics.contains("outrigger_health_check_passing 1"), "{metrics}");
    assert!(!metrics.contains("outrigger_http_requests_total{"), "asking is no traffic: {metrics}");
    node.listening.send_replace(Listening::new());
    let reason = says(&mut node, Some(Verdict::Pending)).await;
    assert_eq!(reason, "the application listens on no port", "a new application must pass anew");
    assert!(node.stop().await);
}

/// Nobody takes a replica out because its mesh file is being edited.
#[tokio::test]
async fn a_check_that_comes_later_says_nothing_until_it_knows() {
    let app = App::start(200).await;
    let mut node = Node::start_bare(None, None);
    node.listening.send_replace(app.listening());
    node.runtime.apply(parse(&config(""))).unwrap();
    node.identity.send_replace(Some(Ca::new().issue("cart")));
    // Once the prober has looked at the first configuration, which the sidecar's readiness does not tell.
    let metrics = node.get("/metrics").await;
    assert!(
        !metrics.contains("outrigger_health_check"),
        "nothing is counted where nothing is asked: {metrics}"
    );
    node.runtime.apply(parse(&check("interval_ms: 20, healthy: 3"))).unwrap();
    let mut said = Vec::new();
    within(async {
        while said.last() != Some(&Some(Verdict::Passing)) {
            let now = node.reporter.report().check.as_ref().map(Checked::verdict);
            if said.last() != Some(&now) {
                said.push(now);
            }
            if now != Some(Verdict::Passing) {
                node.reporter.changed().await;
            }
        }
    })
    .await;
    assert_eq!(said, [None, Some(Verdict::Passing)]);
    // Another question keeps the verdict until it has answers of its own.
    app.becomes(500);
    node.runtime.apply(parse(&check("interval_ms: 10000, unhealthy: 2"))).unwrap();
    app.is_asked(1).await;
    assert_eq!(node.reporter.report().check.unwrap().verdict(), Verdict::Passing);
    // None at all: nothing is said.
    node.runtime.apply(parse(&config(""))).unwrap();
    assert_eq!(node.reporter.report().check, None);
    says(&mut node, None).await;
    assert!(node.stop().await);
}
