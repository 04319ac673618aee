//! A task definition, looked at; nothing is changed here.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use crate::Remark;
use crate::compose::tree::{field, items, text};

/// A task definition without anything of ours.
pub struct Task<'a> {
    pub body: &'a Mapping,
    pub family: String,
    pub network: Network,
    /// It is, or may be, run where only the platform may redirect.
    pub fargate: bool,
    pub containers: Vec<Container<'a>>,
}

/// `networkMode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    Awsvpc,
    /// Also where nothing is said.
    Bridge,
    Host,
    Other(String),
}

/// One of `containerDefinitions`.
pub struct Container<'a> {
    pub name: String,
    pub body: &'a Mapping,
    /// `dockerLabels`.
    pub labels: BTreeMap<String, String>,
    /// ECS's default is true.
    pub essential: bool,
}

impl<'a> Task<'a> {
    /// # Errors
    /// It is no task definition.
    pub fn read(body: &'a Mapping) -> Result<Self, Remark> {
        let family = field(body, "family")
            .ok_or_else(|| Remark::project("family: missing: give the task definition a name"))?;
        let found = body.get("containerDefinitions").and_then(Value::as_sequence);
        let containers: Vec<Container<'_>> =
            found.into_iter().flatten().filter_map(Value::as_mapping).filter_map(Container::read).collect();
        if containers.is_empty() || found.is_none_or(|found| found.len() != containers.len()) {
            return Err(Remark::project(
                "containerDefinitions: at least one container, each with its name, is needed",
            ));
        }
        let compatible: Vec<String> =
            items(body.get("requiresCompatibilities")).into_iter().filter_map(text).collect();
        let network = match field(body, "networkMode").as_deref() {
            Some("awsvpc") => Network::Awsvpc,
            None | Some("bridge") => Network::Bridge,
            Some("host") => Network::Host,
            Some(other) => Network::Other(other.to_owned()),
        };
        let fargate = compatible.iter().any(|kind| kind == "FARGATE");
        Ok(Self { body, family, network, fargate, containers })
    }

    /// The container that the task is about: the one with labels of ours, else the first that is essential.
    pub fn application(&self) -> &Container<'a> {
        let labelled = |container: &&Container<'_>| {
            container.labels.keys().any(|label| label.starts_with(super::PREFIX))
        };
        let essential = |container: &&Container<'_>| container.essential && !container.routes_logs();
        let found = self.containers.iter().find(labelled).or_else(|| self.containers.iter().find(essential));
        found.or(self.containers.first()).expect("a task was read with at least one container")
    }

    /// Labels of ours on any container: they share one sidecar.
    pub fn labels(&self) -> BTreeMap<String, Vec<(&str, &str)>> {
        let mut all: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for container in &self.containers {
            for (label, value) in container.labels.range(super::PREFIX.to_owned()..) {
                if label.starts_with(super::PREFIX) {
                    all.entry(label.clone()).or_default().push((&container.name, value));
                }
            }
        }
        all
    }
}

impl<'a> Container<'a> {
    fn read(body: &'a Mapping) -> Option<Self> {
        let labels = body.get("dockerLabels").and_then(Value::as_mapping).into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((text(key)?, text(value)?))).collect();
        let essential = body.get("essential").and_then(Value::as_bool).unwrap_or(true);
        Some(Self { name: field(body, "name")?, body, labels, essential })
    }

    /// FireLens: other containers' logs go through it, the sidecar's perhaps too.
    pub fn routes_logs(&self) -> bool {
        self.body.get("firelensConfiguration").is_some_and(|value| !value.is_null())
    }

    /// `logConfiguration.logDriver`.
    pub fn log_driver(&self) -> Option<&'a str> {
        self.body.get("logConfiguration")?.get("logDriver")?.as_str()
    }

    /// Ports of `portMappings`, ranges written out.
    pub fn ports(&self) -> Vec<u16> {
        self.mapped(|_| true)
    }

    /// Those of them that are not UDP's, which passes by the mesh.
    pub fn serves(&self) -> Vec<u16> {
        self.mapped(|mapping| mapping.get("protocol").and_then(Value::as_str) != Some("udp"))
    }

    fn mapped(&self, is: impl Fn(&Value) -> bool) -> Vec<u16> {
        let mapped = items(self.body.get("portMappings"));
        let ranges = mapped.iter().filter(|mapping| is(mapping)).filter_map(|mapping| {
            if let Some(range) = mapping.get("containerPortRange").and_then(Value::as_str) {
                let (first, last) = range.split_once('-')?;
                return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
            }
            let port = text(mapping.get("containerPort")?)?.parse().ok()?;
            Some((port, port))
        });
        ranges.flat_map(|(first, last): (u16, u16)| first..=last).collect()
    }
}
