//! Tasks, task definitions and services, cut down to what matters here. Equal records mean: nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use aws_sdk_ecs::types;
use outrigger_model::{Health, WorkloadId};
use tokio::time::Instant;

mod definition;

pub use definition::{Definition, DefinitionContainer, NetworkMode};

/// What this source sees.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Tasks that are not over, by ARN.
    pub tasks: Arc<BTreeMap<WorkloadId, Arc<Task>>>,
    /// Their definitions, by ARN; a task has none here only if ECS does not tell of it any more.
    pub definitions: Arc<BTreeMap<String, Arc<Definition>>>,
    /// Services, by ARN.
    pub services: Arc<BTreeMap<String, Arc<Service>>>,
    /// Whole and current; false: the last good view, or nothing yet.
    pub current: bool,
    /// When everything was last listed.
    pub listed: Option<Instant>,
    /// Region and clusters.
    pub about: String,
    /// Why it is not current.
    pub error: Option<String>,
    /// Why the queue does not answer, so that the API is asked more often.
    pub queue: Option<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its ARN.
    pub arn: String,
    /// Its id: the last part of the ARN, 32 hex digits; the session name of its role too.
    pub id: String,
    /// ARN of its cluster.
    pub cluster: String,
    /// What started it: `service:<name>` or `family:<name>`, or a name of one's own.
    pub group: String,
    /// The name of its ECS service; none: standalone or scheduled.
    pub service: Option<String>,
    /// ARN of its definition.
    pub definition: String,
    /// Role that stands over its definition's, as `RunTask` may say.
    pub role: Option<String>,
    /// Where it is in its life.
    pub last_status: Stage,
    /// Where ECS wants it.
    pub desired_status: Stage,
    /// What ECS makes of its essential containers' checks, the sidecar's among them.
    pub health: Health,
    /// Addresses of its network interface, IPv4 first; empty in bridge and host mode, and before there are any.
    pub addresses: Vec<IpAddr>,
    /// Its availability zone (`eu-west-1a`).
    pub zone: Option<String>,
    /// ARN of the EC2 instance that it runs on; none on Fargate.
    pub container_instance: Option<String>,
    /// Who started it: a deployment's id (`ecs-svc/…`), or what `RunTask` said.
    pub started_by: Option<String>,
    /// Its containers, by name.
    pub containers: Vec<TaskContainer>,
    /// Counts its changes; the greater one is the newer.
    pub version: i64,
    /// Why it stopped, or is about to: ECS's code and its words.
    pub stopped: Option<String>,
}

/// One container of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskContainer {
    /// Its name in the definition.
    pub name: String,
    /// Its id at the container runtime; none before it was made.
    pub runtime_id: Option<String>,
    /// Where it is in its life.
    pub last_status: Stage,
    /// What the check of its definition says.
    pub health: Reported,
    /// TCP ports on the host, by container port; bridge and host mode.
    pub bindings: BTreeMap<u16, u16>,
}

/// [`Health`] as ECS reports it: without a check, and with one that has not answered yet, it says `UNKNOWN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reported {
    /// No check, or no answer yet.
    #[default]
    Unknown,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
}

/// Where a task or a container is in its life, in the order in which it goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Network interfaces are made. Also for what is not known here.
    Provisioning,
    /// Waits for room, images and containers.
    Pending,
    /// Registered with load balancers and service discovery.
    Activating,
    /// Runs.
    Running,
    /// Taken out of load balancers and service discovery; the first sign of a stop.
    Deactivating,
    /// Containers were asked to stop.
    Stopping,
    /// Network interfaces are taken back.
    Deprovisioning,
    /// Over.
    Stopped,
}

/// One ECS service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// ARN of its cluster.
    pub cluster: String,
    /// `ACTIVE`, `DRAINING` or `INACTIVE`.
    pub status: String,
    /// ARN of the definition that it moves its tasks to.
    pub definition: String,
    /// Ports that its target groups reach, by container.
    pub targets: BTreeSet<(String, u16)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Seen {
    /// It shows the same workloads as another, without a look into either.
    pub fn shows_what(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tasks, &other.tasks)
            && Arc::ptr_eq(&self.definitions, &other.definitions)
            && Arc::ptr_eq(&self.services, &other.services)
            && (&self.queue, self.current) == (&other.queue, other.current)
    }
}

impl Task {
    /// Reads an answer of the API; none without the ARNs that make a task.
    pub fn of(task: types::Task) -> Option<Self> {
        let arn = task.task_arn.filter(|arn| !arn.is_empty())?;
        let details = task.attachments.iter().flatten().flat_map(|attachment| attachment.details());
        let details = details.filter_map(|pair| Some((pair.name()?, pair.value()?)));
        let interfaces = task.containers.iter().flatten().flat_map(|c| c.network_interfaces());
        let on_interfaces = interfaces.flat_map(|i| [i.private_ipv4_address(), i.ipv6_address()]).flatten();
        let health = task.health_status.as_ref().map(types::HealthStatus::as_str);
        let group = task.group.unwrap_or_default();
        Some(Self {
            id: last_part(&arn).to_owned(),
            cluster: task.cluster_arn?,
            service: group.strip_prefix("service:").map(str::to_owned),
            definition: task.task_definition_arn?,
            role: task.overrides.and_then(|overrides| overrides.task_role_arn),
            last_status: Stage::of(task.last_status.as_deref()),
            desired_status: Stage::of(task.desired_status.as_deref()),
            health: Reported::of(health).model(false),
            addresses: addresses(attached(details).chain(on_interfaces)),
            zone: task.availability_zone,
            container_instance: task.container_instance_arn,
            started_by: task.started_by,
            version: task.version,
            stopped: stopped(task.stop_code.as_ref().map(types::TaskStopCode::as_str), task.stopped_reason),
            containers: containers(task.containers.into_iter().flatten().filter_map(TaskContainer::of)),
            group,
            arn,
        })
    }

