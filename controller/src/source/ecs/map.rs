//! Tasks to workloads. Pure: the same tasks give the same view and the same problems.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use outrigger_model::label::{self, ENABLE, Fault};
use outrigger_model::mesh::Origin;
use outrigger_model::{
    Attachment, Capture, Declared, Health, Lifecycle, Mesh, ServiceKey, Workload, WorkloadId,
};
use outrigger_wire::port;

use super::record::{Definition, NetworkMode, Seen, Stage, Task, last_part};
use crate::abreast::Abreast;
use crate::source::{Beside, Sight, is_service_name};
use crate::status::Problem;

/// Every task of every cluster is on it: what may reach what is for security groups to say.
pub const NETWORK: &str = "vpc";
/// On our sidecar: how traffic is captured there.
const CAPTURE: &str = "outrigger.capture";
/// Characters of a task's id in the name of its workload.
const ID: usize = 8;

/// Turns tasks into workloads, as their definitions' labels and the mesh file have it. A task without our sidecar is none
/// of the mesh; what cannot be a workload is left out and named in the problems. Of `before`, what was seen under the same
/// mesh file and what it came to, stays what did not change.
pub fn sight(seen: &Seen, mesh: &Mesh, before: Option<(&Seen, &Sight)>) -> Sight {
    let mut sight = Sight { sidecars: sidecars(seen), ..Sight::default() };
    sight.problems.extend(seen.queue.iter().map(|what| Problem {
        kind: "source",
        subject: "OUTRIGGER_QUEUE".into(),
        what: format!("{what}; changes are seen by asking ECS every ten seconds"),
    }));
    let targets = targets(seen);
    // Tasks of one definition in one service say the same.
    let mut said: BTreeMap<(&str, &str, &BTreeSet<u16>), Said> = BTreeMap::new();
    let (none, nothing) = (BTreeSet::new(), Default::default());
    let (known, known_view) = before.map_or((&nothing, None), |(seen, sight)| (seen, Some(&sight.view)));
    let mut known_tasks = Abreast::of(&known.tasks);
    let mut known_view = known_view.map(Abreast::of);
    for (id, task) in &*seen.tasks {
        let same_task = known_tasks.get(id).is_some_and(|known| Arc::ptr_eq(known, task));
        let Some(definition) = seen.definitions.get(&task.definition) else {
            sight.problems.insert(forgotten(task));
            continue;
        };
        if !definition.sidecar {
            continue;
        }
        let published = task.service.as_deref().and_then(|name| targets.get(&(task.cluster.as_str(), name)));
        let published = published.unwrap_or(&none);
        let namespace = last_part(&task.cluster);
        let key = (task.definition.as_str(), namespace, published);
        let said = said.entry(key).or_insert_with(|| {
            let known = known.definitions.get(&task.definition);
            let same = known.is_some_and(|known| Arc::ptr_eq(known, definition));
            Said { same, ..declared(definition, namespace, published, mesh) }
        });
        sight.problems.extend(said.problems.iter().cloned());
        let Some(declared) = &said.declared else { continue };
        let known = known_view.as_mut().and_then(|view| view.get(id));
        let known = known.filter(|known| same_task && said.same && known.published == *published);
        if let Some(known) = known {
            sight.view.insert(id.clone(), known.clone());
            continue;
        }
        match mesh_port(task, definition) {
            Ok(mesh_port) => {
                let workload = workload((task, definition), declared.clone(), published.clone(), mesh_port);
                sight.view.insert(id.clone(), workload.into());
            }
            Err(problem) => drop(sight.problems.insert(problem)),
        }
    }
    sight
}

/// The sidecar of each meshed task that runs.
pub fn sidecars(seen: &Seen) -> BTreeMap<WorkloadId, Beside> {
    let beside = |task: &Task| {
        let definition = seen.definitions.get(&task.definition)?;
        let sidecar = task.sidecar(definition)?;
        let runs = sidecar.last_status == Stage::Running;
        let name = format!("{}/{}", task.id, sidecar.name);
        runs.then(|| (task.workload(), Beside { id: task.sidecar_id().to_owned(), name, upgrading: false }))
    };
    seen.tasks.values().filter_map(|task| beside(task)).collect()
}

