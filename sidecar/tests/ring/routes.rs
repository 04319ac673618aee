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
    _callees: [Node; 2],
    _apps: [App; 2],
}

impl Versions {
    /// `routes` are the entries of a list in YAML.
    pub async fn start(routes: &str) -> Self {
        let ca = Ca::new();
        let apps = [named("v1").await, named("v2").await];
        let callee = |app: &App| mesh::callee(app.address).replace("protocol: tcp", "protocol: detect");
        let callees = [Node::start(&ca, &callee(&apps[0])).await, Node::start(&ca, &callee(&apps[1])).await];
        let endpoints = [callees[0].at("mesh"), callees[1].at("mesh")];
        let caller = Node::start(&ca, &yaml(endpoints, routes)).await;
        Self { caller, endpoints, _callees: callees, _apps: apps }
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
