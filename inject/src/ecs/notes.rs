//! What an injection notes, so that a later one begins from the user's own definition.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use crate::compose::tree::{list, map};

/// The label of the sidecar that has the notes.
pub const INJECTED: &str = "outrigger.injected";

/// What of the user's own fields was changed, so that it can be changed back.
#[derive(Debug, Default)]
pub struct Notes {
    task: Mapping,
    /// By container, then by field.
    containers: Mapping,
    /// Names of variables, by container.
    variables: BTreeMap<String, Vec<String>>,
}

impl Notes {
    pub fn task(&mut self, key: &str, before: Value) {
        self.task.insert(key.into(), before);
    }

    pub fn container(&mut self, name: &str, key: &str, before: Value) {
        match self.containers.get_mut(name) {
            Some(Value::Mapping(fields)) => drop(fields.insert(key.into(), before)),
            _ => drop(self.containers.insert(name.into(), map([(key, before)]))),
        }
    }

    pub fn variable(&mut self, container: &str, name: &str) {
        self.variables.entry(container.to_owned()).or_default().push(name.to_owned());
    }

    /// As the label's value.
    pub fn written(&self) -> String {
        let variables =
            self.variables.iter().map(|(container, names)| (container.as_str().into(), list(names.clone())));
        let all = map([
            ("containers", Value::Mapping(self.containers.clone())),
            ("task", Value::Mapping(self.task.clone())),
            ("variables", Value::Mapping(variables.collect())),
        ]);
        serde_json::to_string(&all).expect("texts and numbers can be written")
    }

    /// What `written` wrote.
    pub fn read(text: Option<&str>) -> Option<Self> {
        let all: Value = serde_json::from_str(text?).ok()?;
        let part = |key: &str| all.get(key)?.as_mapping().cloned();
        let variables = part("variables")?.into_iter().map(|(container, names)| {
            let names = names.as_sequence()?.iter().map(|name| name.as_str().map(str::to_owned));
            Some((container.as_str()?.to_owned(), names.collect::<Option<Vec<_>>>()?))
        });
        Some(Self {
            task: part("task")?,
            containers: part("containers")?,
            variables: variables.collect::<Option<_>>()?,
        })
    }

    /// Changes it back.
    pub fn restore(&self, body: &mut Mapping) {
        for (key, before) in &self.task {
            body.insert(key.clone(), before.clone());
        }
        let containers =
            body.get_mut("containerDefinitions").and_then(Value::as_sequence_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_mapping_mut) {
            let Some(name) = container.get("name").and_then(Value::as_str).map(str::to_owned) else {
                continue;
            };
            for (key, before) in self.containers.get(&name).and_then(Value::as_mapping).into_iter().flatten()
            {
                container.insert(key.clone(), before.clone());
            }
            let Some(variables) = self.variables.get(&name) else { continue };
            if let Some(Value::Sequence(pairs)) = container.get_mut("environment") {
                let ours = |pair: &Value| {
                    pair.get("name")
                        .and_then(Value::as_str)
                        .is_some_and(|name| variables.iter().any(|ours| ours == name))
                };
                pairs.retain(|pair| !ours(pair));
                if pairs.is_empty() {
                    container.shift_remove("environment");
                }
            }
        }
    }
}
