//! Instances of Cloud Map to workloads without a sidecar. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_model::label::Labels;
use outrigger_model::mesh::CloudMap;
use outrigger_model::{
    Attachment, Capture, Declared, Health, Lifecycle, Mesh, Mode, Outside, ProxyProtocol, ServiceKey, View,
    Workload, WorkloadId,
};

use super::record::{Answer, Instance, Lookup, Seen};
use crate::source::Sight;
use crate::source::ecs::map::NETWORK;
use crate::source::ecs::record::{self as ecs, Task, last_part};
use crate::status::Problem;

/// Characters of a task's id, 32 hexadecimal digits, in the name of its replica.
const TASK: (usize, usize) = (32, 8);
/// Longest part of a replica's name that comes from its id.
const LONGEST: usize = 40;

/// Adds to what ECS shows what Cloud Map knows of services outside, as the mesh file says where to look. Whoever has a sidecar is
/// called by that and never as an outsider, in whichever registry it stands; nor is a task of `clusters` that ECS stops, or has not
/// told of: it is over, or one that starts and may have a sidecar.
/// What is as it was `before` stays.
pub fn add(
    (seen, ecs, clusters): (&Seen, &ecs::Seen, &BTreeSet<String>),
    (wanted, mesh): (BTreeMap<ServiceKey, CloudMap>, &Mesh),
    before: Option<&View>,
    sight: &mut Sight,
) {
    if wanted.is_empty() {
        return;
    }
    let tasks = Tasks::of(ecs, clusters);
    let kept = |workload: Workload| {
        let known = before.and_then(|view| view.get(&workload.id));
        known.filter(|known| ***known == workload).cloned().unwrap_or_else(|| Arc::new(workload))
    };
    let meshed = Meshed::of(&sight.view);
    for (key, said) in wanted {
        let lookup = Lookup::of(&key, &said);
        let none = Answer::default();
        let answer = seen.answers.get(&lookup).unwrap_or(&none);
        let declared = declared(mesh, &key, said.version.clone());
        let alias = format!("{}.{}", lookup.service, lookup.namespace).to_ascii_lowercase();
        let place = Place { key: &key, registry: lookup.to_string().into(), alias };
        sight.problems.extend(problems(&place, answer, &declared));
        if answer.awaited && answer.instances.is_none() {
            // To say that nobody is there would be a guess.
            continue;
        }
        let instances = answer.instances.iter().flat_map(|instances| instances.iter());
        let outside = instances.filter(|instance| !meshed.has(instance) && tasks.let_call(instance));
        let mut outside = outside.peekable();
        if outside.peek().is_none() && !meshed.services.contains(&key) {
            let nobody = kept(nobody(&place, declared.clone()));
            sight.view.insert(nobody.id.clone(), nobody);
        }
        for instance in outside {
            let workload = kept(workload(&place, instance, &meshed, declared.clone()));
            sight.view.insert(workload.id.clone(), workload);
        }
    }
}

/// Where a service is, here and in Cloud Map.
struct Place<'a> {
    key: &'a ServiceKey,
    /// For people.
    registry: Arc<str>,
    /// Its name in the private DNS of the namespace: who calls that means it.
    alias: String,
}

/// What ECS says of tasks.
struct Tasks<'a> {
    by_id: BTreeMap<&'a str, &'a Task>,
    /// It says all.
    current: bool,
    clusters: &'a BTreeSet<String>,
}

impl<'a> Tasks<'a> {
    fn of(seen: &'a ecs::Seen, clusters: &'a BTreeSet<String>) -> Self {
        let by_id = seen.tasks.values().map(|task| (&*task.id, &**task)).collect();
        Self { by_id, current: seen.current, clusters }
    }

    /// Cloud Map hears of a stop later than we do, and of a task that starts before it runs.
    fn let_call(&self, instance: &Instance) -> bool {
        let ours = || instance.cluster.as_ref().is_some_and(|cluster| self.clusters.contains(cluster));
        match self.by_id.get(&*instance.id) {
            Some(task) => !task.is_stopping(),
            None => !(self.current && ours()),
        }
    }
}

/// What has a sidecar.
struct Meshed {
    tasks: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    services: BTreeSet<ServiceKey>,
    names: BTreeSet<String>,
}

impl Meshed {
    /// Tasks that share an address with others (bridge and host mode) are not known by it here.
    fn of(view: &View) -> Self {
        let attached = view.values().flat_map(|workload| workload.networks.values());
        Self {
            tasks: view.keys().map(|id| last_part(&id.0).to_owned()).collect(),
            addresses: attached.flat_map(|network| &network.addresses).copied().collect(),
            services: view.values().map(|workload| outrigger_compile::service_key(workload)).collect(),
            names: view.values().map(|workload| workload.name.clone()).collect(),
        }
    }

