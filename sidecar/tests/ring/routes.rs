//! Routes at the caller's sidecar: which requests go where, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_wire::ProxyConfig;

use crate::http_mesh::{App, Raw, field};
use crate::mesh::{self, Ca, Node};

/// Two workloads of `echo.shop`, of versions v1 and v2, and a caller `web.shop` whose port has routes.
pub struct Versions {
    pub caller: Node,
    endpoints: [SocketAddr; 2],
    callees: [Node; 2],
    _apps: Vec<App>,
}

impl Versions {
    /// `routes` are the entries of a list in YAML.
    pub async fn start(routes: &str) -> Self {
        let apps = vec![named("v1").await, named("v2").await];
        let mesh = Self::before([apps[0].address, apps[1].address], routes).await;
        Self { _apps: apps, ..mesh }
    }

    /// With other applications.
    pub async fn before(apps: [SocketAddr; 2], routes: &str) -> Self {
        Self::policed(apps, routes, "{}").await
    }

    /// With other applications, and a policy of all clusters.
    pub async fn policed(apps: [SocketAddr; 2], routes: &str, policy: &str) -> Self {
        let ca = Ca::new();
        let callee = |app| mesh::callee(app).replace("protocol: tcp", "protocol: detect");
        let callees = [Node::start(&ca, &callee(apps[0])).await, Node::start(&ca, &callee(apps[1])).await];
        let endpoints = [callees[0].at("mesh"), callees[1].at("mesh")];
        let config = yaml(endpoints, routes)
            .replace("port: 7000, identity", &format!("port: 7000, policy: {policy}, identity"));
        let caller = Node::start(&ca, &config).await;
        Self { caller, endpoints, callees, _apps: Vec::new() }
    }

    /// The caller's configuration with other routes.
    pub fn config(&self, routes: &str) -> ProxyConfig {
        mesh::parse(&yaml(self.endpoints, routes))
    }

    pub async fn connect(&self) -> Raw {
        Raw::connect(self.caller.at("out")).await
    }
}

/// An application that answers with its name and what came.
async fn named(name: &'static str) -> App {
    App::start(move |mut raw| async move {
        while let Some(head) = raw.maybe_head().await {
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            raw.exactly(length).await;
            if head.starts_with("GET /never ") {
                std::future::pending::<()>().await;
            }
            let body = format!("{name}\n{head}");
            let length = body.len();
            raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nx-app: {name}\r\n\r\n{body}"))
                .await;
        }
    })
    .await
}

fn yaml(endpoints: [SocketAddr; 2], routes: &str) -> String {
    let endpoint = |n: usize| format!("{{ workload: shop-echo-{}, address: '{}' }}", n + 1, endpoints[n]);
    let cluster = |key: &str, endpoints: &str| {
        format!(
            "  {key}: {{ service: echo.shop, port: 7000, identity: 'spiffe://test.internal/shop/echo', endpoints: [ {endpoints} ] }}\n"
        )
    };
    let (v1, v2) = (endpoint(0), endpoint(1));
    format!(
        "
proxy:
  identity: spiffe://test.internal/shop/web
  workload: shop-web-1
  listeners:
    out: {{ address: '127.0.0.1:0', kind: outbound, target: {{ service: {{ name: echo.shop, port: 7000 }} }} }}
services:
  echo.shop:
    names: [ echo ]
    ports:
      7000:
        cluster: echo.shop:7000
        routes: [ {routes} ]
clusters:
{}{}{}{}",
        cluster("echo.shop:7000", &format!("{v1}, {v2}")),
        cluster("echo.shop:7000/v1", &v1),
        cluster("echo.shop:7000/v2", &v2),
        cluster("echo.shop:7000/v3", ""),
    )
}

