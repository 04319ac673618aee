//! What differs between two definitions, in words for people: why a service is to be moved.

use std::collections::BTreeSet;

use outrigger_wire::resource;
use serde_yaml::{Mapping, Value};

use super::SIDECAR;
use super::alike::plain;

/// Label of the sidecar with its way to capture.
const CAPTURED: &str = "outrigger.capture";

/// What differs, the sidecar's image first; empty where ECS would run the same task. Tags count nothing.
pub fn differences(before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (untagged(before), untagged(after));
    let mut found = Vec::new();
    let (old, new) = (containers(&before), containers(&after));
    let names: BTreeSet<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
    // The sidecar before the others, so that what is said first is what it is mostly about.
    let first = names.iter().filter(|name| **name == SIDECAR);
    for name in first.chain(names.iter().filter(|name| **name != SIDECAR)) {
        let of =
            |all: &[(&str, &Mapping)]| all.iter().find(|(of, _)| of == name).map(|(_, body)| (*body).clone());
        match (of(&old), of(&new)) {
            (Some(old), Some(new)) => container(name, &old, &new, &mut found),
            (None, _) => found.push(format!("container {name} is new")),
            (_, None) => found.push(format!("container {name} is gone")),
        }
    }
    if let (Value::Mapping(old), Value::Mapping(new)) = (&before, &after) {
        let keys = changed(old, new);
        found.extend(keys.into_iter().filter(|key| key != "containerDefinitions"));
    }
    if found.is_empty() && before != after {
        found.push("the order of containers".into());
    }
    found
}

/// 16 hex digits, the same for definitions that are alike. Tags count nothing, nor does the order of keys.
pub fn fingerprint(definition: &Value) -> String {
    let bytes = serde_json::to_vec(&sorted(untagged(definition)));
    resource::hash(&bytes.expect("what was read as JSON can be written as JSON"))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Mapping(body) => {
            let mut fields: Vec<(Value, Value)> =
                body.into_iter().map(|(key, field)| (key, sorted(field))).collect();
            fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(&other.as_str()));
            Value::Mapping(fields.into_iter().collect())
        }
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn untagged(definition: &Value) -> Value {
    let mut plain = plain(definition);
    if let Value::Mapping(body) = &mut plain {
        body.shift_remove("tags");
    }
    plain
}

fn containers(definition: &Value) -> Vec<(&str, &Mapping)> {
    let all = definition.get("containerDefinitions").and_then(Value::as_sequence);
    let all = all.into_iter().flatten().filter_map(Value::as_mapping);
    all.filter_map(|body| Some((body.get("name")?.as_str()?, body))).collect()
}

fn container(name: &str, old: &Mapping, new: &Mapping, found: &mut Vec<String>) {
    let mut keys = changed(old, new);
    if name == SIDECAR {
        if keys.iter().any(|key| key == "image") {
            found.push(image(old, new));
        }
        let capture = |body: &Mapping| Some(body.get("dockerLabels")?.get(CAPTURED)?.as_str()?.to_owned());
        if let (Some(old), Some(new)) = (capture(old), capture(new)) {
            (old != new).then(|| found.push(format!("capture {old} -> {new}")));
        }
    }
    // The step has the sidecar's image, which is said once.
    keys.retain(|key| key != "image" || !name.starts_with("outrigger-"));
    if !keys.is_empty() {
        found.push(format!("{name}: {}", keys.join(", ")));
    }
}

/// `sidecar image 0.1.0 -> 0.2.0`, or in full where more than the tag differs.
fn image(old: &Mapping, new: &Mapping) -> String {
    let text = |body: &Mapping| body.get("image").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (old, new) = (text(old), text(new));
    match (old.rsplit_once(':'), new.rsplit_once(':')) {
        (Some((a, from)), Some((b, to))) if a == b => format!("sidecar image {from} -> {to}"),
        _ => format!("sidecar image {old} -> {new}"),
    }
}

