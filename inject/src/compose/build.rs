//! Writes the meshed project: the services beside each replica, and what they take from the application.

use std::collections::BTreeMap;

use outrigger_model::Capture;
use outrigger_model::label::{APP, ENABLE, HOLDER, MANAGED, MESH, PREFIX, REPLICA, SERVICE};
use serde_yaml::{Mapping, Value};

use crate::compose::check::{Checked, Plan};
use crate::compose::controller::SOCKET;
use crate::compose::follow::follow;
use crate::compose::part::Part;
use crate::compose::rewrite::{completed, references, started, wait_for};
use crate::compose::tree::{field, items, map, mapping, names, pairs, text};

/// What goes to the holder as it is: the engine refuses each of these in a container that joins another's network.
const MOVED: [&str; 11] = [
    "ports",
    "expose",
    "hostname",
    "domainname",
    "mac_address",
    "dns",
    "dns_search",
    "dns_opt",
    "extra_hosts",
    "links",
    "external_links",
];

/// Meshes the project as planned.
pub fn add(project: &mut Value, checked: &Checked) {
    let Some(services) = project.get_mut("services").and_then(Value::as_mapping_mut) else { return };
    let mut all = Mapping::new();
    for (name, body) in std::mem::take(services) {
        let (Some(text), Value::Mapping(mut body)) = (name.as_str(), body) else { continue };
        references(text, &mut body, checked);
        match checked.plans.iter().find(|plan| plan.app == text) {
            None => {
                all.insert(name, Value::Mapping(body));
            }
            Some(plan) => {
                for (number, replica) in (1..).zip(&plan.replicas) {
                    all.extend(replicated(plan, checked, &body, number, replica));
                }
            }
        }
    }
    follow(&mut all);
    *services = all;
    if let (Some(volume), Value::Mapping(project)) = (&checked.control.external, project) {
        let mut volumes = mapping(project.get("volumes"), &Value::Null);
        volumes.insert(volume.as_str().into(), map([("external", true.into())]));
        project.insert("volumes".into(), Value::Mapping(volumes));
    }
}

/// The four services of one replica, in the order in which they start.
fn replicated(
    plan: &Plan,
    checked: &Checked,
    body: &Mapping,
    number: u32,
    replica: &str,
) -> [(Value, Value); 4] {
    let named = |part: Part, body| (Value::String(part.beside(replica)), Value::Mapping(body));
    [
        named(Part::Holder, holder(plan, checked, body, number)),
        named(Part::Sidecar, sidecar(plan, checked, body, replica)),
        named(Part::Capture, capture(checked, body, replica)),
        (replica.into(), Value::Mapping(application(plan, body, replica))),
    ]
}

fn holder(plan: &Plan, checked: &Checked, app: &Mapping, number: u32) -> Mapping {
    let template = match plan.declared.capture {
        Capture::Transparent | Capture::Platform => &checked.templates.holder_capture,
        Capture::Names | Capture::Explicit => &checked.templates.holder,
    };
    let mut holder = with_image(template, checked);
    match field(app, "network_mode") {
        Some(mode) => holder.insert("network_mode".into(), mode.into()),
        None => holder.insert("networks".into(), networks(plan, app)),
    };
    for key in MOVED {
        if let Some(value) = app.get(key) {
            holder.insert(key.into(), value.clone());
        }
    }
    if let (Some(sysctls), _) = sysctls(app) {
        holder.insert("sysctls".into(), sysctls);
    }
    restart(&mut holder, policy(app), "no");
    for key in ["stop_grace_period", "profiles"] {
        if let Some(value) = app.get(key) {
            holder.insert(key.into(), value.clone());
        }
    }
    labels(&mut holder, holder_labels(plan, app, number));
    holder
}

fn sidecar(plan: &Plan, checked: &Checked, app: &Mapping, replica: &str) -> Mapping {
    let template = match plan.declared.capture {
        Capture::Names => &checked.templates.sidecar_names,
        Capture::Transparent | Capture::Explicit | Capture::Platform => &checked.templates.sidecar,
    };
    let mut sidecar = beside(template, Part::Sidecar, checked, app, replica);
    if let Some(controller) = &checked.control.service {
        wait_for(&mut sidecar, controller, started());
    }
    wait_for(&mut sidecar, &Part::Holder.beside(replica), started());
    let mut volumes: Vec<Value> = items(sidecar.get("volumes")).into_iter().cloned().collect();
    volumes.push(checked.control.mount.clone().into());
    sidecar.insert("volumes".into(), Value::Sequence(volumes));
    let socket = checked.control.socket.clone().map(|socket| (SOCKET.to_owned(), socket));
    environment(&mut sidecar, socket);
    restart(&mut sidecar, policy(app).map(|_| "unless-stopped".into()), "on-failure");
    sidecar
}

fn capture(checked: &Checked, app: &Mapping, replica: &str) -> Mapping {
    let mut capture = beside(&checked.templates.wait, Part::Capture, checked, app, replica);
    wait_for(&mut capture, &Part::Sidecar.beside(replica), started());
    restart(&mut capture, None, "no");
    capture
}

fn with_image(template: &Mapping, checked: &Checked) -> Mapping {
    let image = ("image".into(), checked.control.image.clone().into());
    std::iter::once(image).chain(template.clone()).collect()
}

/// What sidecar and capture step have in common.
fn beside(template: &Mapping, part: Part, checked: &Checked, app: &Mapping, replica: &str) -> Mapping {
    let mut body = with_image(template, checked);
    body.insert("network_mode".into(), format!("service:{}", Part::Holder.beside(replica)).into());
    if let Some(profiles) = app.get("profiles") {
        body.insert("profiles".into(), profiles.clone());
    }
    labels(&mut body, [(MANAGED.to_owned(), part.as_str().to_owned())].into());
    body
}

