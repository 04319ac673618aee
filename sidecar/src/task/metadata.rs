//! The task metadata endpoint, version 4: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html>.
//! EC2 and Fargate answer in slightly different shapes, and newer agents say more: an answer is a JSON object, each field of
//! it is read by itself, and one that is absent, or of another kind, is as if not said. What somebody cannot do without it
//! asks for by name ([`Task::arn`]): an agent that leaves a field out must not keep a sidecar from stopping well.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Uri;
use serde_json::{Map, Value};

use super::ask::{self, AskError};

/// Names the endpoint of one container.
pub const VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// Bytes of an answer: ten containers with all their labels have some tens of thousands.
const LIMIT: usize = 1 << 20;
/// A task definition has ten containers at most; the agent adds one or two.
const MAX_CONTAINERS: usize = 64;
/// Addresses of one network interface.
const MAX_ADDRESSES: usize = 64;

/// Where the metadata of this container is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why the metadata is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// This is no container of ECS, or one with an agent before 1.39.
    #[error("{VARIABLE} is not set: a sidecar proves itself to a controller on another host by its ECS task")]
    NotEcs,
    /// No answer.
    #[error("the task's metadata: {0}")]
    Ask(#[from] AskError),
    /// An answer that is none.
    #[error("the task's metadata cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It names no task that we know how to ask about.
    #[error("the task's metadata: `{0}` is not the ARN of a task")]
    Arn(String),
}

/// The ARN of a task, `arn:PARTITION:ecs:REGION:ACCOUNT:task/[CLUSTER/]ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskArn(String);

/// A task, as its agent sees it now. What was not said is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its ARN, as said; see [`Task::arn`].
    pub said_arn: String,
    /// Name (EC2) or ARN (Fargate) of its ECS cluster.
    pub cluster: String,
    /// Family of its definition.
    pub family: String,
    /// Revision of its definition.
    pub revision: String,
    /// The ECS service that it belongs to; not said on every platform.
    pub service: Option<String>,
    /// `RUNNING`, or `STOPPED` once it is to stop.
    pub desired_status: String,
    /// What it is now: `PENDING`, `RUNNING`, `STOPPED`…
    pub known_status: String,
    /// Availability zone, `eu-west-1a`.
    pub zone: Option<String>,
    /// The same for every account, `euw1-az2`.
    pub zone_id: Option<String>,
    /// `EC2`, `FARGATE`, `EXTERNAL`.
    pub launch_type: Option<String>,
    /// Its containers, this one among them.
    pub containers: Vec<Container>,
}

/// One container of a task. What was not said is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id at the engine (EC2), or one of that form (Fargate).
    pub id: String,
    /// Its name in the task definition.
    pub name: String,
    /// `NORMAL`; the agent's own have other types (`CNI_PAUSE`).
    pub kind: String,
    /// `RUNNING`, or `STOPPED` once it is to stop.
    pub desired_status: String,
    /// What it is now: `CREATED`, `RUNNING`, `RESOURCES_PROVISIONED`, `STOPPED`…
    pub known_status: String,
    /// When its last run began, RFC 3339 in UTC; none before it runs.
    pub started_at: Option<String>,
    /// When it was made, likewise; a container that is started again stays the one that it was.
    pub created_at: Option<String>,
    /// How often it was started again; 0 where it has no restart policy.
    pub restarts: u64,
    /// How it ended.
    pub exit_code: Option<i64>,
    /// `HEALTHY`, `UNHEALTHY`, `UNKNOWN`; none: it has no health check.
    pub health: Option<String>,
    /// The definition's labels and those of the agent.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its networks, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

impl Endpoint {
    /// At this URL (`http://169.254.170.2/v4/…`).
    ///
    /// # Errors
    /// It is no URL.
    pub fn new(url: &str) -> Result<Self, MetadataError> {
        let url = url.trim_end_matches('/');
        url.parse().map(Self).map_err(|_| AskError::Url(url.to_owned()).into())
    }