/// Keys whose values differ; of variables their names.
fn changed(old: &Mapping, new: &Mapping) -> Vec<String> {
    let keys: BTreeSet<&str> = old.keys().chain(new.keys()).filter_map(Value::as_str).collect();
    let keys = keys.into_iter().filter(|key| old.get(key) != new.get(key));
    let said = keys.map(|key| match key {
        "environment" => {
            let pairs = |body: &Mapping| -> BTreeSet<(String, String)> {
                let pairs = body.get(key).and_then(Value::as_sequence).into_iter().flatten();
                let text = |pair: &Value, field: &str| Some(pair.get(field)?.as_str()?.to_owned());
                pairs.filter_map(|pair| Some((text(pair, "name")?, text(pair, "value")?))).collect()
            };
            let (old, new) = (pairs(old), pairs(new));
            let names: BTreeSet<&str> =
                old.symmetric_difference(&new).map(|(name, _)| name.as_str()).collect();
            format!("environment ({})", names.into_iter().collect::<Vec<_>>().join(", "))
        }
        key => key.to_owned(),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Options, inject};
    use super::*;

    fn given() -> Value {
        serde_json::from_str(
            r#"{ "family": "cart", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
                 "containerDefinitions": [ { "name": "app", "image": "shop/cart:1", "portMappings": [ { "containerPort": 80 } ] } ],
                 "tags": [ { "key": "team", "value": "shop" } ] }"#,
        )
        .unwrap()
    }

    fn options() -> Options {
        let pin = format!("sha256:{}", "00".repeat(32));
        Options {
            control: "https://a:1".into(),
            pin,
            image: "hub/sidecar:0.1.0".into(),
            ..Options::default()
        }
    }

    fn meshed(of: &Value, options: &Options) -> Value {
        inject(of, options).unwrap().definition
    }

    #[test]
    fn what_is_new_is_said_in_words() {
        let old = meshed(&given(), &options());
        let said = |options: Options| differences(&old, &meshed(&old, &options));
        assert_eq!(said(options()), [""; 0]);
        let image = |image: &str| Options { image: image.into(), ..options() };
        assert_eq!(said(image("hub/sidecar:0.2.0")), ["sidecar image 0.1.0 -> 0.2.0"]);
        assert_eq!(said(image("sidecar:0.2.0")), ["sidecar image hub/sidecar:0.1.0 -> sidecar:0.2.0"]);
        let pin = Options { pin: format!("sha256:{}", "11".repeat(32)), ..options() };
        assert_eq!(said(pin), ["outrigger-sidecar: environment (OUTRIGGER_CONTROL_PIN)"]);
        let mut names = given();
        names["containerDefinitions"][0]["dockerLabels"]["outrigger.capture"] = "explicit".into();
        let names = meshed(&names, &options());
        let said = differences(&old, &names);
        assert!(said.contains(&"capture platform -> explicit".to_owned()), "{said:?}");
        assert!(said.contains(&"proxyConfiguration".to_owned()), "{said:?}");
        let said = differences(&given(), &old);
        assert!(said.contains(&"container outrigger-sidecar is new".to_owned()), "{said:?}");
    }

    #[test]
    fn a_fingerprint_is_of_what_ecs_runs() {
        let one = meshed(&given(), &options());
        let mut other = one.clone();
        other["tags"] = Value::Sequence(Vec::new());
        other["volumes"] = Value::Sequence(Vec::new());
        other["containerDefinitions"].as_sequence_mut().unwrap().reverse();
        let Value::Mapping(body) = &mut other else { unreachable!("it is an object") };
        let family = body.shift_remove("family").unwrap();
        body.insert("family".into(), family);
        assert_eq!((fingerprint(&one), differences(&one, &other).len()), (fingerprint(&other), 0));
        other["cpu"] = "512".into();
        assert_ne!(fingerprint(&one), fingerprint(&other));
    }
}
