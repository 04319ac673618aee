//! Requests from outside the mesh follow the routes of the service whose edge they reach.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::http_mesh::{App, Raw, field};
use crate::http_two::{self, Client};
use crate::mesh::{self, Ca, Node};

/// `shop-echo-1` of version v1, whom outsiders reach, and `shop-echo-2` of version v2.
struct Edge {
    here: Node,
    there: Node,
}

impl Edge {
    /// `routes` are the entries of a list in YAML.
    async fn start(apps: [SocketAddr; 2], routes: &str) -> Self {
        let ca = Ca::new();
        let speaks = |config: String| config.replace("protocol: tcp", "protocol: detect");
        let there = speaks(mesh::callee(apps[1])).replace("shop-echo-1", "shop-echo-2");
        let there = Node::start(&ca, &there).await;
        let here = speaks(mesh::callee(apps[0])) + &outlook(there.at("mesh"), routes);
        let here = here.replace("proxy:\n", "proxy:\n  mode: strict\n  edge: [ 7000 ]\n");
        Self { here: Node::start(&ca, &here).await, there }
    }

    async fn connect(&self) -> Raw {
        Raw::connect(self.here.at("plain")).await
    }

    /// Peers of the requests that came in at the other workload.
    fn peers_there(&self) -> Vec<(String, bool)> {
        let edges = self.there.runtime.telemetry().edges();
        let inbound = edges.into_iter().filter(|edge| edge.inbound);
        inbound.map(|edge| (edge.peer, edge.mtls)).collect()
    }
}

/// What the own sidecar knows of its service. Nobody listens at the own endpoint's address: it is never called.
fn outlook(there: SocketAddr, routes: &str) -> String {
    let own = format!("{{ workload: shop-echo-1, address: '{}' }}", mesh::nobody());
    let other = format!("{{ workload: shop-echo-2, address: '{there}' }}");
    let cluster = |key: &str, endpoints: &str| {
        format!(
            "  {key}: {{ service: echo.shop, port: 7000, identity: 'spiffe://test.internal/shop/echo', endpoints: [ {endpoints} ] }}\n"
        )
    };
    format!(
        "services:\n  echo.shop:\n    names: [ echo ]\n    ports:\n      7000: {{ cluster: 'echo.shop:7000', timeouts: {{ request_ms: 300, idle_ms: 60000 }}, routes: [ {routes} ] }}\nclusters:\n{}{}{}",
        cluster("echo.shop:7000", &format!("{own}, {other}")),
        cluster("echo.shop:7000/v1", &own),
        cluster("echo.shop:7000/v2", &other),
    )
}

