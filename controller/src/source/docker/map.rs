//! Containers to workloads. Pure: the same containers give the same view and the same problems.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::label::{self, APP, ENABLE, Fault, MANAGED, MESH};
use outrigger_model::{Capture, Declared, Lifecycle, Mesh, ServiceKey, View, Workload, WorkloadId};
use outrigger_wire::port;

use super::holder::{Held, holder_of, holders, is_one_off, is_orphan};
use super::record::{Container, Run};
use super::tracker::Containers;
use crate::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE, Scope, WORKLOAD};
use crate::source::is_service_name;
use crate::status::Problem;

/// What the containers of a scope come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// The workloads.
    pub view: View,
    /// Containers that were left alone, and why; ordered.
    pub problems: BTreeSet<Problem>,
}

/// Turns containers into workloads, as their labels and the mesh file have it. What cannot be one is left out and named in `problems`.
pub fn map(containers: &Containers, scope: &Scope, mesh: &Mesh) -> Mapped {
    let mut mapped = Mapped::default();
    let foreign = foreign_sidecars(containers, scope);
    let held = holders(containers, scope);
    for container in containers.values() {
        let joined = holder_of(container, containers).is_some() || is_orphan(container, containers);
        let found = match held.get(container.id.as_str()) {
            Some(held) => replica(held, (scope, mesh), &mut mapped.problems),
            // It is part of its holder's workload.
            None if joined => Ok(None),
            None => workload(container, (scope, mesh), &foreign, &mut mapped.problems),
        };
        match found {
            Ok(None) => {}
            Ok(Some(workload)) => {
                mapped.view.insert(workload.id.clone(), workload.into());
            }
            Err(problems) => mapped.problems.extend(problems),
        }
    }
    leave_out_second_claims(&mut mapped, containers);
    mapped
}

/// Workloads that another mesh's sidecar stands for already, with that mesh's name.
fn foreign_sidecars<'a>(containers: &'a Containers, scope: &Scope) -> BTreeMap<&'a str, &'a str> {
    let sidecars = containers.values().filter(|c| c.label(MANAGED).is_some() && c.instance().is_some());
    let claims = sidecars.filter_map(|c| Some((c.label(WORKLOAD)?, c.label(MESH)?)));
    claims.filter(|(_, mesh)| *mesh != scope.mesh).collect()
}

fn workload(
    container: &Container,
    (scope, mesh): (&Scope, &Mesh),
    foreign: &BTreeMap<&str, &str>,
    problems: &mut BTreeSet<Problem>,
) -> Result<Option<Workload>, Vec<Problem>> {
    if container.labels.contains_key(MANAGED)
        || !scope.holds(&container.labels)
        || scope.is_own(&container.id, &container.labels)
    {
        return Ok(None);
    }
    let namespace = container.label(COMPOSE_PROJECT).unwrap_or(&scope.mesh).to_owned();
    let Some((declared, said)) = declared(container, (scope, mesh), &namespace)? else { return Ok(None) };
    problems.extend(said);
    if let Some(mesh) = foreign.get(container.id.as_str()) {
        let what = format!(
            "the mesh {mesh} has a sidecar in it already: let only one controller have it in its scope, then restart it"
        );
        return Err(vec![problem("conflict", container, what)]);
    }
    if let Some(what) = refusal(container, &declared) {
        return Err(vec![problem("refused", container, what)]);
    }
    Ok(Some(Workload {
        id: WorkloadId(container.id.clone()),
        name: container.name.clone(),
        namespace,
        declared,
        aliases: container.aliases.clone(),
        zone: None,
        networks: container.networks.clone(),
        exposed: container.exposed.clone(),
        published: container.published.clone(),
        lifecycle: lifecycle(container),
        instance: container.instance().map(|instance| instance.started.clone()),
        health: container.health,
        one_off: is_one_off(container),
        mesh_port: None,
        outside: None,
        observed: None,
    }))
}

/// A replica that static injection wrote: its networks and labels are the holder's, its life is the application's.
fn replica(
    held: &Held<'_>,
    (scope, mesh): (&Scope, &Mesh),
    problems: &mut BTreeSet<Problem>,
) -> Result<Option<Workload>, Vec<Problem>> {
    let holder = held.holder;
    let namespace = holder.label(COMPOSE_PROJECT).unwrap_or(&scope.mesh).to_owned();
    let Some((declared, said)) = declared(holder, (scope, mesh), &namespace)? else { return Ok(None) };
    problems.extend(said);
    if let Some(what) = held.app.and_then(|app| unfit(app, &declared)) {
        return Err(vec![problem("refused", held.app.unwrap_or(holder), what)]);
    }
    let own = holder.label(COMPOSE_SERVICE);
    Ok(Some(Workload {
        id: WorkloadId(holder.id.clone()),
        name: held.name(),
        namespace,
        declared,
        // Nobody calls an application by the name of its holder.
        aliases: holder.aliases.iter().filter(|alias| Some(alias.as_str()) != own).cloned().collect(),
        zone: None,
        networks: holder.networks.clone(),
        exposed: held.app.iter().flat_map(|app| &app.exposed).chain(&holder.exposed).copied().collect(),
        published: holder.published.clone(),
        lifecycle: held.lifecycle(),
        instance: holder.instance().map(|instance| instance.started.clone()),
        health: held.health(),
        one_off: false,
        mesh_port: None,
        outside: None,
        observed: None,
    }))
}

fn lifecycle(container: &Container) -> Lifecycle {
    match (&container.run, container.stopping) {
        (Run::Running(_), true) => Lifecycle::Stopping,
        (Run::Running(_), false) => Lifecycle::Running,
        (Run::Paused(_), _) => Lifecycle::Paused,
        (Run::Created | Run::Stopped, _) => Lifecycle::Stopped,
    }
}