/// What the labels of a definition come to.
#[derive(Default)]
struct Said {
    declared: Option<Declared>,
    problems: Vec<Problem>,
    /// The definition is the one that was known before.
    same: bool,
}

/// Ports that target groups reach, by the service's cluster and name.
fn targets(seen: &Seen) -> BTreeMap<(&str, &str), BTreeSet<u16>> {
    let ports = |targets: &BTreeSet<(String, u16)>| targets.iter().map(|(_, port)| *port).collect();
    let services = seen.services.values();
    services.map(|service| ((&*service.cluster, &*service.name), ports(&service.targets))).collect()
}

fn workload(
    (task, definition): (&Task, &Definition),
    mut declared: Declared,
    published: BTreeSet<u16>,
    mesh_port: Option<u16>,
) -> Workload {
    let attachment = Attachment { network: NETWORK.into(), addresses: task.addresses.clone() };
    let apps = definition.containers.iter().filter(|container| !container.is_managed());
    let exposed: BTreeSet<u16> = apps.flat_map(|container| &container.ports).copied().collect();
    // A task that maps no port serves nobody. To wait for one would leave its application without names while it starts:
    // unlike on Docker, nobody else resolves them.
    let calls_only = declared.ports.is_empty() && exposed.is_empty() && published.is_empty();
    if calls_only && declared.capture == Capture::Names {
        declared.app_address.get_or_insert(Ipv4Addr::LOCALHOST.into());
    }
    Workload {
        id: task.workload(),
        name: format!("{}-{}", declared.service, task.id.get(..ID).unwrap_or(&task.id)),
        namespace: last_part(&task.cluster).to_owned(),
        aliases: BTreeSet::new(),
        zone: task.zone.clone(),
        networks: [(NETWORK.to_owned(), attachment)].into(),
        exposed,
        published,
        lifecycle: lifecycle(task),
        instance: (task.last_status >= Stage::Activating).then(|| task.id.clone()),
        health: health(task, definition),
        one_off: false,
        mesh_port,
        outside: None,
        observed: None,
        declared,
    }
}

/// A task leaves when ECS wants it to stop, or takes it out of its own registries: long before its end.
fn lifecycle(task: &Task) -> Lifecycle {
    match task.last_status {
        _ if task.is_stopping() => Lifecycle::Stopping,
        Stage::Running => Lifecycle::Running,
        _ => Lifecycle::Stopped,
    }
}

/// What the checks of the application's essential containers say; the sidecar's is the sidecar's own business.
fn health(task: &Task, definition: &Definition) -> Health {
    let checked = definition.containers.iter().filter(|c| c.essential && c.checked && !c.is_managed());
    let reported = checked.map(|checked| {
        let container = task.containers.iter().find(|container| container.name == checked.name);
        container.map(|container| container.health).unwrap_or_default().model(true)
    });
    let worst = |health: &Health| match health {
        Health::Unhealthy => 0,
        Health::Starting => 1,
        Health::Healthy | Health::Unchecked => 2,
    };
    reported.min_by_key(worst).unwrap_or(Health::Unchecked)
}

/// The port of the host that leads to the sidecar; none where the sidecar's own port does.
fn mesh_port(task: &Task, definition: &Definition) -> Result<Option<u16>, Problem> {
    if definition.network_mode != NetworkMode::Bridge {
        return Ok(None);
    }
    let sidecar = task.sidecar(definition);
    let port = sidecar.and_then(|sidecar| sidecar.bindings.get(&port::MESH)).copied();
    let missing = port.is_none() && sidecar.is_some_and(|sidecar| sidecar.last_status == Stage::Running);
    if missing && task.last_status == Stage::Running {
        let what = format!(
            "its sidecar's port {} is on no port of the host, so that no peer reaches it: inject it anew (outrigger inject ecs)",
            port::MESH
        );
        return Err(problem("refused", definition, definition.sidecar().map(|c| c.name.as_str()), what));
    }
    Ok(port)
}