/// First line of the body: who answered.
async fn who(raw: &mut Raw, target: &str, fields: &str) -> String {
    let (head, body) = raw.ask(&format!("GET {target} HTTP/1.1\r\nhost: echo\r\n{fields}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
    body.lines().next().unwrap().to_owned()
}

const CANARY: &str = "
    { name: rest, backends: [ { cluster: echo.shop:7000/v1 } ] },
    { name: canary, matches: [ { path: !prefix /items, headers: { x-canary: !exact '1' } } ], backends: [ { cluster: echo.shop:7000/v2 } ] }";

#[tokio::test]
async fn each_request_of_a_connection_goes_its_own_way() {
    let mesh = Versions::start(CANARY).await;
    let mut client = mesh.connect().await;
    for _ in 0..5 {
        assert_eq!(who(&mut client, "/items/1?x", "X-Canary: 1\r\n").await, "v2");
        assert_eq!(who(&mut client, "/items/1?x", "x-canary: 2\r\n").await, "v1");
        assert_eq!(who(&mut client, "/itemsets", "x-canary: 1\r\n").await, "v1");
    }
}

#[tokio::test]
async fn routes_change_while_a_connection_lives() {
    let mesh = Versions::start(CANARY).await;
    let mut client = mesh.connect().await;
    assert_eq!(who(&mut client, "/", "").await, "v1");
    let all = mesh.config("{ name: all, backends: [ { cluster: echo.shop:7000/v2 } ] }");
    mesh.caller.runtime.apply(all).unwrap();
    assert_eq!(who(&mut client, "/", "").await, "v2");
    // The endpoints of a version that is not routed to any more are still those of the whole.
    mesh.caller.runtime.apply(mesh.config("")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..64 {
        seen.insert(who(&mut client, "/", "").await);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[tokio::test]
async fn weights_share_the_requests_out() {
    let routes = "{ name: split, backends: [ { cluster: echo.shop:7000/v1, weight: 3 }, { cluster: echo.shop:7000/v2 } ] }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    let mut second = 0;
    for _ in 0..400 {
        second += u32::from(who(&mut client, "/", "").await == "v2");
    }
    // 100 wanted; six standard deviations (8.7) to either side.
    assert!((48..=152).contains(&second), "{second} of 400");
}

#[tokio::test]
async fn a_cookie_keeps_its_version() {
    let routes = "{ name: split, sticky: { cookie: session }, backends: [ { cluster: echo.shop:7000/v1 }, { cluster: echo.shop:7000/v2 } ] }";
    let mesh = Versions::start(routes).await;
    let mut seen = std::collections::BTreeSet::new();
    for session in 0..16 {
        let cookie = format!("cookie: a=1; session={session}\r\n");
        let (mut one, mut other) = (mesh.connect().await, mesh.connect().await);
        let first = who(&mut one, "/", &cookie).await;
        for _ in 0..4 {
            assert_eq!(who(&mut one, "/", &cookie).await, first);
            assert_eq!(who(&mut other, "/x", &cookie).await, first);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "16 sessions use both versions");
}

#[tokio::test]
async fn what_no_route_takes_is_404_and_what_leads_nowhere_500() {
    let routes = "
        { name: only, matches: [ { path: !exact /only, method: GET } ] },
        { name: gone, matches: [ { path: !exact /gone } ], backends: [ {} ] }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    who(&mut client, "/only?x", "").await;
    for (line, status, flag) in [
        ("GET /", "404", "no-route"),
        ("POST /only", "404", "no-route"),
        ("GET /only/", "404", "no-route"),
        ("GET /gone", "500", "no-backend"),
    ] {
        let (head, body) =
            client.ask(&format!("{line} HTTP/1.1\r\nhost: echo\r\ncontent-length: 0\r\n\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {head}");
        assert_eq!(field(&head, "outrigger-error"), Some(flag), "{head}");
        assert!(body.contains("route"), "{body}");
    }
    // The connection lives on, and what is refused was not counted as taken.
    who(&mut client, "/only", "").await;
}

#[tokio::test]
async fn a_version_without_workloads_waits_and_is_503() {
    let routes = "{ name: new, backends: [ { cluster: echo.shop:7000/v3 } ], request_ms: 200 }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    let (head, body) = client.ask("GET / HTTP/1.1\r\nhost: echo\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("echo.shop:7000/v3"), "{head}{body}");
}

#[tokio::test]
async fn a_route_has_its_own_timeout() {
    let routes = "
        { name: quick, matches: [ { path: !exact /never } ], request_ms: 100 },
        { name: rest }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    let begun = std::time::Instant::now();
    let (head, _) = client.ask("GET /never HTTP/1.1\r\nhost: echo\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(begun.elapsed() < Duration::from_secs(10), "the port's own limit is 15 s");
}

#[tokio::test]
async fn a_pattern_that_cannot_be_tried_is_refused_and_nothing_changes() {
    let mesh = Versions::start(CANARY).await;
    let bad = mesh.config("{ name: bad, matches: [ { path: !regex '(' } ] }");
    let reasons = mesh.caller.runtime.apply(bad).unwrap_err();
    assert!(format!("{reasons:?}").contains("route bad"), "{reasons:?}");
    let mut client = mesh.connect().await;
    assert_eq!(who(&mut client, "/", "").await, "v1");
}

/// Heads that an application has seen, in their order.
async fn heads(seen: &mut tokio::sync::mpsc::UnboundedReceiver<String>, count: usize) -> Vec<String> {
    let mut heads = Vec::new();
    for _ in 0..count {
        heads.push(mesh::within(seen.recv()).await.unwrap());
    }
    heads
}

#[tokio::test]
async fn requests_and_answers_are_changed_on_the_way() {
    let routes =
        "{ name: old, matches: [ { path: !prefix /old } ], rewrite: { path: !prefix /new, host: 'cart:1' },
        request_headers: { set: { a: '1' }, add: { b: '2' }, remove: [ c ] },
        response_headers: { set: { via: outrigger }, remove: [ x-app ] } }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    for _ in 0..3 {
        let (head, body) = client
            .ask("PUT /old/x?y=/old HTTP/1.1\r\nhost: echo\r\na: 0\r\nb: 1\r\nc: 1\r\ncontent-length: 2\r\n\r\nhi")
            .await;
        assert!(head.starts_with("HTTP/1.1 200 ") && field(&head, "via") == Some("outrigger"), "{head}");
        assert_eq!(field(&head, "x-app"), None, "{head}");
        let lines: Vec<&str> = body.lines().skip(1).collect();
        assert_eq!(lines[0], "PUT /new/x?y=/old HTTP/1.1");
        for line in ["host: cart:1", "a: 1", "b: 1", "b: 2", "content-length: 2", "x-forwarded-host: echo"] {
            assert!(lines.contains(&line), "{line}: {body}");
        }
        assert!(!body.contains("c: 1") && !body.contains("a: 0"), "{body}");
    }
}

#[tokio::test]
async fn a_route_answers_itself_and_the_connection_lives_on() {
    let routes = "
        { name: closed, matches: [ { path: !exact /closed } ], respond: { status: 503, body: closed, headers: { retry-after: '60' } } },
        { name: moved, matches: [ { path: !prefix /moved } ], redirect: { scheme: https, path: !prefix /there, status: 308 } },
        { name: broken, matches: [ { path: !exact /broken } ], fault: { abort: 429, share: 1000000 } },
        { name: late, matches: [ { path: !exact /late } ], fault: { delay_ms: 150, abort: 500, share: 1000000 } },
        { name: rest }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    let begun = std::time::Instant::now();
    for (line, status, name, value) in [
        ("GET /closed", "503", "retry-after", "60"),
        ("HEAD /closed", "503", "content-length", "6"),
        ("GET /moved/a?b", "308", "location", "https://echo/there/a?b"),
        ("GET /broken", "429", "outrigger-error", "fault"),
        ("GET /late", "500", "outrigger-error", "fault"),
        ("GET /", "200", "x-app", "v"),
    ] {
        client.send(format!("{line} HTTP/1.1\r\nhost: echo\r\n\r\n")).await;
        let head = client.head().await;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = client.exactly(if line.starts_with("HEAD") { 0 } else { length }).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {head}");
        assert!(field(&head, name).is_some_and(|found| found.starts_with(value)), "{line}: {head}");
        assert!(line != "GET /closed" || body == b"closed", "{body:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(150));
    // A body that nobody reads ends the connection, as with every answer of the sidecar's own; never the next request.
    client.send("POST /closed HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello").await;
    assert!(client.head().await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn a_copy_goes_elsewhere_and_the_real_answer_never_waits() {
    let (tell, mut seen) = tokio::sync::mpsc::unbounded_channel();
    // The one that gets copies never answers.
    let silent = App::start(move |mut raw| {
        let tell = tell.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                let body = String::from_utf8(raw.exactly(length).await).unwrap();
                let _test_over = tell.send(format!("{head}{body}"));
            }
        }
    })
    .await;
    let real = named("real").await;
    let cluster = |key: &str, app: &App| {
        let endpoint = format!("{{ workload: {key}, address: '{}', transport: plaintext }}", app.address);
        format!(
            "  {key}: {{ service: echo.shop, port: 7000, identity: 'spiffe://test.internal/shop/echo', endpoints: [ {endpoint} ] }}\n"
        )
    };
    let config = format!(
        "
proxy:
  identity: spiffe://test.internal/shop/web
  workload: shop-web-1
  listeners:
    out: {{ address: '127.0.0.1:0', kind: outbound, target: {{ service: {{ name: echo.shop, port: 7000 }} }} }}
services:
  echo.shop:
    names: [ echo ]
    ports: {{ 7000: {{ cluster: real, routes: [ {{ name: all, mirror: {{ cluster: silent, share: 1000000 }} }} ] }} }}
clusters:
{}{}",
        cluster("real", &real),
        cluster("silent", &silent)
    );
    let caller = Node::start(&Ca::new(), &config).await;
    let mut client = Raw::connect(caller.at("out")).await;
    assert_eq!(who(&mut client, "/a", "").await, "real");
    let (_, body) = client.ask("POST /b HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello").await;
    assert!(body.starts_with("real\nPOST /b ") && !body.contains("x-outrigger-mirror"), "{body}");
    let mut copies = heads(&mut seen, 2).await;
    copies.sort();
    assert!(copies[0].starts_with("GET /a ") && copies[0].contains("x-outrigger-mirror: 1"), "{copies:?}");
    assert!(copies[1].starts_with("POST /b ") && copies[1].ends_with("\r\n\r\nhello"), "{copies:?}");
    // What is a copy itself is not copied again; nor is what is too large to be kept.
    assert_eq!(who(&mut client, "/c", "x-outrigger-mirror: 1\r\n").await, "real");
    let large = "x".repeat(100_000);
    client.ask(&format!("POST /d HTTP/1.1\r\nhost: echo\r\ncontent-length: 100000\r\n\r\n{large}")).await;
    assert_eq!(who(&mut client, "/e", "").await, "real");
    let next = heads(&mut seen, 1).await;
    assert!(next[0].starts_with("GET /e "), "{next:?}");
    let labels = "source=\"web.shop\",destination=\"echo.shop\",destination_port=\"7000\",route=\"all\"";
    let lines = [
        format!("outrigger_route_requests_total{{{labels},status_class=\"2xx\"}} 5"),
        format!("outrigger_route_copies_total{{{labels},outcome=\"sent\"}} 3"),
        format!("outrigger_route_copies_total{{{labels},outcome=\"left-out\"}} 1"),
    ];
    // Counted when an answer has gone, which its reader may see before.
    mesh::within(async {
        while !{
            let metrics = caller.get("/metrics").await;
            lines.iter().all(|line| metrics.contains(line))
        } {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Between sidecars copies are streams of HTTP/2, with a body and without one; their answers come back whole.
#[tokio::test]
async fn copies_reach_a_version_through_its_sidecar() {
    let routes = "{ name: all, backends: [ { cluster: echo.shop:7000/v1 } ], mirror: { cluster: echo.shop:7000/v2, share: 1000000 } }";
    let mesh = Versions::start(routes).await;
    let mut client = mesh.connect().await;
    assert_eq!(who(&mut client, "/a", "").await, "v1");
    for body in ["content-length: 0\r\n\r\n", "content-length: 5\r\n\r\nhello"] {
        let (head, _) = client.ask(&format!("POST /b HTTP/1.1\r\nhost: echo\r\n{body}")).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && field(&head, "x-app") == Some("v1"), "{head}");
    }
    mesh::within(async {
        loop {
            let metrics = mesh.callees[1].get("/metrics").await;
            let counted = metrics.lines().find(|line| {
                line.starts_with("outrigger_http_requests_total{direction=\"inbound\"")
                    && line.ends_with(" 3")
            });
            if counted.is_some_and(|line| line.contains("status=\"200\"")) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}
