//! What the task metadata endpoint (version 4) says of a task, and what follows from it. Pure.

use serde::Deserialize;

/// `GET ${ECS_CONTAINER_METADATA_URI_V4}/task`, as far as it matters here; times are RFC 3339, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskState {
    /// `STOPPED` once ECS wants the task to end; nothing else is told to a container that others depend on.
    #[serde(default)]
    pub desired_status: String,
    /// The least far of its containers' states: `RUNNING` once each of them runs or has run.
    #[serde(default)]
    pub known_status: String,
    /// Containers, those of the agent too. One whose image is still pulled may be missing.
    #[serde(default)]
    pub containers: Vec<Container>,
}

/// One container of a task; also `GET ${ECS_CONTAINER_METADATA_URI_V4}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Names the run.
    #[serde(default)]
    pub docker_id: String,
    /// From the task definition.
    #[serde(default)]
    pub name: String,
    /// `PULLED`, `CREATED`, `RUNNING`, `STOPPED` and others.
    #[serde(default)]
    pub known_status: String,
    /// None before it runs.
    #[serde(default)]
    pub started_at: Option<String>,
    /// `NORMAL`, or `CNI_PAUSE` and the like for those of the agent.
    #[serde(rename = "Type", default)]
    pub kind: Option<String>,
}

const STOPPED: &str = "STOPPED";
const RUNNING: &str = "RUNNING";

/// What a sidecar is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Take nothing new from peers, and carry what the application calls.
    Leave,
    /// End: the application has ended.
    End,
}

impl TaskState {
    /// What the sidecar `own` is to do; `told`: it was sent SIGTERM.
    pub fn order(&self, own: &Container, told: bool) -> Order {
        let stops = told || self.desired_status == STOPPED;
        // One that is yet to come may not be in the list.
        let all_came = self.known_status == RUNNING && own.start().is_some();
        let mut applications = self.applications(own).peekable();
        let there = applications.peek().is_some();
        let ended = applications.all(|container| container.known_status == STOPPED);
        match (ended, stops) {
            (true, _) if told || there && (stops || all_came) => Order::End,
            (_, true) => Order::Leave,
            (_, false) => Order::Serve,
        }
    }

    /// The containers that the sidecar stands beside: not what ran before it was started, which it depends on (a log router,
    /// the capture step) and which ECS stops after it.
    fn applications<'a>(&'a self, own: &'a Container) -> impl Iterator<Item = &'a Container> {
        let own_start = own.start();
        self.containers.iter().filter(move |container| {
            let ours = container.docker_id == own.docker_id && container.name == own.name;
            let agents = container.kind.as_deref().is_some_and(|kind| kind != "NORMAL");
            let before = matches!((container.start(), own_start), (Some(start), Some(own)) if start < own);
            !ours && !agents && !before
        })
    }
}

impl Container {
    /// Compares as times do: without the `Z`, a time with fewer digits is the beginning of a later one.
    fn start(&self) -> Option<&str> {
        self.started_at.as_deref().map(|time| time.trim_end_matches('Z'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "2026-11-23T10:00:02.2Z";

    fn container(name: &str, status: &str, started: Option<&str>) -> Container {
        Container {
            docker_id: format!("id-{name}"),
            name: name.into(),
            known_status: status.into(),
            started_at: started.map(Into::into),
            kind: Some("NORMAL".into()),
        }
    }

    fn order(desired: &str, others: &[Container], told: bool) -> Order {
        let own = container("outrigger-sidecar", "RUNNING", Some(OWN));
        let pause = Container { kind: Some("CNI_PAUSE".into()), ..container("~pause", "RUNNING", None) };
        let mut containers = vec![own.clone(), pause];
        containers.extend_from_slice(others);
        TaskState { desired_status: desired.into(), known_status: RUNNING.into(), containers }
            .order(&own, told)
    }

    #[test]
    fn it_leaves_at_the_order_and_ends_after_the_application() {
        let later = Some("2026-11-23T10:00:02.25Z");
        let running = container("app", "RUNNING", later);
        let stopped = container("app", "STOPPED", later);
        let coming = container("app", "CREATED", None);
        let table = [
            ("RUNNING", vec![running.clone()], false, Order::Serve),
            ("RUNNING", vec![coming.clone()], false, Order::Serve),
            // Nobody but the sidecar: there is nothing to end after.
            ("RUNNING", vec![], false, Order::Serve),
            ("STOPPED", vec![running.clone()], false, Order::Leave),
            ("STOPPED", vec![coming], false, Order::Leave),
            ("STOPPED", vec![stopped.clone()], false, Order::End),
            // SIGTERM first, as in a task where nobody depends on the sidecar.
            ("RUNNING", vec![running.clone()], true, Order::Leave),
            ("RUNNING", vec![], true, Order::End),
            // A batch task.
            ("RUNNING", vec![stopped.clone()], false, Order::End),
            ("RUNNING", vec![stopped, running], false, Order::Serve),
        ];
        for (desired, others, told, expected) in table {
            assert_eq!(order(desired, &others, told), expected, "{desired} {others:?} {told}");
        }
    }

    /// A container that the application waits for has ended, and the application's image is still being pulled.
    #[test]
    fn a_task_that_is_still_starting_is_not_over() {
        let own = container("outrigger-sidecar", RUNNING, Some(OWN));
        let step = container("migrate", STOPPED, Some("2026-11-23T10:00:07Z"));
        let task = |known: &str, own: &Container| TaskState {
            desired_status: RUNNING.into(),
            known_status: known.into(),
            containers: vec![own.clone(), step.clone()],
        };
        assert_eq!(task("CREATED", &own).order(&own, false), Order::Serve);
        assert_eq!(task(RUNNING, &own).order(&own, false), Order::End);
        let unknown = Container { started_at: None, ..own };
        assert_eq!(task(RUNNING, &unknown).order(&unknown, false), Order::Serve);
    }

    /// ECS stops them after the sidecar: waiting for them would be waiting for each other.
    #[test]
    fn what_ran_before_the_sidecar_is_not_waited_for() {
        let router = container("log", "RUNNING", Some("2026-11-23T10:00:02Z"));
        let step = container("outrigger-capture", "STOPPED", Some("2026-11-23T10:00:01.999Z"));
        let app = |status| container("app", status, Some("2026-11-23T10:00:09.1Z"));
        assert_eq!(order("RUNNING", &[router.clone(), step.clone()], false), Order::Serve);
        assert_eq!(order("RUNNING", &[router.clone(), step.clone(), app("RUNNING")], true), Order::Leave);
        assert_eq!(order("STOPPED", &[router, step, app("STOPPED")], true), Order::End);
    }
}
