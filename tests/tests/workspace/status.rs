//! The command line reads the controller's status with types of its own: both must mean the same tree.

use std::collections::BTreeSet;
use std::fs;

use outrigger_controller::status::{
    Edge, Ejection, Endpoint, Gap, Injection, Outside, Outsider, Port, Problem, Service, Sidecar, Source,
    Status,
};
use serde_json::Value;

use crate::root;

#[test]
fn the_command_line_is_tested_with_what_the_controller_writes() {
    let fixture = fs::read_to_string(root().join("cli/src/status/cases/broken.json")).expect("a fixture");
    let fixture: Value = serde_json::from_str(&fixture).expect("the fixture is JSON");
    let written = serde_json::to_value(one_of_everything()).expect("a status is JSON");
    assert_eq!(
        keys(&fixture),
        keys(&written),
        "follow the controller in cli/src/status/{{answer.rs,cases/}}"
    );
}

fn one_of_everything() -> Status {
    let endpoint = Endpoint {
        workload: String::new(),
        addresses: [("default".to_owned(), Vec::new())].into(),
        outside: true,
        ready: false,
        reason: None,
        lifecycle: "running",
        health: "unchecked",
        version: None,
        weight: 100,
        zone: Some(String::new()),
    };
    Status {
        sources: vec![Source {
            name: String::new(),
            current: false,
            age_s: None,
            about: String::new(),
            last_error: None,
        }],
        services: vec![Service {
            name: String::new(),
            namespace: String::new(),
            virtual_address: None,
            ports: vec![Port { port: 1, protocol: "tcp", endpoints: vec![endpoint] }],
            outside: Some(Outside { registry: String::new(), instances: 0, age_s: None, last_error: None }),
        }],
        sidecars: vec![Sidecar { zone: Some(String::new()), ..Sidecar::default() }],
        edges: vec![Edge {
            source: String::new(),
            destination: String::new(),
            port: 1,
            protocol: String::new(),
            mtls: false,
            requests: 0,
            errors: 0,
        }],
        outsiders: vec![Outsider {
            service: String::new(),
            port: 1,
            from: String::new(),
            addresses: BTreeSet::new(),
            connections: 0,
            refused: 0,
            last_seen: 0,
            edge: false,
            would_break: false,
        }],
        ejections: vec![Ejection {
            endpoint: String::new(),
            port: 1,
            service: String::new(),
            by: String::new(),
            since_ms: 0,
            until_ms: 0,
            why: "success-rate",
            errors: None,
            percent: None,
            others_percent: None,
            overruled: false,
        }],
        injections: vec![Injection {
            service: String::new(),
            state: "meshed",
            revision: String::new(),
            what: String::new(),
        }],
        problems: vec![Problem { kind: "label", subject: String::new(), what: String::new() }],
        injection_gap: Gap::default(),
        ..Status::default()
    }
}

/// Paths of all keys; elements of a list share theirs.
fn keys(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                collect(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, path, found)),
        _ => {}
    }
}