    /// The task now. At most 5 s; one request: agents take 40 in a second from all containers of a host together.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn task(&self) -> Result<Task, MetadataError> {
        let wrong = |_| AskError::Url(self.0.to_string());
        let url: Uri = format!("{}/task", self.0).parse().map_err(wrong)?;
        Task::read(&ask::get(&url, None, LIMIT).await?)
    }

    /// The container that asks; as [`Self::task`].
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn own(&self) -> Result<Container, MetadataError> {
        Container::read(&ask::get(&self.0, None, LIMIT).await?)
    }
}

impl Task {
    /// Reads an answer of `/task`.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn read(answer: &[u8]) -> Result<Self, MetadataError> {
        let said = object(answer)?;
        let containers = said.get("Containers").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            said_arn: text(&said, "TaskARN"),
            cluster: text(&said, "Cluster"),
            family: text(&said, "Family"),
            revision: text(&said, "Revision"),
            service: some(&said, "ServiceName"),
            desired_status: text(&said, "DesiredStatus"),
            known_status: text(&said, "KnownStatus"),
            zone: some(&said, "AvailabilityZone"),
            zone_id: some(&said, "AvailabilityZoneID"),
            launch_type: some(&said, "LaunchType"),
            containers: containers.take(MAX_CONTAINERS).map(container).collect(),
        })
    }

    /// Its ARN: who proves its role needs the region.
    ///
    /// # Errors
    /// It was not said, or is not one of a task.
    pub fn arn(&self) -> Result<TaskArn, MetadataError> {
        TaskArn::parse(&self.said_arn)
    }

    /// It is to stop: the agent tells this here, and a container that others depend on nothing until they are gone.
    pub fn is_stopping(&self) -> bool {
        self.desired_status == "STOPPED"
    }

    /// Its container of that name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }
}

impl Container {
    /// Reads an answer of the endpoint itself.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn read(answer: &[u8]) -> Result<Self, MetadataError> {
        Ok(container(&object(answer)?))
    }

    /// It is none of the definition's: the agent has made it for itself.
    pub fn is_agents(&self) -> bool {
        !matches!(self.kind.as_str(), "" | "NORMAL")
    }
}

impl TaskArn {
    /// Reads an ARN.
    ///
    /// # Errors
    /// It is not one of a task.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let good = match parts.as_slice() {
            ["arn", partition, "ecs", region, account, task] => {
                let named = !partition.is_empty() && !region.is_empty() && !account.is_empty();
                let id = task.strip_prefix("task/").and_then(|path| path.rsplit('/').next());
                named && id.is_some_and(|id| !id.is_empty())
            }
            _ => false,
        };
        let visible = text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic());
        if good && visible {
            Ok(Self(text.to_owned()))
        } else {
            Err(MetadataError::Arn(text.chars().take(200).collect()))
        }
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it runs, `eu-west-1`.
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    /// Its last part.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

fn object(answer: &[u8]) -> Result<Value, MetadataError> {
    Ok(Value::Object(serde_json::from_slice::<Map<String, Value>>(answer)?))
}

fn container(said: &Value) -> Container {
    let labels = said.get("Labels").and_then(Value::as_object).into_iter().flatten();
    let networks = said.get("Networks").and_then(Value::as_array).into_iter().flatten();
    let addresses = networks.flat_map(|network| {
        let of = |key| network.get(key).and_then(Value::as_array).into_iter().flatten();
        of("IPv4Addresses").chain(of("IPv6Addresses")).filter_map(Value::as_str)
    });
    Container {
        id: text(said, "DockerId"),
        name: text(said, "Name"),
        kind: text(said, "Type"),
        desired_status: text(said, "DesiredStatus"),
        known_status: text(said, "KnownStatus"),
        started_at: some(said, "StartedAt"),
        created_at: some(said, "CreatedAt"),
        restarts: said.get("RestartCount").and_then(Value::as_u64).unwrap_or_default(),
        exit_code: said.get("ExitCode").and_then(Value::as_i64),
        health: said.get("Health").and_then(|health| some(health, "status")),
        labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        addresses: addresses.filter_map(|address| address.parse().ok()).take(MAX_ADDRESSES).collect(),
    }
}

fn text(said: &Value, key: &str) -> String {
    some(said, key).unwrap_or_default()
}

fn some(said: &Value, key: &str) -> Option<String> {
    said.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;
