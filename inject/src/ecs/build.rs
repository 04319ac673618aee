//! Writes what the mesh adds.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::label::MANAGED;
use outrigger_model::{Capture, Upstream};
use outrigger_wire::port;
use serde_yaml::{Mapping, Value};

use super::check::Checked;
use super::control::Control;
use super::notes::{INJECTED, Notes};
use super::resources::{self, Wanted};
use super::task::{Network, Task};
use super::{CAPTURE, Names, Options, RUN, SIDECAR};
use crate::Remark;
use crate::compose::tree::map;

/// Where the control socket is in the sidecar.
const SOCKET_FOLDER: &str = "/run/outrigger";
/// Never redirected: metadata and credentials of the task and of the instance.
const LINK_LOCAL: &str = "169.254.170.2,169.254.169.254";
/// NFS, which ECS mounts before any container runs.
const NFS: &str = "2049";

/// What is to be written.
pub struct Plan {
    pub capture: Capture,
    control: Control,
    network: Network,
    fargate: bool,
    upstreams: BTreeMap<u16, Upstream>,
    ports: BTreeSet<u16>,
    /// Containers that wait for the sidecar.
    waiting: BTreeSet<String>,
    /// The log router that the sidecar's own log goes through.
    router: Option<String>,
    log: Option<Value>,
    nfs: bool,
}

impl Plan {
    pub fn of(task: &Task<'_>, checked: Checked) -> Self {
        let application = task.application();
        let through = application.log_driver() == Some("awsfirelens");
        let router = task.containers.iter().find(|container| through && container.routes_logs());
        let first = before(task);
        let names = task.containers.iter().map(|container| container.name.clone());
        let volumes = task.body.get("volumes").and_then(Value::as_sequence).into_iter().flatten();
        Self {
            capture: checked.capture,
            control: checked.control,
            network: task.network.clone(),
            fargate: task.fargate,
            upstreams: checked.declared.upstreams,
            ports: checked.ports,
            waiting: names.filter(|name| !first.contains(name)).collect(),
            router: router.map(|router| router.name.clone()),
            log: application.body.get("logConfiguration").filter(|log| !log.is_null()).cloned(),
            nfs: volumes
                .filter_map(Value::as_mapping)
                .any(|volume| volume.contains_key("efsVolumeConfiguration")),
        }
    }
}

/// Log routers, and what they wait for: they start before the sidecar, whose log they take.
fn before(task: &Task<'_>) -> BTreeSet<String> {
    let mut first: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<String> =
        task.containers.iter().filter(|c| c.routes_logs()).map(|container| container.name.clone()).collect();
    while let Some(name) = next.pop() {
        let Some(container) = task.containers.iter().find(|container| container.name == name) else {
            continue;
        };
        if first.insert(name) {
            let awaited = container.body.get("dependsOn").and_then(Value::as_sequence).into_iter().flatten();
            next.extend(awaited.filter_map(|on| on.get("containerName")?.as_str().map(str::to_owned)));
        }
    }
    first
}

/// # Errors
/// There is no room.
pub fn add(body: &mut Mapping, plan: &Plan, options: &Options) -> Result<(), Remark> {
    let mut notes = Notes::default();
    let template = match (plan.capture, options.names) {
        (Capture::Names | Capture::Platform, Names::Hosts) => &options.templates.sidecar_hosts,
        _ => &options.templates.sidecar,
    };
    let step = (plan.capture == Capture::Transparent).then_some(&options.templates.capture);
    let wanted = [Some(template), step].into_iter().flatten().fold(Wanted::default(), |sum, container| {
        let of = |key: &str| container.get(key).and_then(Value::as_u64);
        let memory = of("memoryReservation").or(of("memory")).unwrap_or(0);
        Wanted { cpu: sum.cpu + of("cpu").unwrap_or(0), memory: sum.memory + memory }
    });
    resources::fit(body, plan.fargate, wanted, options.resources, &mut notes)?;
    let containers = body.get_mut("containerDefinitions").and_then(Value::as_sequence_mut);
    let containers = containers.expect("a task was read with its containers");
    for container in containers.iter_mut().filter_map(Value::as_mapping_mut) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if plan.waiting.contains(&name) {
            let healthy = map([("containerName", SIDECAR.into()), ("condition", "HEALTHY".into())]);
            let said = container.get("dependsOn").and_then(Value::as_sequence);
            if !said.is_some_and(|said| said.contains(&healthy)) {
                push(container, "dependsOn", healthy);
            }
            upstreams(container, &name, plan, &mut notes);
        }
    }
    containers.push(Value::Mapping(sidecar(template, plan, options, &notes)));
    containers.extend(step.map(|template| Value::Mapping(capture_step(template, plan, options))));
    if plan.capture == Capture::Platform {
        body.insert("proxyConfiguration".into(), proxy(plan));
    }
    if let Control::Folder(path) = &plan.control {
        let host = map([("sourcePath", path.as_str().into())]);
        push(body, "volumes", map([("name", RUN.into()), ("host", host)]));
    }
    Ok(())
}

