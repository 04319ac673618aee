//! Which task of ECS a process on the other end of the control socket stands for, where the controller runs on the same EC2
//! instance: the engine says which container has the process, labels that the ECS agent wrote say which task has the
//! container, and the view of ECS says whether that task is one of ours, and runs where the controller does.

use outrigger_inject::ecs::SIDECAR;
use outrigger_model::WorkloadId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::own::Own;
use super::{AHEAD, Caller};
use crate::source::docker::record::Container;
use crate::source::docker::watch::Seen as Engine;
use crate::source::ecs::record::{NetworkMode, Seen, last_part};

/// The agent writes it last, over what a definition says.
pub(super) const TASK: &str = "com.amazonaws.ecs.task-arn";
/// The container's name in its definition, written the same way.
const CONTAINER: &str = "com.amazonaws.ecs.container-name";

/// Knows the tasks of this EC2 instance by the first process of their sidecars.
#[derive(Clone)]
pub struct ContainerAttestor {
    engine: watch::Receiver<Engine>,
    tasks: watch::Receiver<Seen>,
    own: watch::Receiver<Own>,
}

/// Why a process is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerRefused {
    /// One of the two was not seen yet.
    #[error("the controller does not know yet: {0}")]
    NoView(&'static str),
    /// It is not the first process of a container of ours.
    #[error(
        "process {0} is not the sidecar of an ECS task on this instance: the socket is for them alone, others call over TLS"
    )]
    Stranger(u32),
    /// It is of another container.
    #[error("process {pid} is of the container {container}: for a task only {SIDECAR} speaks")]
    Container {
        /// Of the caller.
        pid: u32,
        /// What the agent calls it.
        container: String,
    },
    /// No such task in the watched clusters.
    #[error("task {0} is not of the watched ECS clusters (OUTRIGGER_CLUSTERS)")]
    Unknown(String),
    /// The controller cannot tell which instance it is on.
    #[error(
        "the controller is no task of ECS on an EC2 instance itself, so that it cannot tell which tasks are beside it: run it \
         as one, or inject the task with --control https://HOST:PORT"
    )]
    NoInstance,
    /// ECS has put it elsewhere.
    #[error(
        "task {0} runs on another EC2 instance than the controller: its labels here are not the ECS agent's"
    )]
    Elsewhere(String),
    /// Its definition has no sidecar.
    #[error("task {0} is not meshed: its definition has no container of ours (outrigger inject ecs)")]
    NotMeshed(String),
    /// It is to stop, or has stopped.
    #[error("task {0} is stopping")]
    Stopping(String),
    /// Nothing would say where peers reach it.
    #[error(
        "task {0} has no address of its own (bridge or host mode), and a call over the socket does not tell one: inject it \
         with --control https://HOST:PORT, or write \"networkMode\": \"awsvpc\""
    )]
    NoAddress(String),
}

impl ContainerRefused {
    /// It is no fault of the caller: it may be right the next time.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NoView(_))
    }

    /// The task's id, where the agent has said so.
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::Unknown(task)
            | Self::Elsewhere(task)
            | Self::NotMeshed(task)
            | Self::Stopping(task)
            | Self::NoAddress(task) => Some(task),
            Self::NoView(_) | Self::Stranger(_) | Self::Container { .. } | Self::NoInstance => None,
        }
    }

    /// Events that are on their way may show the container, or the task.
    fn is_early(&self) -> bool {
        matches!(self, Self::NoView(_) | Self::Stranger(_) | Self::Unknown(_))
    }
}

impl ContainerAttestor {
    /// Looks into what the Docker source sees of the instance and what the ECS source sees.
    pub fn new(
        engine: watch::Receiver<Engine>,
        tasks: watch::Receiver<Seen>,
        own: watch::Receiver<Own>,
    ) -> Self {
        Self { engine, tasks, own }
    }

    /// The task whose sidecar has this first process, in the host's numbering; waits at most 5 s for both to be seen. The
    /// caller holds the pidfd or compares start times, so that the number still names the same process afterwards.
    ///
    /// # Errors
    /// See [`ContainerRefused`].
    pub async fn caller(&self, pid: u32) -> Result<Caller, ContainerRefused> {
        let (mut engine, mut tasks, mut own) = (self.engine.clone(), self.tasks.clone(), self.own.clone());
        let end = Instant::now() + AHEAD;
        loop {
            let found =
                judge(&engine.borrow_and_update(), &tasks.borrow_and_update(), &own.borrow_and_update(), pid);
            if !found.as_ref().is_err_and(ContainerRefused::is_early) {
                return found;
            }
            let more = tokio::select! {
                changed = engine.changed() => changed.is_ok(),
                changed = tasks.changed() => changed.is_ok(),
                changed = own.changed() => changed.is_ok(),
                () = sleep_until(end) => false,
            };
            if !more {
                return found;
            }
        }
    }
}

impl ContainerAttestor {
    /// Resolves once the task is over.
    pub async fn over(&self, workload: &WorkloadId) {
        super::over(&self.tasks, workload).await;
    }
}

/// The task of a process, if everything agrees.
fn judge(engine: &Engine, seen: &Seen, own: &Own, pid: u32) -> Result<Caller, ContainerRefused> {
    if engine.listed.is_none() {
        return Err(ContainerRefused::NoView("the containers of its instance"));
    }
    if seen.listed.is_none() {
        return Err(ContainerRefused::NoView("the tasks of its clusters"));
    }
    let has_pid = |container: &&Container| container.instance().is_some_and(|run| run.pid == pid);
    let container = engine.containers.values().find(has_pid).ok_or(ContainerRefused::Stranger(pid))?;
    let arn = container.label(TASK).ok_or(ContainerRefused::Stranger(pid))?;
    if container.label(CONTAINER) != Some(SIDECAR) {
        let container = container.label(CONTAINER).unwrap_or(&container.name).to_owned();
        return Err(ContainerRefused::Container { pid, container });
    }
    let id = || last_part(arn).to_owned();
    let task = seen.tasks.values().find(|task| task.arn == arn);
    let task = task.ok_or_else(|| ContainerRefused::Unknown(id()))?;
    // Who may start containers here can forge labels, and then at most those of tasks that ECS has put here.
    if task.container_instance.as_deref() != Some(instance(seen, own)?) {
        return Err(ContainerRefused::Elsewhere(id()));
    }
    let definition = seen.definitions.get(&task.definition).filter(|definition| definition.sidecar);
    let definition = definition.ok_or_else(|| ContainerRefused::NotMeshed(id()))?;
    if task.is_stopping() {
        return Err(ContainerRefused::Stopping(id()));
    }
    if definition.network_mode != NetworkMode::Awsvpc {
        return Err(ContainerRefused::NoAddress(id()));
    }
    let (workload, sidecar) = (task.workload(), task.sidecar_id().to_owned());
    Ok(Caller { workload, sidecar, next: false, address: None })
}

/// The EC2 instance that the controller's own task is on.
fn instance<'a>(seen: &'a Seen, own: &Own) -> Result<&'a str, ContainerRefused> {
    let arn = match own {
        Own::Unasked => return Err(ContainerRefused::NoView("its own container")),
        Own::NoTask => return Err(ContainerRefused::NoInstance),
        Own::Task(arn) => arn,
    };
    let task = seen.tasks.values().find(|task| task.arn == *arn);
    let task = task.ok_or(ContainerRefused::NoView("its own task: is its cluster in OUTRIGGER_CLUSTERS?"))?;
    task.container_instance.as_deref().ok_or(ContainerRefused::NoInstance)
}

#[cfg(test)]
mod tests;