/// An application that answers with its name and what came; `/never` gets no answer.
async fn named(name: &'static str) -> App {
    App::start(move |mut raw| async move {
        while let Some(head) = raw.maybe_head().await {
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            raw.exactly(length).await;
            if head.contains("/never ") {
                std::future::pending::<()>().await;
            }
            if head.contains("upgrade: ") {
                raw.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                    .await;
                let bytes = raw.exactly(4).await;
                raw.send(bytes).await;
                return;
            }
            let body = format!("{name}\n{head}");
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

const CANARY: &str = "
    { name: rest, backends: [ { cluster: 'echo.shop:7000/v1' } ] },
    { name: web, matches: [ { path: !prefix /, from: [ web.shop, echo.shop ] } ], respond: { status: 418 } },
    { name: whole, matches: [ { path: !prefix /whole } ] },
    { name: own, matches: [ { path: !prefix /own } ], backends: [ { cluster: 'echo.shop:7000' } ] },
    { name: moved, matches: [ { path: !exact /old } ], redirect: { path: !full /new, status: 301 } },
    { name: gone, matches: [ { path: !exact /gone } ], respond: { status: 410, body: gone } },
    { name: canary, matches: [ { path: !prefix /, headers: { x-canary: !exact '1' } } ], backends: [ { cluster: 'echo.shop:7000/v2' } ],
      rewrite: { path: !prefix /canary, host: canary.internal }, request_headers: { set: { x-team: shop } }, response_headers: { set: { x-way: canary } } }";

#[tokio::test]
async fn each_request_of_an_outsider_goes_its_own_way() {
    let apps = [named("v1").await, named("v2").await];
    let edge = Edge::start([apps[0].address, apps[1].address], CANARY).await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        for target in ["/", "/whole", "/own"] {
            let (_, body) = client.ask(&format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await;
            assert!(body.starts_with(&format!("v1\nGET {target} HTTP/1.1\r\n")), "{body}");
            assert!(body.contains("x-forwarded-for: 127.0.0.1\r\n"), "{body}");
        }
        let request = "POST /a HTTP/1.1\r\nhost: shop.example\r\nx-canary: 1\r\nx-forwarded-for: 192.0.2.7\r\n\
                       x-forwarded-client-cert: URI=spiffe://test.internal/shop/admin\r\ncontent-length: 2\r\n\r\nhi";
        let (head, body) = client.ask(request).await;
        assert_eq!(field(&head, "x-way"), Some("canary"), "{head}");
        assert!(body.starts_with("v2\nPOST /canary/a HTTP/1.1\r\n"), "{body}");
        for line in [
            // The client, whom it came from, and the sidecar at the edge.
            "x-forwarded-for: 192.0.2.7, 127.0.0.1, 127.0.0.1\r\n",
            "x-forwarded-proto: http\r\n",
            "x-forwarded-host: shop.example\r\n",
            "x-forwarded-client-cert: URI=spiffe://test.internal/shop/echo\r\n",
            "host: canary.internal\r\n",
            "x-team: shop\r\n",
        ] {
            assert!(body.contains(line), "{line} in {body}");
        }
    }
    let (head, _) = client.ask("GET /old HTTP/1.1\r\nhost: shop.example:18080\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 301 "), "{head}");
    assert_eq!(field(&head, "location"), Some("http://shop.example:18080/new"));
    let (head, body) = client.ask("GET /gone HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 410 ") && body == "gone", "{head}");
    assert_eq!(edge.peers_there(), [("echo.shop".to_owned(), true)]);
    let metrics = edge.here.get("/metrics").await;
    assert!(
        metrics.contains("destination=\"echo.shop\"") && metrics.contains("route=\"canary\""),
        "{metrics}"
    );
}

#[tokio::test]
async fn limits_copies_and_upgrades_of_outsiders() {
    let apps = [named("v1").await, named("v2").await];
    let routes = "
        { name: rest, mirror: { cluster: 'echo.shop:7000/v2', share: 1000000 } },
        { name: far, matches: [ { path: !prefix /far } ], backends: [ { cluster: 'echo.shop:7000/v2' } ] },
        { name: near, matches: [ { path: !prefix /near } ], request_ms: 200 },
        { name: broken, matches: [ { path: !exact /broken } ], fault: { abort: 503, share: 1000000 } }";
    let edge = Edge::start([apps[0].address, apps[1].address], routes).await;
    // What goes on over the mesh is held to the port's limits, what stays to the route's alone.
    for (target, status) in [("/far/never", 504), ("/near/never", 504), ("/broken", 503)] {
        let mut client = edge.connect().await;
        let (head, _) = client.ask(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
    }
    let mut client = edge.connect().await;
    client.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let more = tokio::time::timeout(Duration::from_millis(500), client.maybe_head()).await;
    assert!(more.is_err(), "no limit holds for it: {more:?}");
    for target in ["/far", "/near"] {
        let mut client = edge.connect().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"))
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        client.send("ping").await;
        assert_eq!(client.exactly(4).await, b"ping");
    }
    let (_, body) = edge.connect().await.ask("GET /copied HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(body.starts_with("v1\n"), "{body}");
    let sent = "outrigger_route_copies_total{source=\"echo.shop\",destination=\"echo.shop\",destination_port=\"7000\",route=\"rest\",outcome=\"sent\"} 1";
    let copied = async {
        while !edge.here.get("/metrics").await.contains(sent) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    mesh::within(copied).await;
}

#[tokio::test]
async fn routes_of_outsiders_change_while_a_connection_lives() {
    let apps = [named("v1").await, named("v2").await];
    let edge = Edge::start(
        [apps[0].address, apps[1].address],
        "{ name: all, backends: [ { cluster: 'echo.shop:7000/v1' } ] }",
    )
    .await;
    let mut client = edge.connect().await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(client.ask(request).await.1.starts_with("v1\n"));
    let mut config = edge.here.runtime.configured().borrow().as_ref().unwrap().config.clone();
    let port = config.services.get_mut("echo.shop").unwrap().ports.get_mut(&7000).unwrap();
    port.routes[0].backends[0].cluster = Some("echo.shop:7000/v2".to_owned());
    edge.here.runtime.apply(config.clone()).unwrap();
    assert!(client.ask(request).await.1.starts_with("v2\n"));
    // A port that is no edge any more has no routes for outsiders (and none at all here, under strict).
    config.proxy.edge.clear();
    config.proxy.mode = outrigger_wire::Mode::Permissive;
    edge.here.runtime.apply(config).unwrap();
    assert!(client.ask(request).await.1.starts_with("v1\n"));
}

#[tokio::test]
async fn http_2_of_outsiders_is_routed_by_grpc_method() {
    let app = |name: &'static str| {
        http_two::App::start(move |request, mut respond| async move {
            let path = request.uri().path().to_owned();
            let answer = http::Response::builder().header("by", name).header("path", path).body(()).unwrap();
            let Ok(mut send) = respond.send_response(answer, false) else { return };
            let trailers =
                http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            let _client_gone = send.send_trailers(trailers);
        })
    };
    let apps = [app("v1").await, app("v2").await];
    let routes = "
        { name: rest },
        { name: add, matches: [ { path: !exact /shop.Cart/Add, grpc: true } ], backends: [ { cluster: 'echo.shop:7000/v2' } ] }";
    let edge = Edge::start([apps[0].address, apps[1].address], routes).await;
    let client = Client::connect(edge.here.at("plain")).await;
    for (path, by) in [("/shop.Cart/Add", "v2"), ("/shop.Cart/Get", "v1")] {
        let request = http::Request::post(format!("http://echo:7000{path}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let answer = client.call(request, "x").await.unwrap();
        assert_eq!(answer.headers()["by"], by);
        let trailers = mesh::within(answer.into_body().trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }
}

/// To a route's `sticky` and to balancing by hash, outsiders are not all the same.
#[tokio::test]
async fn each_outsider_is_a_source_of_its_own() {
    let apps = [named("v1").await, named("v2").await];
    let routes = "{ name: all, sticky: {}, backends: [ { cluster: 'echo.shop:7000/v1', weight: 1 }, { cluster: 'echo.shop:7000/v2', weight: 1 } ] }";
    let edge = Edge::start([apps[0].address, apps[1].address], routes).await;
    let mut reached = BTreeSet::new();
    for source in 1..20 {
        let mut answers = BTreeSet::new();
        for _ in 0..3 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, source], 0))).unwrap();
            let mut client = Raw::new(socket.connect(edge.here.at("plain")).await.unwrap());
            let (_, body) = client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            answers.insert(body.lines().next().unwrap().to_owned());
        }
        assert_eq!(answers.len(), 1, "{source}: {answers:?}");
        reached.append(&mut answers);
    }
    assert_eq!(reached.len(), 2, "{reached:?}");
}
