//! Names that callers outside the mesh are to find: services with edge ports, at the addresses of their tasks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_compile::{NotReady, readiness, service_key};
use outrigger_model::{ServiceKey, Snapshot, Workload};

use super::wanted::{Names, Services};
use crate::status::Problem;

/// Tasks behind one name: a client tries a few at most, and so many addresses fit into a DNS answer without EDNS(0).
const TASKS: usize = 8;

/// Services that are named where those without an edge port are told.
const TOLD: usize = 8;

/// The names of services that outsiders may call, and what keeps others from having one.
///
/// A service has them by its tasks that take traffic on one of their edge ports: the first eight by id. Where there is
/// none, those that run stand in: a client that is refused tries again, one that is told there is no such name may
/// believe that for 15 minutes.
pub fn outside(snapshot: &Snapshot) -> (Names, BTreeSet<Problem>) {
    let (mut services, mut unsaid) = (BTreeMap::<ServiceKey, Vec<&Workload>>::new(), BTreeSet::new());
    let own = |task: &&Arc<Workload>| !task.one_off && task.outside.is_none();
    for task in snapshot.workloads.values().filter(own) {
        if !task.edge().is_empty() {
            services.entry(service_key(task)).or_default().push(task);
        } else if task.declared.edge.is_none() {
            unsaid.insert(service_key(task));
        }
    }
    unsaid.retain(|key| !services.contains_key(key));
    let names = Services::of(snapshot)
        .named(|key| services.get(key).map(|tasks| addresses(tasks)).unwrap_or_default());
    let hidden = services.iter().filter(|(_, tasks)| tasks.iter().all(|task| task.mesh_port.is_some()));
    (names, hidden.map(|(key, _)| on_host_ports(key)).chain(without_edge(&unsaid)).collect())
}

/// How near a task is to taking calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Ready,
    Runs,
}

/// `tasks` in the order of their ids.
fn addresses(tasks: &[&Workload]) -> BTreeSet<IpAddr> {
    let standing = tasks.iter().filter_map(|task| Some((standing(task)?, own_addresses(task))));
    let standing: Vec<_> = standing.filter(|(_, addresses)| !addresses.is_empty()).collect();
    let best = standing.iter().map(|(standing, _)| *standing).min();
    let chosen = standing.into_iter().filter(|(standing, _)| Some(*standing) == best).take(TASKS);
    chosen.flat_map(|(_, addresses)| addresses).collect()
}

fn standing(task: &Workload) -> Option<Standing> {
    // Its ports are at other ports of its host.
    if task.mesh_port.is_some() {
        return None;
    }
    let on = |port: &u16| match readiness(task, *port) {
        Ok(()) => Some(Standing::Ready),
        Err(
            NotReady::NoSidecar
            | NotReady::SidecarNotReady
            | NotReady::HealthStarting
            | NotReady::Unhealthy
            | NotReady::NotListening(_)
            | NotReady::CheckPending(_)
            | NotReady::CheckFails(_),
        ) => Some(Standing::Runs),
        Err(
            NotReady::OneOff
            | NotReady::Paused
            | NotReady::Stopping
            | NotReady::Stopped
            | NotReady::Unregistered
            | NotReady::NoWeight,
        ) => None,
    };
    task.edge().iter().filter_map(on).min()
}

/// The first of either family.
fn own_addresses(task: &Workload) -> Vec<IpAddr> {
    let all = || task.networks.values().flat_map(|network| &network.addresses).copied();
    [all().find(IpAddr::is_ipv4), all().find(IpAddr::is_ipv6)].into_iter().flatten().collect()
}

/// Nobody said whether outsiders may call them.
fn without_edge(services: &BTreeSet<ServiceKey>) -> Option<Problem> {
    let first: Vec<_> = services.iter().take(TOLD).map(ToString::to_string).collect();
    let more = match services.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "callers outside the mesh find no name of {}{more}: no edge port. Where they are meant to call, write it \
         (outrigger.edge: \"8080\", or edge in the mesh file), where they are not, none",
        first.join(", ")
    );
    (!first.is_empty()).then(|| Problem { kind: "edge", subject: "edge zone".into(), what })
}

fn on_host_ports(key: &ServiceKey) -> Problem {
    let what = "it has no name for callers outside the mesh: its tasks are at changing ports of their hosts (network mode bridge), \
                which an address does not say. Set networkMode to awsvpc, or put a load balancer before it";
    Problem { kind: "edge", subject: format!("service {key}"), what: what.into() }
}

#[cfg(test)]
mod tests;