fn application(plan: &Plan, app: &Mapping, replica: &str) -> Mapping {
    let mut body = app.clone();
    if plan.declared.capture == Capture::Explicit {
        // Where its sidecar stands for each upstream.
        let places = plan.declared.upstreams.iter();
        environment(&mut body, places.map(|(port, to)| (to.variable(), format!("127.0.0.1:{port}"))));
    }
    for key in MOVED.iter().chain(&["networks", "scale"]) {
        body.shift_remove(*key);
    }
    match sysctls(app) {
        (_, Some(rest)) => drop(body.insert("sysctls".into(), rest)),
        (_, None) => drop(body.shift_remove("sysctls")),
    }
    if let Some(Value::Mapping(deploy)) = body.get_mut("deploy") {
        deploy.shift_remove("replicas");
        if deploy.is_empty() {
            body.shift_remove("deploy");
        }
    }
    body.insert("network_mode".into(), format!("service:{}", Part::Holder.beside(replica)).into());
    wait_for(&mut body, &Part::Capture.beside(replica), completed());
    body
}

/// Adds variables to an environment, in its form; what is set there stays.
fn environment(body: &mut Mapping, variables: impl IntoIterator<Item = (String, String)>) {
    let said = pairs(body.get("environment"));
    let new: Vec<_> = variables.into_iter().filter(|(name, _)| !said.contains_key(name)).collect();
    if let Some(Value::Sequence(all)) = body.get_mut("environment") {
        all.extend(new.into_iter().map(|(name, value)| format!("{name}={value}").into()));
    } else if !new.is_empty() {
        let mut all = mapping(body.get("environment"), &Value::Null);
        all.extend(new.into_iter().map(|(name, value)| (name.into(), value.into())));
        body.insert("environment".into(), Value::Mapping(all));
    }
}

/// The application's networks, on each of which the holder answers to the application's names.
fn networks(plan: &Plan, app: &Mapping) -> Value {
    let mut networks = mapping(app.get("networks"), &Value::Null);
    if networks.is_empty() {
        networks.insert("default".into(), Value::Null);
    }
    for attachment in networks.values_mut() {
        let mut fields = attachment.as_mapping().cloned().unwrap_or_default();
        let mut aliases = vec![plan.app.clone()];
        let further = field(app, "container_name").into_iter().chain(names(fields.get("aliases")));
        for alias in further {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        fields.insert("aliases".into(), crate::compose::tree::list(aliases));
        *attachment = Value::Mapping(fields);
    }
    Value::Mapping(networks)
}

/// The sysctls of the network namespace, and the others; each in the form in which they were written.
fn sysctls(app: &Mapping) -> (Option<Value>, Option<Value>) {
    let of_the_network = |key: &Value| text(key).is_some_and(|key| key.starts_with("net."));
    match app.get("sysctls") {
        Some(Value::Mapping(all)) => {
            let (net, rest): (Mapping, Mapping) =
                all.clone().into_iter().partition(|(key, _)| of_the_network(key));
            let some = |part: Mapping| (!part.is_empty()).then_some(Value::Mapping(part));
            (some(net), some(rest))
        }
        all => {
            let (net, rest): (Vec<Value>, Vec<Value>) =
                items(all).into_iter().cloned().partition(of_the_network);
            let some = |part: Vec<Value>| (!part.is_empty()).then_some(Value::Sequence(part));
            (some(net), some(rest))
        }
    }
}

/// The policy that brings the application back after the engine was restarted; None: it does not come back, and then
/// nothing beside it need.
fn policy(app: &Mapping) -> Option<String> {
    let deployed = || {
        let policy = app.get("deploy")?.get("restart_policy")?.as_mapping()?;
        Some(field(policy, "condition").unwrap_or_else(|| "any".to_owned()))
    };
    let policy = field(app, "restart").or_else(deployed)?;
    match policy.as_str() {
        "no" | "none" | "false" => None,
        "always" => Some(policy),
        // A holder ends only when it is told to, or is killed: it must come back from both.
        _ => Some("unless-stopped".to_owned()),
    }
}

fn restart(body: &mut Mapping, policy: Option<String>, otherwise: &str) {
    body.insert("restart".into(), policy.unwrap_or_else(|| otherwise.to_owned()).into());
}

/// What the application says of itself, and whose holder this is.
fn holder_labels(plan: &Plan, app: &Mapping, number: u32) -> BTreeMap<String, String> {
    let said = pairs(app.get("labels"));
    let mut labels: BTreeMap<String, String> =
        said.into_iter().filter(|(label, _)| label.starts_with(PREFIX) && label != MESH).collect();
    labels.entry(SERVICE.to_owned()).or_insert_with(|| plan.declared.service.clone());
    for (label, value) in [
        (ENABLE, "true".to_owned()),
        (MANAGED, HOLDER.to_owned()),
        (APP, plan.app.clone()),
        (REPLICA, number.to_string()),
    ] {
        labels.insert(label.to_owned(), value);
    }
    labels
}

/// Adds labels to those of the template.
fn labels(body: &mut Mapping, ours: BTreeMap<String, String>) {
    let mut all = pairs(body.get("labels"));
    all.extend(ours);
    let all = all.into_iter().map(|(label, value)| (label.into(), value.into())).collect();
    body.insert("labels".into(), Value::Mapping(all));
}