    /// ECS registers a task by its id.
    fn has(&self, instance: &Instance) -> bool {
        self.tasks.contains(&instance.id)
            || instance.addresses.iter().any(|address| self.addresses.contains(address))
    }
}

/// What the mesh file says of the service, but for what a sidecar would do.
fn declared(mesh: &Mesh, key: &ServiceKey, version: Option<String>) -> Declared {
    let (declared, _none_without_labels) = mesh.declare(key, &Labels::default(), &BTreeSet::new());
    Declared {
        version,
        capture: Capture::default(),
        mode: Mode::Permissive,
        edge: None,
        app_address: None,
        upstreams: Default::default(),
        proxy_protocol: ProxyProtocol::default(),
        rate_limits: Default::default(),
        ..declared
    }
}

fn workload(place: &Place<'_>, instance: &Instance, meshed: &Meshed, declared: Declared) -> Workload {
    // Of several ports nobody says which one an instance means.
    let port = instance.port.filter(|_| declared.ports.len() == 1);
    Workload {
        id: id(place.key, &instance.id),
        name: name(&place.key.service, &instance.id, meshed),
        zone: instance.zone.clone(),
        networks: attached(instance.addresses.clone()),
        lifecycle: Lifecycle::Running,
        health: instance.health,
        outside: Some(Outside { registry: place.registry.clone(), port }),
        ..nobody(place, declared)
    }
}

/// Stands for a service of which nobody is there: its names and its routes stay known.
fn nobody(place: &Place<'_>, declared: Declared) -> Workload {
    Workload {
        id: id(place.key, ""),
        name: format!("{}-nobody", place.key.service),
        namespace: place.key.namespace.clone(),
        declared,
        aliases: [place.alias.clone()].into(),
        zone: None,
        networks: attached(Vec::new()),
        exposed: BTreeSet::new(),
        published: BTreeSet::new(),
        lifecycle: Lifecycle::Stopped,
        instance: None,
        health: Health::Unchecked,
        one_off: false,
        mesh_port: None,
        outside: Some(Outside { registry: place.registry.clone(), port: None }),
        observed: None,
    }
}

/// What no task's ARN and no container's id is.
fn id(key: &ServiceKey, instance: &str) -> WorkloadId {
    WorkloadId(format!("cloud-map:{key}/{instance}"))
}

fn attached(addresses: Vec<IpAddr>) -> BTreeMap<String, Attachment> {
    [(NETWORK.to_owned(), Attachment { network: NETWORK.into(), addresses })].into()
}

/// As tasks are called: the service and the beginning of the task's id. Other ids whole, where they may be part of a name, else
/// what of them may, and a hash. Ids are chosen by whoever registers: none gets the name of one that has a sidecar, by which
/// callers tell replicas apart.
fn name(service: &str, id: &str, meshed: &Meshed) -> String {
    let (task, shown) = TASK;
    let is_task = id.len() == task && id.bytes().all(|b| b.is_ascii_hexdigit());
    let letter = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' { c } else { '-' };
    let written: String = id.chars().take(LONGEST).map(letter).collect();
    let name = match id.get(..shown).filter(|_| is_task) {
        Some(shown) => format!("{service}-{}", shown.to_ascii_lowercase()),
        None => format!("{service}-{id}"),
    };
    if (is_task || written == id) && !meshed.names.contains(&name) {
        return name;
    }
    format!("{service}-{written}-{:08x}", hash(id))
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn problems(place: &Place<'_>, answer: &Answer, declared: &Declared) -> Vec<Problem> {
    let problem = |what: String| Problem { kind: "source", subject: place.registry.to_string(), what };
    let mut told: Vec<Problem> = answer.left_out.iter().cloned().map(problem).collect();
    told.extend(answer.error.as_ref().map(|error| {
        let held = match &answer.instances {
            Some(_) => "the instances that it named before are called on",
            None => "nobody is called until it answers",
        };
        problem(format!("{error}; {held}. Correct cloud-map of {} in mesh.yaml, or what is there", place.key))
    }));
    let several = declared.ports.len() > 1;
    let other = answer.instances.iter().flat_map(|all| all.iter()).find_map(|instance| {
        let port = instance.port.filter(|port| several && !declared.ports.contains_key(port))?;
        Some((instance, port))
    });
    told.extend(other.map(|(instance, port)| {
        problem(format!(
            "instance {} says port {port}, and {} has several others: it is called at the port that callers say. Write a service \
             for each port",
            instance.id, place.key
        ))
    }));
    told
}

#[cfg(test)]
mod tests;
