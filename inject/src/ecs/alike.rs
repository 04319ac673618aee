//! Whether two definitions are the same to ECS, which answers with its defaults written out.

use serde_yaml::{Mapping, Value};

/// Values that ECS writes where nothing is said. Source: `describe-task-definition` after `register-task-definition`.
const DEFAULTS: [(&str, Default); 5] = [
    ("cpu", Default::Zero),
    ("essential", Default::True),
    ("hostPort", Default::ContainerPort),
    ("protocol", Default::Tcp),
    ("interactive", Default::False),
];

enum Default {
    Zero,
    True,
    False,
    Tcp,
    /// In awsvpc and host mode the same port, in bridge mode one that Docker picks, written 0.
    ContainerPort,
}

/// Whether ECS would run the same task: order of variables, empty lists and defaults that are written out count nothing.
pub fn alike(one: &Value, other: &Value) -> bool {
    plain(one) == plain(other)
}

pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Mapping(body) => {
            let fields = body.iter().map(|(key, field)| (key.clone(), plain(field)));
            Value::Mapping(fields.filter(|(key, field)| !is_default(key, field, body)).collect())
        }
        Value::Sequence(items) => {
            let mut items: Vec<Value> = items.iter().map(plain).collect();
            // Variables, secrets, tags, containers: ECS does not keep the order of what has a name.
            if items.iter().all(|item| name(item).is_some()) {
                items.sort_by_key(|item| name(item).map(str::to_owned));
            }
            Value::Sequence(items)
        }
        other => other.clone(),
    }
}

fn name(item: &Value) -> Option<&str> {
    item.get("name").or(item.get("key"))?.as_str()
}

fn is_default(key: &Value, field: &Value, within: &Mapping) -> bool {
    match field {
        Value::Null => return true,
        Value::Sequence(items) if items.is_empty() => return true,
        Value::Mapping(fields) if fields.is_empty() => return true,
        _ => {}
    }
    let Some((_, default)) = DEFAULTS.iter().find(|(name, _)| key.as_str() == Some(name)) else {
        return false;
    };
    match default {
        Default::Zero => field.as_u64() == Some(0),
        Default::True => field.as_bool() == Some(true),
        Default::False => field.as_bool() == Some(false),
        Default::Tcp => field.as_str() == Some("tcp"),
        Default::ContainerPort => field.as_u64() == Some(0) || within.get("containerPort") == Some(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_ecs_writes_out_counts_nothing() {
        let given = json(
            r#"{ "family": "a", "tags": [ { "key": "t", "value": "1" }, { "key": "s", "value": "2" } ], "containerDefinitions": [ { "name": "x", "portMappings": [ { "containerPort": 80 } ],
                 "environment": [ { "name": "B", "value": "1" }, { "name": "A", "value": "2" } ] } ] }"#,
        );
        let answered = json(
            r#"{ "family": "a", "tags": [ { "key": "s", "value": "2" }, { "key": "t", "value": "1" } ], "volumes": [], "containerDefinitions": [ { "name": "x", "cpu": 0, "essential": true,
                 "portMappings": [ { "containerPort": 80, "hostPort": 80, "protocol": "tcp" } ], "mountPoints": [],
                 "environment": [ { "name": "A", "value": "2" }, { "name": "B", "value": "1" } ], "volumesFrom": [] } ] }"#,
        );
        assert!(alike(&given, &answered));
    }

    #[test]
    fn what_differs_counts() {
        let text = r#"{ "containerDefinitions": [ { "name": "x", "cpu": 64, "portMappings": [ { "containerPort": 80, "hostPort": 81 } ] } ] }"#;
        for (from, to) in [("64", "0"), ("81", "80"), ("\"x\"", "\"y\""), ("64", "64, \"essential\": false")]
        {
            assert!(!alike(&json(text), &json(&text.replace(from, to))), "{from} {to}");
        }
    }
}
