//! Plaintext from outside the mesh: who calls, who would break under strict, and what strict does not cover.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use outrigger_compile::{CompileError, service_key};
use outrigger_model::label::{APP, HOLDER, MANAGED};
use outrigger_model::{Lifecycle, Mode, Snapshot, Workload, WorkloadId};

use crate::proxies::Proxy;
use crate::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE};
use crate::source::docker::neighbours::{Neighbour, Neighbours};
use crate::source::docker::tracker::Containers;
use crate::status::{Outsider, Problem};

/// What a container of the mesh called in plaintext, before its sidecar served or before it was meshed, is past after so
/// many seconds: it would not break.
const PAST: u64 = 60;

/// Outsiders by service, port and who they are; one that calls several replicas is one.
pub fn outsiders(
    snapshot: &Snapshot,
    proxies: &BTreeMap<WorkloadId, Proxy>,
    neighbours: &Neighbours,
    containers: &Containers,
    now: u64,
) -> Vec<Outsider> {
    let mut found: BTreeMap<(String, u16, String), Outsider> = BTreeMap::new();
    for (id, proxy) in proxies {
        let Some(workload) = snapshot.workloads.get(id) else { continue };
        for seen in proxy.report.iter().flat_map(|(report, _)| &report.outsiders) {
            let Ok(address) = seen.address.parse::<IpAddr>() else { continue };
            let Ok(port) = u16::try_from(seen.port) else { continue };
            let service = service_key(workload).to_string();
            let neighbour = neighbours.of(address);
            let meshed = neighbour.as_ref().is_some_and(|n| is_meshed(n, snapshot, containers));
            let past = meshed && seen.last_seen.saturating_add(PAST) < now;
            let from = who(address, neighbour, meshed);
            let outsider = found.entry((service.clone(), port, from.clone())).or_insert(Outsider {
                service,
                port,
                from,
                addresses: BTreeSet::new(),
                connections: 0,
                refused: 0,
                last_seen: 0,
                edge: true,
                would_break: false,
            });
            let edge = workload.edge().contains(&port);
            outsider.addresses.insert(address);
            outsider.connections = outsider.connections.saturating_add(seen.connections);
            outsider.refused = outsider.refused.saturating_add(seen.refused);
            outsider.last_seen = outsider.last_seen.max(seen.last_seen);
            outsider.edge &= edge;
            outsider.would_break |= !edge && !past;
        }
    }
    found.into_values().collect()
}

/// A container of the mesh, or one of a compose service that is meshed by now.
fn is_meshed(neighbour: &Neighbour, snapshot: &Snapshot, containers: &Containers) -> bool {
    let Neighbour::Container { id, compose, .. } = neighbour else { return false };
    let has = |id: &str| snapshot.workloads.contains_key(&WorkloadId(id.to_owned()));
    let of_that_service = |project: &String, service: &String| {
        containers.values().filter(|container| has(&container.id)).any(|container| {
            let named = container.label(APP).or(container.label(COMPOSE_SERVICE));
            container.label(COMPOSE_PROJECT) == Some(project) && named == Some(service)
        })
    };
    has(id) || compose.as_ref().is_some_and(|(project, service)| of_that_service(project, service))
}

/// The words for an address: a container and its service, the host, or the address itself.
fn who(address: IpAddr, neighbour: Option<Neighbour>, meshed: bool) -> String {
    let meshed = if meshed { ", meshed" } else { "" };
    match neighbour {
        Some(Neighbour::Container { name, compose: Some((project, service)), .. }) => {
            format!("container {name} ({service} of {project}{meshed})")
        }
        Some(Neighbour::Container { name, compose: None, .. }) => format!("container {name}{meshed}"),
        Some(Neighbour::Gateway { network }) => format!("the host or a published port ({network})"),
        None => address.to_string(),
    }
}

/// Where strict cannot be enforced, and where it does not cover all.
pub fn problems(
    snapshot: &Snapshot,
    proxies: &BTreeMap<WorkloadId, Proxy>,
    containers: &Containers,
) -> BTreeSet<Problem> {
    let strict = snapshot.workloads.iter().filter(|(_, workload)| {
        workload.declared.mode == Mode::Strict && workload.lifecycle != Lifecycle::Stopped
    });
    let mut problems = BTreeSet::new();
    for (id, workload) in strict {
        if workload.bypassable() {
            problems.insert(bypassable(workload));
            continue;
        }
        let held = containers.get(&id.0).is_some_and(|container| container.label(MANAGED) == Some(HOLDER));
        if workload.declared.capture.takes_inbound() && !held {
            problems.insert(gap(workload));
        }
        let open =
            proxies.get(id).and_then(|proxy| proxy.report.as_ref()).map_or(0, |(report, _)| report.unmeshed);
        if open > 0 {
            let (kind, subject) = ("strict", format!("container {}", workload.name));
            let what = format!(
                "strict, and {open} connections that are older than its sidecar go past it until they are closed: restart the container to close them"
            );
            problems.insert(Problem { kind, subject, what });
        }
    }
    problems
}

fn bypassable(workload: &Workload) -> Problem {
    let (name, capture) = (workload.name.clone(), workload.declared.capture.as_str());
    let refused = CompileError::Bypassable { workload: name.clone(), capture };
    let what = format!("{refused}. Until then its sidecar gets no configuration");
    Problem { kind: "bypassable", subject: format!("container {name}"), what }
}

fn gap(workload: &Workload) -> Problem {
    let what = "strict holds from the moment its sidecar serves, some tenths of a second after the application's start; what calls \
                before gets in. `outrigger inject compose` closes this gap: the application then starts behind its sidecar";
    Problem { kind: "strict", subject: format!("service {}", service_key(workload)), what: what.into() }
}

#[cfg(test)]
mod tests;
