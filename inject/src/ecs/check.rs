//! What stands against meshing a task, all of it in one go, and what a user should know.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::label::{self, ENABLE};
use outrigger_model::mesh::Severity;
use outrigger_model::{Capture, Declared, ServiceKey};
use outrigger_wire::port::{RESERVED, UID};
use serde_yaml::Value;

use super::control::Control;
use super::task::{Container, Network, Task};
use super::{CAPTURE, Options, RUN, SIDECAR, capture};
use crate::Remark;
use crate::compose::tree::{field, items};

/// Containers of one task definition (a quota of ECS that cannot be raised).
const MOST_CONTAINERS: usize = 10;
/// Bytes of one task definition (likewise).
const MOST_BYTES: usize = 64 * 1024;

/// A task that can be meshed.
pub struct Checked {
    pub declared: Declared,
    pub capture: Capture,
    pub control: Control,
    /// Ports that it serves.
    pub ports: BTreeSet<u16>,
    pub warnings: Vec<Remark>,
}

/// # Errors
/// Every reason against it.
pub fn check(task: &Task<'_>, options: &Options) -> Result<Checked, Vec<Remark>> {
    let mut refusals: Vec<Remark> = Vec::new();
    refusals.extend(windows(task));
    refusals.extend(proxied(task));
    refusals.extend(taken_names(task));
    refusals.extend(task.containers.iter().filter_map(user));
    refusals.extend(task.containers.iter().filter_map(|container| reserved(task, container)));
    let control = Control::read(options, task.fargate);
    let control = control.map_err(|faults| refusals.extend(faults)).ok();
    if matches!(control, Some(Control::Folder(_))) && matches!(task.network, Network::Bridge | Network::Host)
    {
        refusals.push(Remark::project(
            "a call over the controller's socket does not tell the address of a task in bridge or host mode: give the \
             controller's address, as in --control https://controller.outrigger.internal:15010, or write \"networkMode\": \"awsvpc\"",
        ));
    }
    let (declared, asked, mut warnings) = match declared(task, options) {
        Ok(declared) => declared,
        Err(faults) => return Err([refusals, faults].concat()),
    };
    let mapped = task.containers.iter().filter(|container| !container.routes_logs());
    let ports: BTreeSet<u16> =
        mapped.flat_map(Container::serves).chain(declared.ports.keys().copied()).collect();
    let capture = match capture::choose(task, asked, declared.mode, !ports.is_empty()) {
        Ok(capture) => capture,
        Err(reason) => return Err([refusals, vec![Remark::project(reason)]].concat()),
    };
    let added = if capture == Capture::Transparent { 2 } else { 1 };
    if task.containers.len() + added > MOST_CONTAINERS {
        refusals.push(Remark::project(format!(
            "containerDefinitions: {} and {added} for the mesh are more than the {MOST_CONTAINERS} that ECS allows: take one out",
            task.containers.len()
        )));
    }
    let Some(control) = control.filter(|_| refusals.is_empty()) else { return Err(refusals) };
    warnings.extend(said(task, capture, &declared, &ports));
    Ok(Checked { declared, capture, control, ports, warnings })
}

/// # Errors
/// It is too long to be registered.
pub fn size(definition: &Value) -> Result<(), Vec<Remark>> {
    let bytes = serde_json::to_string(definition).map_or(0, |text| text.len());
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(vec![Remark::project(format!(
        "with the mesh it has {bytes} bytes, and ECS takes {MOST_BYTES}: move environment into environmentFiles or secrets"
    ))])
}

type Said = (Declared, Option<Capture>, Vec<Remark>);

/// What labels and mesh file say of it.
fn declared(task: &Task<'_>, options: &Options) -> Result<Said, Vec<Remark>> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (label, said) in task.labels() {
        let (first, value) = said.first().copied().unwrap_or_default();
        if let Some((other, unlike)) = said.iter().find(|(_, other)| *other != value) {
            refusals.push(Remark::container(other, format!(
                "dockerLabels.{label}: {unlike}: {first} says {value}, and the containers of a task share one sidecar: say it once"
            )));
        }
        labels.insert(label, value.to_owned());
    }
    let enable = labels.insert(ENABLE.to_owned(), "true".to_owned());
    if enable.as_deref() == Some("false") {
        refusals.push(Remark::project(
            "dockerLabels.outrigger.enable: false: it is not to be meshed: take the label off",
        ));
    }
    let read = label::read(&labels);
    let service = read.service.clone().unwrap_or_else(|| task.family.clone());
    let key = ServiceKey { namespace: options.namespace.clone(), service };
    let asked = read.settings.capture.clone().or(options.mesh.service(&key).capture).map(|said| said.value);
    let (declared, faults) = options.mesh.declare(&key, &read, &BTreeSet::new());
    let application = &task.application().name;
    let (wrong, overruled): (Vec<_>, Vec<_>) =
        faults.into_iter().partition(|fault| fault.severity == Severity::Error);
    refusals.extend(wrong.iter().map(|fault| Remark::container(application, fault.to_string())));
    if outrigger_wire::SpiffeId::new("outrigger.internal", &options.namespace, &declared.service).is_err() {
        refusals.push(Remark::project(format!(
            "family: {}: no identity can have this name: give one with the label outrigger.service",
            declared.service
        )));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok((
        declared,
        asked,
        overruled.iter().map(|fault| Remark::container(application, fault.to_string())).collect(),
    ))
}

