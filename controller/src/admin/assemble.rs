//! From what the controller knows to what people read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_compile::{dead_ends, identity, ports_of, readiness, service_key, unreachable};
use outrigger_model::policy::Zones;
use outrigger_model::{Health, Lifecycle, Mode, ServiceKey, Snapshot, Workload, WorkloadId};
use outrigger_wire::Protocol;

use super::{ejections, hosts, plaintext};
use crate::board::Board;
use crate::proxies::Proxy;
use crate::source::file::watch::MeshFile;
use crate::status::{Edge, Endpoint, Outside, Port, Problem, Service, Sidecar, Source, Status};

/// The whole status.
pub fn status(board: &Board) -> Status {
    let containers = board.source.containers();
    let snapshot = board.snapshot.borrow().clone();
    let proxies = board.proxies.all();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        scope: board.source.scope(),
        trust_domain: board.trust_domain.clone(),
        control_pin: board.pin.get().map(ToString::to_string),
        started: board.started,
        ready: board.readiness.is_ready(),
        sources: vec![board.source.state(), mesh_file(&board.file.borrow())],
        services: services(board, &snapshot),
        sidecars: sidecars(board, &snapshot, &proxies),
        edges: edges(&snapshot, &proxies),
        outsiders: plaintext::outsiders(&snapshot, &proxies, &board.neighbours, &containers, unix_now()),
        ejections: ejections::ejections(&snapshot, &proxies, unix_ms()),
        injections: board.moves.all(),
        problems: problems(board, &snapshot)
            .into_iter()
            .chain(plaintext::problems(&snapshot, &proxies, &containers))
            .chain(hosts::problems(&snapshot, &proxies))
            .collect(),
        injection_gap: board.gaps.summary(),
        mesh: board.source.mesh(),
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

fn mesh_file(file: &MeshFile) -> Source {
    Source {
        name: "file".into(),
        current: file.current,
        age_s: file.read.map(|read| read.elapsed().as_secs()),
        about: file.about.clone(),
        last_error: file.error.clone(),
    }
}

/// A service of one-offs alone is none: nobody can call it.
fn services(board: &Board, snapshot: &Snapshot) -> Vec<Service> {
    let mut replicas: BTreeMap<ServiceKey, Vec<&Workload>> = BTreeMap::new();
    for workload in snapshot.workloads.values().filter(|workload| !workload.one_off) {
        replicas.entry(service_key(workload)).or_default().push(workload);
    }
    let mesh = board.file.borrow().mesh.clone();
    let outside = |key: &ServiceKey, replicas: &[&Workload]| {
        let outside = board.source.outside(mesh.as_deref()?, key)?;
        let called =
            |workload: &&&Workload| workload.outside.is_some() && workload.lifecycle == Lifecycle::Running;
        Some(Outside { instances: replicas.iter().filter(called).count(), ..outside })
    };
    let service = |(key, replicas): (ServiceKey, Vec<&Workload>)| {
        let outside = outside(&key, &replicas);
        Service { outside, ..service(snapshot, key, replicas) }
    };
    replicas.into_iter().map(service).collect()
}

fn service(snapshot: &Snapshot, key: ServiceKey, mut replicas: Vec<&Workload>) -> Service {
    replicas.sort_by(|a, b| a.name.cmp(&b.name));
    let port = |(port, protocol)| Port {
        port,
        protocol: protocol_name(protocol),
        endpoints: replicas.iter().map(|workload| endpoint(workload, port)).collect(),
    };
    Service {
        ports: ports_of(&replicas).into_iter().map(port).collect(),
        outside: None,
        virtual_address: snapshot.indices.get(&key).map(|index| index.loopback().into()),
        name: key.service,
        namespace: key.namespace,
    }
}

fn endpoint(workload: &Workload, port: u16) -> Endpoint {
    let reason = readiness(workload, port).err().map(|reason| reason.to_string());
    let addresses = workload.networks.values();
    Endpoint {
        workload: workload.name.clone(),
        addresses: addresses.map(|at| (at.network.clone(), at.addresses.clone())).collect(),
        outside: workload.outside.is_some(),
        ready: reason.is_none(),
        reason,
        lifecycle: match workload.lifecycle {
            Lifecycle::Running => "running",
            Lifecycle::Paused => "paused",
            Lifecycle::Stopping => "stopping",
            Lifecycle::Stopped => "stopped",
        },
        health: match workload.health {
            Health::Unchecked => "unchecked",
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        },
        version: workload.declared.version.clone(),
        weight: workload.declared.weight.unwrap_or(outrigger_wire::Endpoint::WEIGHT),
        zone: workload.zone.clone().filter(|_| workload.declared.policy.zones != Some(Zones::Ignore)),
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Detect => "detect",
        Protocol::Http => "http",
        Protocol::Http2 => "http2",
        Protocol::Tcp => "tcp",
    }
}

fn sidecars(board: &Board, snapshot: &Snapshot, proxies: &BTreeMap<WorkloadId, Proxy>) -> Vec<Sidecar> {
    let beside = board.source.sidecars();
    // A sidecar beside a holder is there before its application.
    let there = |w: &&Arc<Workload>| w.lifecycle != Lifecycle::Stopped || beside.contains_key(&w.id);
    let shown = |w: &&Arc<Workload>| w.outside.is_none() && there(w);
    let running = snapshot.workloads.values().filter(shown);
    let mut sidecars: Vec<_> = running
        .map(|workload| {
            let beside = beside.get(&workload.id);
            let proxy =
                proxies.get(&workload.id).filter(|proxy| beside.is_some_and(|b| b.id == proxy.sidecar));
            let name = beside.map(|beside| beside.name.clone());
            let upgrading = beside.is_some_and(|beside| beside.upgrading);
            Sidecar { upgrading, ..sidecar(workload, name, proxy, board.gaps.of(&workload.id)) }
        })
        .collect();
    sidecars.sort_by(|a, b| a.workload.cmp(&b.workload));
    sidecars
}

fn sidecar(
    workload: &Workload,
    container: Option<String>,
    proxy: Option<&Proxy>,
    gap: Option<u64>,
) -> Sidecar {
    let proxy = proxy.cloned().unwrap_or_default();
    let observed = proxy.observed().unwrap_or_default();
    let some = |seconds: u64| (seconds != 0).then_some(seconds);
    let report = proxy.report.as_ref().map(|(report, _)| report);
    Sidecar {
        workload: workload.name.clone(),
        service: service_key(workload).to_string(),
        capture: workload.declared.capture.as_str(),
        bypassable: workload.bypassable(),
        mode: match workload.declared.mode {
            Mode::Permissive => "permissive",
            Mode::Strict => "strict",
        },
        container,
        connected: proxy.connected,
        ready: observed.ready,
        upgrading: false,
        certificate_issued: report.and_then(|report| some(report.certificate_issued)),
        certificate_expires: report.and_then(|report| some(report.certificate_expires)),
        // Without rules every connection to and from elsewhere is one.
        unmeshed_connections: report
            .filter(|_| workload.declared.capture.takes_inbound())
            .map(|report| report.unmeshed)
            .unwrap_or_default(),
        report_age_s: proxy.report.as_ref().map(|(_, at)| at.elapsed().as_secs()),
        listening: observed.listening.into_iter().collect(),
        injection_gap_ms: gap,
        version: proxy.version,
        config_version: proxy.acked,
        sent_version: proxy.sent,
        last_nack: proxy.nack,
        zone: workload.zone.clone(),
    }
}

/// Counted at the caller; what came from outside the mesh has only a callee.
fn edges(snapshot: &Snapshot, proxies: &BTreeMap<WorkloadId, Proxy>) -> Vec<Edge> {
    type Key = (String, String, u16, String, bool);
    let mut sums: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
    for (id, proxy) in proxies {
        let Some(workload) = snapshot.workloads.get(id) else { continue };
        let own = service_key(workload).to_string();
        for edge in proxy.report.iter().flat_map(|(report, _)| &report.edges) {
            let (source, destination) = match (edge.inbound, edge.peer.as_str()) {
                (false, peer) => (own.clone(), peer.to_owned()),
                (true, outside @ ("unknown" | "edge")) => (outside.to_owned(), own.clone()),
                (true, _) => continue,
            };
            let port = u16::try_from(edge.port).unwrap_or_default();
            let sum = sums.entry((source, destination, port, edge.protocol.clone(), edge.mtls)).or_default();
            *sum = (sum.0.saturating_add(edge.requests), sum.1.saturating_add(edge.errors));
        }
    }
    let edge = |((source, destination, port, protocol, mtls), (requests, errors))| Edge {
        source,
        destination,
        port,
        protocol,
        mtls,
        requests,
        errors,
    };
    sums.into_iter().map(edge).collect()
}

/// Told problems, and declared ports that nobody listens on although their sidecar has looked.
fn problems(board: &Board, snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = board.problems.all();
    problems.extend(dead_ends(snapshot).into_iter().map(|dead| Problem {
        kind: "route",
        subject: "mesh.yaml".to_owned(),
        what: dead.to_string(),
    }));
    for workload in snapshot.workloads.values() {
        if let Err(error) = identity(&snapshot.trust_domain, &service_key(workload)) {
            let (kind, subject) = ("label", format!("container {}", workload.name));
            problems.push(Problem { kind, subject, what: error.to_string() });
        }
        let running = workload.lifecycle == Lifecycle::Running;
        problems.extend(unreachable(snapshot, &workload.id).into_iter().filter(|_| running).map(|reason| {
            let subject = format!("container {}", workload.name);
            Problem { kind: "capture", subject, what: reason.to_string() }
        }));
        let Some(observed) = workload.observed.as_ref().filter(|observed| observed.ready) else { continue };
        if workload.lifecycle != Lifecycle::Running || matches!(workload.health, Health::Starting) {
            continue;
        }
        for port in workload.declared.ports.keys().filter(|port| !observed.listening.contains(port)) {
            problems.push(Problem {
                kind: "port",
                subject: format!("container {}", workload.name),
                what: format!(
                    "outrigger.port says {port}, and nothing listens there: start it, or correct the label"
                ),
            });
        }
    }
    problems
}
