//! What services say of each other, once some of them have replicas written out and their network at a holder.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use crate::compose::check::Checked;
use crate::compose::part::Part;
use crate::compose::tree::{map, mapping, names, text};

/// How `depends_on` says that a service has only to be started.
pub fn started() -> Value {
    map([("condition", "service_started".into())])
}

/// How `depends_on` says that a service must have ended well.
pub fn completed() -> Value {
    map([("condition", "service_completed_successfully".into())])
}

/// Corrects one service: it waits for all replicas, links to holders, and joins them.
pub fn references(name: &str, body: &mut Mapping, checked: &Checked) {
    // A link is also an order of starting. It goes to the holder, or leads to one: the order stays here.
    let meshed = checked.plans.iter().any(|plan| plan.app == name);
    for link in names(body.get("links")) {
        let target = link.split(':').next().unwrap_or_default();
        if meshed || checked.replicas.contains_key(target) {
            wait_for(body, target, started());
        }
    }
    if let Some(all) = body.get("depends_on").and_then(|needs| all_replicas(needs, &checked.replicas)) {
        body.insert("depends_on".into(), all);
    }
    if let Some(links) = body.get("links").and_then(|links| to_holders(links, &checked.replicas)) {
        body.insert("links".into(), links);
    }
    if let Some(root) = checked.joined.get(name) {
        let mode = format!("service:{}", Part::Holder.beside(root));
        body.insert("network_mode".into(), mode.into());
        wait_for(body, &Part::Capture.beside(root), completed());
    }
}

/// Adds a service to `depends_on`, which becomes a mapping.
pub fn wait_for(body: &mut Mapping, service: &str, condition: Value) {
    let mut needs = mapping(body.get("depends_on"), &started());
    if !needs.contains_key(service) {
        needs.insert(service.into(), condition);
        body.insert("depends_on".into(), Value::Mapping(needs));
    }
}

/// None: nothing to add.
fn all_replicas(needs: &Value, replicas: &BTreeMap<String, Vec<String>>) -> Option<Value> {
    let present = names(Some(needs));
    let missing = |name: &String| {
        let others = replicas.get(name).map_or(&[][..], |all| all.get(1..).unwrap_or_default());
        others.iter().filter(|other| !present.contains(other)).cloned().collect::<Vec<String>>()
    };
    if present.iter().all(|name| missing(name).is_empty()) {
        return None;
    }
    let mut all = Mapping::new();
    for (name, condition) in &mapping(Some(needs), &started()) {
        all.insert(name.clone(), condition.clone());
        for other in text(name).map(|name| missing(&name)).unwrap_or_default() {
            all.insert(other.into(), condition.clone());
        }
    }
    Some(Value::Mapping(all))
}

/// None: no link leads to a meshed service.
fn to_holders(links: &Value, replicas: &BTreeMap<String, Vec<String>>) -> Option<Value> {
    let links = links.as_sequence()?;
    let mut changed = false;
    let moved = links.iter().map(|link| {
        let (name, alias) = link.as_str().map(|link| link.split_once(':').unwrap_or((link, link)))?;
        replicas.get(name)?;
        changed = true;
        Some(Value::String(format!("{}:{alias}", Part::Holder.beside(name))))
    });
    let moved: Vec<Value> =
        moved.zip(links).map(|(moved, link)| moved.unwrap_or_else(|| link.clone())).collect();
    changed.then_some(Value::Sequence(moved))
}