fn windows(task: &Task<'_>) -> Option<Remark> {
    let family = task.body.get("runtimePlatform")?.get("operatingSystemFamily")?.as_str()?;
    family.starts_with("WINDOWS").then(|| {
        Remark::project(format!(
            "runtimePlatform.operatingSystemFamily: {family}: there is no sidecar for Windows"
        ))
    })
}

fn proxied(task: &Task<'_>) -> Option<Remark> {
    let proxy = task.body.get("proxyConfiguration").filter(|proxy| !proxy.is_null())?;
    let container = proxy.get("containerName").and_then(Value::as_str).unwrap_or_default();
    Some(Remark::project(format!(
        "proxyConfiguration: the traffic goes through {container} already: if that is the Envoy of AWS App Mesh, give \
         --replace-app-mesh, which takes both out; else take them out"
    )))
}

fn taken_names(task: &Task<'_>) -> Vec<Remark> {
    let containers = task.containers.iter().map(|container| container.name.as_str());
    let taken = containers.filter(|name| [SIDECAR, CAPTURE].contains(name));
    let mut found: Vec<Remark> =
        taken.map(|name| Remark::container(name, "this name is the mesh's: give it another name")).collect();
    let volumes = items(task.body.get("volumes"));
    if volumes.iter().any(|volume| volume.get("name").and_then(Value::as_str) == Some(RUN)) {
        found.push(Remark::project(format!("volumes: {RUN}: this name is the mesh's: give it another name")));
    }
    found
}

/// Capture exempts the sidecar's UID.
fn user(container: &Container<'_>) -> Option<Remark> {
    let user = field(container.body, "user")?;
    let uid = user.split(':').next().unwrap_or_default().trim_start_matches('0');
    (uid == UID.to_string()).then(|| {
        Remark::container(&container.name, format!(
            "user: {user}: UID {UID} is the sidecar's, whose traffic is not captured: give it another user"
        ))
    })
}

/// In bridge mode it has a network of its own, and the sidecar has another.
fn reserved(task: &Task<'_>, container: &Container<'_>) -> Option<Remark> {
    let shared = task.network != Network::Bridge;
    let port = container.ports().into_iter().find(|port| shared && RESERVED.contains(port))?;
    Some(Remark::container(
        &container.name,
        format!("portMappings: port {port} is the sidecar's: move the application to another port"),
    ))
}

/// What a user should know.
fn said(task: &Task<'_>, capture: Capture, declared: &Declared, ports: &BTreeSet<u16>) -> Vec<Remark> {
    let mut said = Vec::new();
    for router in task.containers.iter().filter(|container| container.routes_logs()) {
        said.push(Remark::container(
            &router.name,
            "it routes logs, the sidecar's too, so it starts before the sidecar; what it sends \
                                            until then fails and is sent again",
        ));
    }
    let list = || ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    match capture {
        Capture::Names if !ports.is_empty() => said.push(Remark::project(format!(
            "with names it calls no service on a port that it serves itself ({}), unless it listens on 127.0.0.1 only: write \
             outrigger.capture: platform if it must",
            list()
        ))),
        Capture::Explicit if declared.upstreams.is_empty() => said.push(Remark::project(
            "with explicit it calls what outrigger.upstreams names, and nothing is named: write such as \
             outrigger.upstreams: cart:8080=9001",
        )),
        _ => {}
    }
    if !capture.takes_inbound() && !ports.is_empty() {
        said.push(Remark::project(format!(
            "calls from outside the mesh to port {} pass the sidecar by: nothing can be refused there",
            list()
        )));
    }
    if task.network == Network::Host {
        said.push(Remark::project(
            "in host mode the sidecar's ports are the instance's: one such task runs on each instance",
        ));
    }
    said
}
