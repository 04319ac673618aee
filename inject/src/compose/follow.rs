//! docker-compose 1.29 makes a holder anew when its definition changes, and leaves what is joined to it, which has no
//! network from then on. So whoever joins a holder carries a label that changes with the holder's definition.

use std::collections::BTreeMap;

use outrigger_model::label::{HOLDER, MANAGED};
use serde_yaml::{Mapping, Value};

use crate::compose::render;
use crate::compose::tree::{field, pairs};

/// Hash of the holder's definition. No label of the mesh (`outrigger.`): nobody reads it but compose.
const LABEL: &str = "outrigger-holder";

/// Labels all services that join a holder and are not labelled yet: compose renders a holder that it reads back in other
/// words, which would be another hash.
pub fn follow(services: &mut Mapping) {
    let definition = |(name, body): (&Value, &Value)| {
        let holder = pairs(body.get("labels")).get(MANAGED).is_some_and(|value| value == HOLDER);
        let hash = outrigger_wire::resource::hash(render(body).as_bytes());
        holder.then(|| Some((format!("service:{}", name.as_str()?), hash))).flatten()
    };
    let holders: BTreeMap<String, String> = services.iter().filter_map(definition).collect();
    let bodies = services.values_mut().filter_map(Value::as_mapping_mut);
    for body in bodies.filter(|body| !pairs(body.get("labels")).contains_key(LABEL)) {
        if let Some(hash) = field(body, "network_mode").and_then(|mode| holders.get(&mode)) {
            label(body, hash);
        }
    }
}

/// In the form that the labels have.
fn label(body: &mut Mapping, hash: &str) {
    let labels = body.entry("labels".into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    match labels {
        Value::Sequence(items) => items.push(format!("{LABEL}={hash}").into()),
        Value::Mapping(labels) => drop(labels.insert(LABEL.into(), hash.into())),
        none => *none = Value::Mapping([(LABEL.into(), hash.into())].into_iter().collect()),
    }
}