/// The labels, checked, and what of them does not hold. The service is the definition's family, unless a label names it.
fn declared(definition: &Definition, namespace: &str, published: &BTreeSet<u16>, mesh: &Mesh) -> Said {
    let mut labels = definition.labels.clone();
    labels.entry(ENABLE.to_owned()).or_insert_with(|| "true".to_owned());
    // What was injected is what is there, whatever was asked for.
    let capture = definition.sidecar().and_then(|sidecar| sidecar.labels.get(CAPTURE));
    labels.extend(capture.map(|capture| (CAPTURE.to_owned(), capture.clone())));
    let labels = label::read(&labels);
    let mut problems = differing(definition);
    problems.extend(told(definition, &labels.faults));
    if labels.unusable || labels.enable != Some(true) {
        return Said { problems, ..Said::default() };
    }
    let service = labels.service.clone().unwrap_or_else(|| definition.family.to_ascii_lowercase());
    if !is_service_name(&service) {
        let what = format!(
            "its family {service:?} cannot be the name of a service (a-z, 0-9, - and _, at most 63): write the label outrigger.service=cart, say"
        );
        problems.push(problem("label", definition, None, what));
        return Said { problems, ..Said::default() };
    }
    if definition.windows {
        problems.push(problem("refused", definition, None, "only Linux tasks can be meshed".into()));
        return Said { problems, ..Said::default() };
    }
    let key = ServiceKey { namespace: namespace.to_owned(), service };
    let (declared, faults) = mesh.declare(&key, &labels, published);
    problems.extend(told(definition, &faults));
    if declared.capture != Capture::Explicit && definition.network_mode != NetworkMode::Awsvpc {
        let what = format!(
            "capture {} needs a network of the task's own: set networkMode to awsvpc, or write outrigger.capture=explicit, and inject it anew",
            declared.capture.as_str()
        );
        problems.push(problem("refused", definition, None, what));
        return Said { problems, ..Said::default() };
    }
    Said { declared: Some(declared), problems, ..Said::default() }
}

/// Containers of one task share a sidecar, so that their labels must agree.
fn differing(definition: &Definition) -> Vec<Problem> {
    let apps = definition.containers.iter().filter(|container| !container.is_managed());
    let ours = apps.flat_map(|container| {
        container
            .labels
            .range(label::PREFIX.to_owned()..)
            .map(move |(label, value)| (container, label, value))
    });
    let other = ours.filter(|(_, label, value)| {
        label.starts_with(label::PREFIX) && definition.labels.get(*label) != Some(value)
    });
    other
        .map(|(container, label, value)| {
            let first = definition.labels.get(label).map_or("", String::as_str);
            let what = format!(
                "{label} is {value:?} here and {first:?} on a container before it, which counts: write it on one container"
            );
            problem("label", definition, Some(&container.name), what)
        })
        .collect()
}

fn told(definition: &Definition, faults: &[Fault]) -> Vec<Problem> {
    let container = |fault: &Fault| {
        let Origin::Label { label } = &fault.origin else { return None };
        let named = definition.containers.iter().find(|container| container.labels.contains_key(&**label));
        named.map(|container| container.name.as_str())
    };
    faults.iter().map(|fault| problem("label", definition, container(fault), fault.to_string())).collect()
}

fn forgotten(task: &Task) -> Problem {
    let what = "ECS does not tell of it any more, so that nobody knows whether its tasks are meshed: move them to a \
                revision that is there";
    Problem {
        kind: "source",
        subject: format!("task definition {}", last_part(&task.definition)),
        what: what.into(),
    }
}

fn problem(kind: &'static str, definition: &Definition, container: Option<&str>, what: String) -> Problem {
    let container = container.map(|name| format!(", container {name}")).unwrap_or_default();
    let subject = format!("task definition {}:{}{container}", definition.family, definition.revision);
    Problem { kind, subject, what }
}

#[cfg(test)]
mod tests;
