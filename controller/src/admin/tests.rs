use std::sync::Arc;

use outrigger_model::{Snapshot, WorkloadId};
use outrigger_wire::control::{self, Edge, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::scope::Scope;
use crate::source::Source;
use crate::source::docker::map::map;
use crate::source::docker::samples::{composed, containers, sidecar_of};
use crate::source::docker::watch::Seen;
use crate::source::file::watch::MeshFile;

/// One workload with a sidecar that has reported traffic.
fn board() -> Board {
    let scope = Scope { mesh: "shop".into(), ..Scope::default() };
    let app = composed("shop", "cart", &[("outrigger.enable", "true"), ("outrigger.port", "8080/http,9000")]);
    let sidecar = sidecar_of(&app);
    let all = containers([app.clone(), sidecar.clone()]);
    let mut workloads = map(&all, &scope, &outrigger_model::Mesh::default()).view;
    let edge = |inbound, peer: &str, requests| Edge {
        inbound,
        peer: peer.into(),
        port: 8080,
        mtls: peer != "unknown",
        protocol: "http".into(),
        requests,
        errors: 1,
    };
    let edges = vec![edge(true, "unknown", 3), edge(true, "web.shop", 5), edge(false, "auth.shop", 7)];
    let report =
        Report { ready: true, listening: vec![8080], edges, certificate_expires: 99, ..Report::default() };
    let seen =
        Seen { containers: Arc::new(all), current: true, listed: Some(Instant::now()), ..Seen::default() };
    let (_, seen) = watch::channel(seen);
    let id = WorkloadId(app.id);
    let (_, file) = watch::channel(MeshFile { current: true, ..MeshFile::default() });
    let (_, snapshot) = watch::channel(Arc::default());
    let source = Source::Docker { seen, scope: Arc::new(scope.into()) };
    let mut board = Board::new("shop.internal", source, file, snapshot);
    board.proxies.hello(&id, &sidecar.id, "0.1.0");
    board.proxies.update(&id, |proxy| proxy.report = Some((report, Instant::now())));
    for workload in workloads.values_mut() {
        Arc::make_mut(workload).observed = board.proxies.all()[&id].observed();
    }
    let (_, snapshot) = watch::channel(Arc::new(Snapshot { workloads, ..Snapshot::default() }));
    board.snapshot = snapshot;
    board.gaps.measured(&id, 120);
    board
}

#[test]
fn status_says_who_is_ready_and_why_not() {
    let status = assemble::status(&board());
    let ports = &status.services[0].ports;
    assert_eq!((ports[0].port, ports[0].protocol, ports[0].endpoints[0].ready), (8080, "http", true));
    let reason = ports[1].endpoints[0].reason.as_deref().unwrap();
    assert!(reason.contains("nothing listens on port 9000"), "{reason}");
    let sidecar = &status.sidecars[0];
    assert_eq!(sidecar.container.as_deref(), Some("shop-cart-1-outrigger"));
    assert_eq!((sidecar.injection_gap_ms, sidecar.certificate_expires), (Some(120), Some(99)));
    assert!(status.problems.iter().any(|problem| problem.what.contains("outrigger.port says 9000")));
}

#[test]
fn status_tells_zones_and_who_finds_no_names() {
    let mut board = board();
    let id = board.proxies.all().into_keys().next().unwrap();
    assert_eq!(serde_json::to_value(assemble::status(&board)).unwrap()["sidecars"][0].get("zone"), None);
    board.proxies.update(&id, |proxy| {
        proxy.report.as_mut().unwrap().0.hosts = "/etc/hosts: read-only file system".into();
    });
    let mut snapshot = Snapshot::clone(&board.snapshot.borrow());
    let workload = Arc::make_mut(snapshot.workloads.values_mut().next().unwrap());
    workload.zone = Some("eu-central-1a".into());
    board.snapshot = watch::channel(Arc::new(snapshot.clone())).1;
    let status = assemble::status(&board);
    let endpoint = &status.services[0].ports[0].endpoints[0];
    let zone = Some("eu-central-1a");
    assert_eq!((endpoint.zone.as_deref(), status.sidecars[0].zone.as_deref()), (zone, zone));
    let problem = status.problems.iter().find(|problem| problem.kind == "names").unwrap();
    assert_eq!(problem.subject, "shop-cart-1");
    assert!(
        problem.what.contains("read-only") && problem.what.contains("OUTRIGGER_NAMES_ZONE"),
        "{problem:?}"
    );

    // Where callers do not go by it, an endpoint has none.
    let workload = Arc::make_mut(snapshot.workloads.values_mut().next().unwrap());
    workload.declared.policy.zones = Some(outrigger_model::policy::Zones::Ignore);
    board.snapshot = watch::channel(Arc::new(snapshot)).1;
    let status = assemble::status(&board);
    assert_eq!(status.services[0].ports[0].endpoints[0].zone, None);
}

#[test]
fn an_edge_is_counted_once() {
    let edges = assemble::status(&board()).edges;
    let found: Vec<_> =
        edges.iter().map(|e| (e.source.as_str(), e.destination.as_str(), e.requests, e.mtls)).collect();
    assert_eq!(found, [("cart.shop", "auth.shop", 7, true), ("unknown", "cart.shop", 3, false)]);
}

#[test]
fn an_ejection_is_shown_until_it_ends() {
    let board = board();
    let told = |until_ms, errors| control::Ejection {
        service: "auth.shop".into(),
        port: 80,
        endpoint: "shop-auth-2".into(),
        since_ms: 1000,
        until_ms,
        errors,
        percent: 61,
        others: 99,
        overruled: false,
    };
    let id = board.proxies.all().into_keys().next().unwrap();
    board.proxies.update(&id, |proxy| {
        let (report, _) = proxy.report.as_mut().unwrap();
        report.ejections = vec![told(u64::MAX, 5), told(u64::MAX, 0), told(2000, 5)];
    });
    let ejections = assemble::status(&board).ejections;
    let short: Vec<_> =
        ejections.iter().map(|e| (e.by.as_str(), e.why, e.errors, e.others_percent)).collect();
    assert_eq!(
        short,
        [
            ("shop-cart-1", "consecutive-errors", Some(5), None),
            ("shop-cart-1", "success-rate", None, Some(99))
        ]
    );
    let json = serde_json::to_value(&ejections[1]).unwrap();
    assert_eq!((&json["endpoint"], &json["percent"]), (&"shop-auth-2".into(), &61.into()));
}

async fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn it_answers_over_http_and_only_reads() {
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.address().unwrap();
    let board = board();
    let pending = board.readiness.pending("something");
    let mut tasks = Tasks::new();
    tasks.spawn("admin", admin.serve(board));
    assert!(get(address, "GET /status").await.contains(r#""mesh":"shop""#));
    assert!(get(address, "GET /live").await.starts_with("HTTP/1.1 200"));
    let ready = get(address, "GET /ready").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("awaiting something"), "{ready}");
    pending.done();
    assert!(get(address, "GET /ready").await.starts_with("HTTP/1.1 200"));
    let metrics = get(address, "GET /metrics").await;
    assert!(metrics.contains("outrigger_injection_gap_seconds_bucket{le=\"0.200\"} 1"), "{metrics}");
    assert!(metrics.contains("\noutrigger_endpoints_ready 1\n"), "{metrics}");
    assert!(get(address, "POST /status").await.starts_with("HTTP/1.1 405"));
    assert!(get(address, "GET /else").await.starts_with("HTTP/1.1 404"));
}
