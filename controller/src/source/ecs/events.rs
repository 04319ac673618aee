//! EventBridge's envelopes, as a queue hands them over. Read leniently: what is not known here is passed over, and what
//! cannot be read never stands in the way of what comes after it.

use std::net::IpAddr;

use outrigger_model::Health;
use serde_json::Value;

use super::record::{
    Reported, Stage, Task, TaskContainer, addresses, attached, containers, last_part, stopped,
};

/// Bytes of a message; SQS itself takes at most 1 MiB.
const LARGEST: usize = 1 << 20;
/// Containers of a task that are looked at; ECS allows 10.
const CONTAINERS: usize = 64;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// "ECS Task State Change".
    Task(Box<Task>),
    /// "ECS Service Action" or "ECS Deployment State Change": the ARN of the service to look at again.
    Service(String),
    /// Something else.
    Other,
    /// No envelope, or one about a task that does not say which.
    Unreadable,
}

/// Reads the body of one message.
pub fn read(body: &str) -> Event {
    let envelope: Value = match serde_json::from_str(body) {
        Ok(envelope) if body.len() <= LARGEST => envelope,
        _ => return Event::Unreadable,
    };
    let Some(kind) = text(&envelope, "detail-type") else { return Event::Unreadable };
    match kind {
        "ECS Task State Change" => match envelope.get("detail").and_then(task) {
            Some(task) => Event::Task(Box::new(task)),
            None => Event::Unreadable,
        },
        "ECS Service Action" | "ECS Deployment State Change" => {
            let arns = envelope.get("resources").and_then(Value::as_array).into_iter().flatten();
            let mut arns = arns.filter_map(Value::as_str).filter(|arn| arn.contains(":service/"));
            arns.next().map_or(Event::Other, |arn| Event::Service(arn.to_owned()))
        }
        _ => Event::Other,
    }
}

/// `detail` has the shape of the API's task, with times as text.
fn task(detail: &Value) -> Option<Task> {
    let owned = |key: &str| text(detail, key).map(str::to_owned);
    let arn = owned("taskArn")?;
    let group = owned("group").unwrap_or_default();
    Some(Task {
        id: last_part(&arn).to_owned(),
        cluster: owned("clusterArn")?,
        service: group.strip_prefix("service:").map(str::to_owned),
        definition: owned("taskDefinitionArn")?,
        role: detail.get("overrides").and_then(|said| text(said, "taskRoleArn")).map(str::to_owned),
        last_status: Stage::of(text(detail, "lastStatus")),
        desired_status: Stage::of(text(detail, "desiredStatus")),
        health: health(text(detail, "healthStatus")),
        addresses: task_addresses(detail),
        zone: owned("availabilityZone"),
        container_instance: owned("containerInstanceArn"),
        started_by: owned("startedBy"),
        containers: containers(list(detail, "containers").take(CONTAINERS).filter_map(container)),
        version: number(detail.get("version")?)?,
        stopped: stopped(text(detail, "stopCode"), owned("stoppedReason")),
        group,
        arn,
    })
}

fn health(said: Option<&str>) -> Health {
    Reported::of(said).model(false)
}

fn task_addresses(detail: &Value) -> Vec<IpAddr> {
    let details = list(detail, "attachments").flat_map(|attachment| list(attachment, "details"));
    let details = details.filter_map(|pair| Some((text(pair, "name")?, text(pair, "value")?)));
    let interfaces = list(detail, "containers").flat_map(|container| list(container, "networkInterfaces"));
    let on_interfaces = interfaces.filter_map(Value::as_object).flat_map(|interface| {
        attached(interface.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))))
            .collect::<Vec<_>>()
    });
    addresses(attached(details).chain(on_interfaces))
}

fn container(container: &Value) -> Option<TaskContainer> {
    let port = |binding: &Value, key: &str| {
        let port = binding.get(key).and_then(number).and_then(|port| u16::try_from(port).ok());
        port.filter(|port| *port != 0)
    };
    let bindings = list(container, "networkBindings");
    let tcp = bindings.filter(|binding| text(binding, "protocol").is_none_or(|protocol| protocol == "tcp"));
    Some(TaskContainer {
        name: text(container, "name")?.to_owned(),
        runtime_id: text(container, "runtimeId").map(str::to_owned),
        last_status: Stage::of(text(container, "lastStatus")),
        health: Reported::of(text(container, "healthStatus")),
        bindings: tcp
            .filter_map(|binding| Some((port(binding, "containerPort")?, port(binding, "hostPort")?)))
            .collect(),
    })
}

/// An empty text is none.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Also as text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