    /// The id that the model knows it by.
    pub fn workload(&self) -> WorkloadId {
        WorkloadId(self.arn.clone())
    }

    /// ECS wants it to stop, or it is on its way out by itself.
    pub fn is_stopping(&self) -> bool {
        self.desired_status > Stage::Running || self.last_status > Stage::Running
    }

    /// The id of its sidecar, as the control stream attests it: the task's own, which the sidecar cannot outlive.
    pub fn sidecar_id(&self) -> &str {
        &self.arn
    }

    /// The container that is our sidecar, if its definition says which.
    pub fn sidecar<'a>(&'a self, definition: &Definition) -> Option<&'a TaskContainer> {
        let sidecar = definition.containers.iter().find(|container| container.is_sidecar())?;
        self.containers.iter().find(|container| container.name == sidecar.name)
    }
}

impl TaskContainer {
    fn of(container: types::Container) -> Option<Self> {
        let bindings = container.network_bindings.iter().flatten();
        let tcp = |binding: &&types::NetworkBinding| {
            binding.protocol().is_none_or(|protocol| protocol.as_str() == "tcp")
        };
        Some(Self {
            name: container.name.filter(|name| !name.is_empty())?,
            runtime_id: container.runtime_id.filter(|id| !id.is_empty()),
            last_status: Stage::of(container.last_status.as_deref()),
            health: Reported::of(container.health_status.as_ref().map(types::HealthStatus::as_str)),
            bindings: bindings
                .filter(tcp)
                .filter_map(|binding| Some((port(binding.container_port?)?, port(binding.host_port?)?)))
                .collect(),
        })
    }
}

impl Reported {
    /// Reads `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub fn of(text: Option<&str>) -> Self {
        match text {
            Some("HEALTHY") => Self::Healthy,
            Some("UNHEALTHY") => Self::Unhealthy,
            _ => Self::Unknown,
        }
    }

    /// In the words of the model: unknown is "not yet" where there is a check.
    pub fn model(self, checked: bool) -> Health {
        match (self, checked) {
            (Self::Healthy, _) => Health::Healthy,
            (Self::Unhealthy, _) => Health::Unhealthy,
            (Self::Unknown, true) => Health::Starting,
            (Self::Unknown, false) => Health::Unchecked,
        }
    }
}

impl Stage {
    /// Reads a status. What is unknown gets no traffic, and does not end anything.
    pub fn of(text: Option<&str>) -> Self {
        match text.unwrap_or_default() {
            "PENDING" | "CREATED" => Self::Pending,
            "ACTIVATING" => Self::Activating,
            "RUNNING" => Self::Running,
            "DEACTIVATING" => Self::Deactivating,
            "STOPPING" => Self::Stopping,
            "DEPROVISIONING" => Self::Deprovisioning,
            "STOPPED" | "DELETED" => Self::Stopped,
            _ => Self::Provisioning,
        }
    }
}

impl Service {
    /// Reads an answer of the API; none without the ARNs that make a service.
    pub fn of(service: types::Service) -> Option<Self> {
        let targets = service.load_balancers.into_iter().flatten();
        let tags = service.tags.into_iter().flatten();
        Some(Self {
            arn: service.service_arn.filter(|arn| !arn.is_empty())?,
            name: service.service_name?,
            cluster: service.cluster_arn?,
            status: service.status.unwrap_or_default(),
            definition: service.task_definition.unwrap_or_default(),
            targets: targets
                .filter_map(|target| Some((target.container_name?, port(target.container_port?)?)))
                .collect(),
            tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        })
    }
}

/// The last part of an ARN: the name of a cluster or a service, the id of a task.
pub fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Addresses among the details of attachments; ECS spells their names in more than one way.
pub fn attached<'a>(details: impl Iterator<Item = (&'a str, &'a str)>) -> impl Iterator<Item = &'a str> {
    let is = |name: &str| {
        ["privateIPv4Address", "ipv6Address"].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    details.filter(move |(name, _)| is(name)).map(|(_, value)| value)
}

/// Each once, IPv4 first.
pub fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<IpAddr> {
    let all: BTreeSet<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
    all.into_iter().collect()
}

/// By name, whatever the order of the answer.
pub fn containers(all: impl Iterator<Item = TaskContainer>) -> Vec<TaskContainer> {
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// ECS's code and its words, as far as there are any.
pub fn stopped(code: Option<&str>, words: Option<String>) -> Option<String> {
    match (code, words.filter(|words| !words.is_empty())) {
        (Some(code), Some(words)) => Some(format!("{code}: {words}")),
        (Some(code), None) => Some(code.to_owned()),
        (None, words) => words,
    }
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