/// The labels, checked, and what of them does not hold. The service is the compose service, else the container's name,
/// unless a label names it. A container whose labels do not tell whether it is to be meshed, or as what, is left alone;
/// with any other fault it is meshed without that label.
fn declared(
    container: &Container,
    (scope, mesh): (&Scope, &Mesh),
    namespace: &str,
) -> Result<Option<(Declared, Vec<Problem>)>, Vec<Problem>> {
    let mut labels = container.labels.clone();
    if scope.enabled_by_project(&labels) {
        labels.entry(ENABLE.to_owned()).or_insert_with(|| "true".to_owned());
    }
    let told = |faults: &[Fault]| -> Vec<Problem> {
        faults.iter().map(|fault| problem("label", container, fault.to_string())).collect()
    };
    let labels = label::read(&labels);
    if labels.unusable || labels.enable != Some(true) {
        return if labels.faults.is_empty() { Ok(None) } else { Err(told(&labels.faults)) };
    }
    let service = labels
        .service
        .clone()
        .unwrap_or_else(|| container.label(COMPOSE_SERVICE).unwrap_or(&container.name).to_ascii_lowercase());
    if !is_service_name(&service) {
        let what = format!(
            "its name {service:?} cannot be the name of a service (a-z, 0-9, - and _, at most 63): write the label outrigger.service=cart, say"
        );
        return Err([told(&labels.faults), vec![problem("label", container, what)]].concat());
    }
    let key = ServiceKey { namespace: namespace.to_owned(), service };
    let (declared, faults) = mesh.declare(&key, &labels, &container.published);
    Ok(Some((declared, told(&faults))))
}

/// Why a container cannot be meshed at all, with the way out.
fn refusal(container: &Container, declared: &Declared) -> Option<String> {
    let mode = container.network_mode.as_str();
    if container.platform == "windows" {
        return Some(
            "it is a Windows container: only Linux containers can be meshed; set outrigger.enable=false"
                .into(),
        );
    }
    if mode == "host" || mode == "none" || mode.starts_with("container:") {
        return Some(format!(
            "its network mode is {}: it has no network of its own to capture; give it a network, or set outrigger.enable=false",
            mode.split(':').next().unwrap_or(mode)
        ));
    }
    if declared.capture == Capture::Platform {
        return Some(
            "capture platform is what ECS does by itself, and Docker does not: write outrigger.capture=transparent, names \
             or explicit"
                .into(),
        );
    }
    unfit(container, declared)
}

/// Why an application cannot share a namespace with a sidecar, whoever owns it.
fn unfit(container: &Container, declared: &Declared) -> Option<String> {
    let user = container.user.split(':').next().unwrap_or_default();
    if user == port::UID.to_string() {
        return Some(format!("it runs as user {}, which is the sidecar's: give it another user", port::UID));
    }
    let mut ports =
        container.exposed.iter().chain(declared.ports.keys()).chain(declared.edge.iter().flatten());
    let reserved = ports.find(|port| port::RESERVED.contains(port))?;
    Some(format!("it uses port {reserved}, which is the sidecar's: move the application to another port"))
}

/// Two compose services that claim one name in one namespace are one service on purpose only when each says
/// which version it is. Else the one of that very name keeps it, or the one created first; the other is left out.
fn leave_out_second_claims(mapped: &mut Mapped, containers: &Containers) {
    let mut claims: BTreeMap<ServiceKey, BTreeMap<&str, Claim>> = BTreeMap::new();
    for (id, workload) in &mapped.view {
        let Some(container) = containers.get(&id.0) else { continue };
        let compose = container.label(APP).or_else(|| container.label(COMPOSE_SERVICE));
        let Some(compose) = compose else { continue };
        let key = outrigger_compile::service_key(workload);
        let claim = claims.entry(key).or_default().entry(compose).or_default();
        claim.created = Some(claim.created.unwrap_or(u64::MAX).min(container.created));
        claim.versions.insert(workload.declared.version.clone());
        claim.workloads.push(id.clone());
    }
    for (key, claims) in claims {
        if claims.len() > 1 && !on_purpose(&claims) {
            leave_out(mapped, &key, claims);
        }
    }
}

#[derive(Default)]
struct Claim {
    created: Option<u64>,
    versions: BTreeSet<Option<String>>,
    workloads: Vec<WorkloadId>,
}

fn on_purpose(claims: &BTreeMap<&str, Claim>) -> bool {
    let versions: Vec<_> = claims.values().flat_map(|claim| &claim.versions).collect();
    let distinct: BTreeSet<_> = versions.iter().collect();
    distinct.len() == versions.len() && versions.iter().all(|version| version.is_some())
}

fn leave_out(mapped: &mut Mapped, key: &ServiceKey, claims: BTreeMap<&str, Claim>) {
    let keeper = claims.iter().min_by_key(|(compose, claim)| (**compose != key.service, claim.created));
    let Some(keeper) = keeper.map(|(compose, _)| (*compose).to_owned()) else { return };
    for (compose, claim) in claims.into_iter().filter(|(compose, _)| *compose != keeper) {
        for id in &claim.workloads {
            mapped.view.remove(id);
        }
        let what = format!(
            "the compose services {keeper} and {compose} both claim the name {}: {keeper} keeps it and {compose} is not meshed; \
             give one of them another outrigger.service, or, if they are versions of one service, give each its own outrigger.version",
            key.service
        );
        mapped.problems.insert(Problem { kind: "conflict", subject: key.to_string(), what });
    }
}

fn problem(kind: &'static str, container: &Container, what: String) -> Problem {
    Problem { kind, subject: format!("container {}", container.name), what }
}

#[cfg(test)]
mod tests;
