//! Task definitions.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types;
use outrigger_model::label::MANAGED;

use super::port;

/// One task definition; a revision never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its ARN, revision included.
    pub arn: String,
    /// Its family.
    pub family: String,
    /// Its revision.
    pub revision: i32,
    /// ARN of the role that its tasks have.
    pub role: Option<String>,
    /// How its tasks are on the network.
    pub network_mode: NetworkMode,
    /// Labels of all its containers but those of ours; where two differ, the first one's.
    pub labels: BTreeMap<String, String>,
    /// One of its containers is our sidecar.
    pub sidecar: bool,
    /// Its containers, in its own order.
    pub containers: Vec<DefinitionContainer>,
    /// It asks for Windows.
    pub windows: bool,
}

/// One container of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionContainer {
    /// Its name.
    pub name: String,
    /// Its image, as written.
    pub image: String,
    /// Its `dockerLabels`.
    pub labels: BTreeMap<String, String>,
    /// The task ends with it.
    pub essential: bool,
    /// It has a health check.
    pub checked: bool,
    /// TCP ports of its port mappings, ranges written out.
    pub ports: BTreeSet<u16>,
    /// `uid[:gid]` or a name; empty is the image's.
    pub user: String,
}

/// `networkMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// A network interface for each task.
    Awsvpc,
    /// Ports of the host lead to the task's; also where nothing is said.
    Bridge,
    /// The host's own network.
    Host,
    /// No network.
    None,
}

impl Definition {
    /// Reads an answer of the API; none without an ARN.
    pub fn of(definition: types::TaskDefinition) -> Option<Self> {
        let read = definition.container_definitions.into_iter().flatten();
        let containers: Vec<_> = read.filter_map(DefinitionContainer::of).collect();
        let family = definition.runtime_platform.and_then(|platform| platform.operating_system_family);
        let mut labels = BTreeMap::new();
        for container in containers.iter().filter(|container| !container.labels.contains_key(MANAGED)) {
            for (label, value) in &container.labels {
                labels.entry(label.clone()).or_insert_with(|| value.clone());
            }
        }
        Some(Self {
            arn: definition.task_definition_arn.filter(|arn| !arn.is_empty())?,
            family: definition.family.unwrap_or_default(),
            revision: definition.revision,
            role: definition.task_role_arn.filter(|role| !role.is_empty()),
            network_mode: NetworkMode::of(definition.network_mode.as_ref().map(types::NetworkMode::as_str)),
            sidecar: containers.iter().any(DefinitionContainer::is_sidecar),
            windows: family.is_some_and(|family| family.as_str().starts_with("WINDOWS")),
            labels,
            containers,
        })
    }

    /// The container of ours, if it is meshed.
    pub fn sidecar(&self) -> Option<&DefinitionContainer> {
        self.containers.iter().find(|container| container.is_sidecar())
    }
}

impl DefinitionContainer {
    fn of(container: types::ContainerDefinition) -> Option<Self> {
        let tcp = |mapping: &&types::PortMapping| {
            mapping.protocol().is_none_or(|protocol| protocol.as_str() == "tcp")
        };
        Some(Self {
            name: container.name.filter(|name| !name.is_empty())?,
            image: container.image.unwrap_or_default(),
            labels: container.docker_labels.unwrap_or_default().into_iter().collect(),
            essential: container.essential.unwrap_or(true),
            checked: container.health_check.is_some(),
            ports: container.port_mappings.iter().flatten().filter(tcp).flat_map(ports).collect(),
            user: container.user.unwrap_or_default(),
        })
    }

    /// It is our sidecar.
    pub fn is_sidecar(&self) -> bool {
        self.labels.get(MANAGED).is_some_and(|part| part == "sidecar")
    }

    /// It is one of ours: the sidecar, or the step that sets the capture.
    pub fn is_managed(&self) -> bool {
        self.labels.contains_key(MANAGED)
    }
}

impl NetworkMode {
    fn of(text: Option<&str>) -> Self {
        match text {
            Some("awsvpc") => Self::Awsvpc,
            Some("host") => Self::Host,
            Some("none") => Self::None,
            _ => Self::Bridge,
        }
    }
}

fn ports(mapping: &types::PortMapping) -> Vec<u16> {
    let range = mapping.container_port_range().and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    match range {
        Some(range) => range.collect(),
        None => mapping.container_port.and_then(port).into_iter().collect(),
    }
}