/// Variables that tell the application where its upstreams are, and in bridge mode the way there.
fn upstreams(container: &mut Mapping, name: &str, plan: &Plan, notes: &mut Notes) {
    if plan.capture != Capture::Explicit || plan.upstreams.is_empty() {
        return;
    }
    let host = if plan.network == Network::Bridge { SIDECAR } else { "127.0.0.1" };
    for (port, to) in &plan.upstreams {
        let variable = to.variable();
        let environment = container.get("environment").and_then(Value::as_sequence).into_iter().flatten();
        let mut said = environment.filter_map(|pair| pair.get("name")?.as_str());
        if !said.any(|said| said == variable) {
            let value = Value::from(format!("{host}:{port}"));
            push(container, "environment", map([("name", variable.as_str().into()), ("value", value)]));
            notes.variable(name, &variable);
        }
    }
    if plan.network == Network::Bridge {
        push(container, "links", SIDECAR.into());
    }
}

fn sidecar(template: &Mapping, plan: &Plan, options: &Options, notes: &Notes) -> Mapping {
    let mut body = named(SIDECAR, template, plan, options);
    match &plan.control {
        Control::Folder(_) => {
            variable(&mut body, "OUTRIGGER_CONTROL", &format!("{SOCKET_FOLDER}/control.sock"));
            let mount = [("sourceVolume", RUN.into()), ("containerPath", SOCKET_FOLDER.into())];
            push(&mut body, "mountPoints", map(mount));
        }
        Control::Address { url, pins } => {
            variable(&mut body, "OUTRIGGER_CONTROL", url);
            variable(&mut body, "OUTRIGGER_CONTROL_PIN", pins);
        }
    }
    let mesh = map([("containerPort", port::MESH.into()), ("protocol", "tcp".into())]);
    let mut mesh = mesh.as_mapping().cloned().unwrap_or_default();
    match plan.network {
        // Docker picks one: many such tasks run on an instance.
        Network::Bridge => drop(mesh.insert("hostPort".into(), 0.into())),
        Network::Host => drop(mesh.insert("hostPort".into(), port::MESH.into())),
        _ => {}
    }
    push(&mut body, "portMappings", Value::Mapping(mesh));
    if plan.capture == Capture::Transparent {
        push(
            &mut body,
            "dependsOn",
            map([("containerName", CAPTURE.into()), ("condition", "SUCCESS".into())]),
        );
    }
    if let Some(router) = &plan.router {
        push(
            &mut body,
            "dependsOn",
            map([("containerName", router.as_str().into()), ("condition", "START".into())]),
        );
    }
    if plan.capture == Capture::Names {
        // Services have ports below 1024, and the sidecar has no right of its own.
        let start = [("namespace", "net.ipv4.ip_unprivileged_port_start".into()), ("value", "0".into())];
        push(&mut body, "systemControls", map(start));
    }
    label(&mut body, "sidecar");
    let labels = body.get_mut("dockerLabels").and_then(Value::as_mapping_mut).expect("just made");
    labels.insert("outrigger.capture".into(), plan.capture.as_str().into());
    labels.insert(INJECTED.into(), notes.written().into());
    body
}

fn variable(body: &mut Mapping, name: &str, value: &str) {
    push(body, "environment", map([("name", name.into()), ("value", value.into())]));
}

fn capture_step(template: &Mapping, plan: &Plan, options: &Options) -> Mapping {
    let mut body = named(CAPTURE, template, plan, options);
    label(&mut body, "capture");
    body
}

/// Name and image first, then the template; the log goes where the application's goes.
fn named(name: &str, template: &Mapping, plan: &Plan, options: &Options) -> Mapping {
    let mut body =
        Mapping::from_iter([("name".into(), name.into()), ("image".into(), options.image.as_str().into())]);
    body.extend(template.clone());
    // The capture step runs before a log router does.
    let routed = plan.router.is_some() && name == CAPTURE;
    if let Some(log) = plan.log.as_ref().filter(|_| !body.contains_key("logConfiguration") && !routed) {
        body.insert("logConfiguration".into(), log.clone());
    }
    body
}

fn label(body: &mut Mapping, part: &str) {
    if !matches!(body.get("dockerLabels"), Some(Value::Mapping(_))) {
        body.insert("dockerLabels".into(), Value::Mapping(Mapping::new()));
    }
    if let Some(Value::Mapping(labels)) = body.get_mut("dockerLabels") {
        labels.insert(MANAGED.into(), part.into());
    }
}

/// The platform's redirect: a block that App Mesh left, which names any container.
fn proxy(plan: &Plan) -> Value {
    let mut properties = vec![
        ("IgnoredUID", port::UID.to_string()),
        ("ProxyEgressPort", port::OUTBOUND.to_string()),
        ("EgressIgnoredIPs", LINK_LOCAL.to_owned()),
    ];
    if !plan.ports.is_empty() {
        let ports = plan.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        properties.push(("ProxyIngressPort", port::INBOUND.to_string()));
        properties.push(("AppPorts", ports));
    }
    if plan.nfs {
        properties.push(("EgressIgnoredPorts", NFS.to_owned()));
    }
    let properties =
        properties.into_iter().map(|(name, value)| map([("name", name.into()), ("value", value.into())]));
    map([
        ("type", "APPMESH".into()),
        ("containerName", SIDECAR.into()),
        ("properties", Value::Sequence(properties.collect())),
    ])
}

fn push(body: &mut Mapping, key: &str, item: Value) {
    match body.get_mut(key) {
        Some(Value::Sequence(items)) => items.push(item),
        _ => drop(body.insert(key.into(), Value::Sequence(vec![item]))),
    }
}
