use std::sync::Arc;

use outrigger_wire::control::{self, Report};
use tokio::time::Instant;

use super::*;
use crate::scope::Scope;
use crate::source::docker::map::map;
use crate::source::docker::record::Container;
use crate::source::docker::samples::{composed, containers};

/// A snapshot of these containers; each has a sidecar that has reported these outsiders.
fn mesh(
    all: &[Container],
    outsiders: &[(&str, u16, u64)],
) -> (Arc<Snapshot>, BTreeMap<WorkloadId, Proxy>, Containers) {
    let containers = containers(all.iter().cloned());
    let scope = Scope { mesh: "shop".into(), ..Scope::default() };
    let mut workloads = map(&containers, &scope, &outrigger_model::Mesh::default()).view;
    let outsider = |(address, port, refused): &(&str, u16, u64)| control::Outsider {
        address: (*address).to_owned(),
        port: (*port).into(),
        connections: 5,
        refused: *refused,
        last_seen: 100,
    };
    let outsiders: Vec<_> = outsiders.iter().map(outsider).collect();
    let report = Report { ready: true, outsiders, unmeshed: 2, ..Report::default() };
    let proxy = Proxy { report: Some((report, Instant::now())), ..Proxy::default() };
    let proxies: BTreeMap<_, _> = workloads.keys().map(|id| (id.clone(), proxy.clone())).collect();
    for workload in workloads.values_mut() {
        Arc::make_mut(workload).observed = proxy.observed();
    }
    (Arc::new(Snapshot { workloads, ..Snapshot::default() }), proxies, containers)
}

const ON: (&str, &str) = ("outrigger.enable", "true");
const STRICT: (&str, &str) = ("outrigger.mode", "strict");

#[tokio::test]
async fn who_would_break_is_said_by_service_port_and_caller() {
    let mut web = composed("shop", "web", &[ON]);
    web.published = [8080].into();
    let outsiders = [("192.0.2.1", 8080, 0), ("192.0.2.1", 9000, 0), ("192.0.2.2", 9000, 3)];
    let (snapshot, proxies, containers) = mesh(&[web], &outsiders);
    let found = super::outsiders(&snapshot, &proxies, &Neighbours::default(), &containers, 1000);
    let short: Vec<_> = found
        .iter()
        .map(|o| (o.service.as_str(), o.port, o.from.as_str(), o.connections, o.refused, o.would_break))
        .collect();
    assert_eq!(
        short,
        [
            ("web.shop", 8080, "192.0.2.1", 5, 0, false),
            ("web.shop", 9000, "192.0.2.1", 5, 0, true),
            ("web.shop", 9000, "192.0.2.2", 5, 3, true),
        ]
    );
    assert!(found[0].edge && !found[1].edge);
}

#[tokio::test]
async fn replicas_of_one_service_count_together() {
    let mut second = composed("shop", "web", &[ON]);
    (second.id, second.name) = ("id-second".into(), "shop-web-2".into());
    let (snapshot, proxies, containers) =
        mesh(&[composed("shop", "web", &[ON]), second], &[("192.0.2.1", 9000, 1)]);
    let found = super::outsiders(&snapshot, &proxies, &Neighbours::default(), &containers, 1000);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].connections, found[0].refused), (10, 2));
}

#[tokio::test]
async fn a_caller_that_is_meshed_by_now_does_not_break_any_more() {
    let outsiders = [("192.0.2.9", 9000, 0)];
    let (snapshot, proxies, containers) = mesh(&[composed("shop", "web", &[ON])], &outsiders);
    let neighbours = Neighbours::default();
    let called_by = |service: &str, last: u64| {
        let compose = Some(("shop".to_owned(), service.to_owned()));
        let before = Neighbour::Container { id: "gone".into(), name: format!("shop-{service}-1"), compose };
        let address: IpAddr = "192.0.2.9".parse().unwrap();
        neighbours.learn(&[(address, last)].into(), &[(address, before)].into());
        let breaks =
            |now| super::outsiders(&snapshot, &proxies, &neighbours, &containers, now)[0].would_break;
        // It called at 100.
        (breaks(101), breaks(1000))
    };
    assert_eq!(called_by("legacy", 1), (true, true));
    assert_eq!(called_by("web", 2), (true, false), "a container of web before web was meshed");
}

#[tokio::test]
async fn strict_warns_of_what_it_does_not_cover() {
    let kinds = |labels: &[(&str, &str)]| {
        let (snapshot, proxies, containers) = mesh(&[composed("shop", "web", labels)], &[]);
        let found = problems(&snapshot, &proxies, &containers);
        found.into_iter().map(|problem| (problem.kind, problem.what)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&[ON]), []);
    let live = kinds(&[ON, STRICT]);
    assert!(live.iter().all(|(kind, _)| *kind == "strict"), "{live:?}");
    assert!(live.iter().any(|(_, what)| what.contains("outrigger inject compose")), "{live:?}");
    assert!(live.iter().any(|(_, what)| what.contains("2 connections that are older")), "{live:?}");
}

#[tokio::test]
async fn an_application_that_starts_behind_its_sidecar_has_no_gap() {
    let (snapshot, proxies, mut containers) = mesh(&[composed("shop", "web", &[ON, STRICT])], &[]);
    for container in containers.values_mut() {
        container.labels.insert(MANAGED.to_owned(), HOLDER.to_owned());
    }
    let found = problems(&snapshot, &proxies, &containers);
    assert!(!found.iter().any(|problem| problem.what.contains("inject compose")), "{found:?}");
}

#[tokio::test]
async fn strict_that_anybody_can_walk_around_is_a_fault_with_ways_out() {
    let (snapshot, proxies, containers) = mesh(&[composed("shop", "web", &[ON, STRICT])], &[]);
    let mut snapshot = Arc::unwrap_or_clone(snapshot);
    for workload in snapshot.workloads.values_mut() {
        let workload = Arc::make_mut(workload);
        workload.declared.capture = outrigger_model::Capture::Names;
        workload.observed.as_mut().unwrap().listening.insert(8080);
    }
    let found = problems(&snapshot, &proxies, &containers);
    let kinds: Vec<_> = found.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, ["bypassable"]);
    let what = &found.first().unwrap().what;
    assert!(what.contains("127.0.0.1") && what.contains("capture transparent"), "{what}");
}
