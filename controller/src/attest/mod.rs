//! Who is at the other end of a control stream. Two ways to know: the kernel and the engine tell of a process on this
//! host; AWS tells of a task that proves its role. Nothing that a caller says of itself is believed.

#[cfg(feature = "ecs")]
mod container;
#[cfg(feature = "ecs")]
mod own;
#[cfg(feature = "ecs")]
mod pace;
mod process;
#[cfg(feature = "ecs")]
pub mod sts;
#[cfg(feature = "ecs")]
pub mod task;

use std::net::IpAddr;
use std::time::Duration;

use outrigger_model::WorkloadId;
#[cfg(feature = "ecs")]
use tokio::sync::watch;

#[cfg(feature = "ecs")]
pub use container::{ContainerAttestor, ContainerRefused};
#[cfg(feature = "ecs")]
pub use own::{Own, own_task};
#[cfg(feature = "ecs")]
pub use pace::Pace;
pub use process::Attestor;

#[cfg(feature = "ecs")]
use crate::source::ecs::record::{Seen, Stage, Task};

/// How long a sidecar may be ahead of the event that tells of it.
const AHEAD: Duration = Duration::from_secs(5);

/// Knows the processes of this host.
#[derive(Clone)]
pub enum Processes {
    /// Sidecars of a mesh of containers.
    Docker(Attestor),
    /// Sidecars of tasks of ECS.
    #[cfg(feature = "ecs")]
    Ecs(ContainerAttestor),
}

impl Processes {
    /// Resolves once the workload is no more, as far as that is known here; the caller's process is another matter.
    pub async fn over(&self, workload: &WorkloadId) {
        match self {
            // A workload is there as long as its container, and its sidecar's process no longer.
            Self::Docker(_) => {
                let _is_not_asked_for = workload;
                std::future::pending().await
            }
            #[cfg(feature = "ecs")]
            Self::Ecs(known) => known.over(workload).await,
        }
    }
}

/// Resolves once ECS has a task no more, or calls it STOPPED. A view that is not whole says nothing of that: the last whole
/// one stays.
#[cfg(feature = "ecs")]
async fn over(tasks: &watch::Receiver<Seen>, workload: &WorkloadId) {
    let gone = |seen: &Seen| {
        let stopped = |task: &Task| task.last_status == Stage::Stopped;
        seen.listed.is_some() && seen.tasks.get(workload).is_none_or(|task| stopped(task))
    };
    if tasks.clone().wait_for(gone).await.is_err() {
        std::future::pending().await
    }
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The workload it stands for.
    pub workload: WorkloadId,
    /// The sidecar's own id: its container's, or its task's.
    pub sidecar: String,
    /// It is to take the place of a sidecar that still runs.
    pub next: bool,
    /// Where it called from; none over a socket of this host.
    pub address: Option<IpAddr>,
}
