//! Live injection: every running workload gets exactly one sidecar, joined to the run it is in. `plan` says what is
//! to be done, `launch` does it; this loop carries one to the other.

mod captures;
#[cfg(feature = "ecs")]
pub mod ecs;
pub mod farewell;
pub mod gaps;
pub mod launch;
pub mod launches;
pub mod moves;
pub mod plan;
pub mod retry;
mod running;
pub mod template;

use std::path::PathBuf;

use bollard::models::ContainerCreateBody;
use futures_util::StreamExt;
use outrigger_model::{Capture, WorkloadId};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::problems::Problems;
use crate::proxies::Proxies;
use crate::scope::Scope;
use crate::source::docker::connect::connected;
use crate::source::docker::record::Instance;
use crate::source::docker::watch::Seen;
use crate::source::file::watch::MeshFile;

use gaps::Gaps;
use launches::Launches;
use running::Running;
use template::{Filling, Templates};

/// What injection needs to know.
pub struct Injector {
    /// Where the engine listens.
    pub host: String,
    /// What is looked at.
    pub scope: Scope,
    /// The mesh file; nothing is injected before there is one that can be read, or none.
    pub mesh_file: watch::Receiver<MeshFile>,
    /// What injected containers look like.
    pub templates: Templates,
    /// Image of sidecar and capture step.
    pub image: String,
    /// Volume name or host path of the control socket's directory; where sidecars find it.
    pub control: (String, PathBuf),
    /// Further environment of sidecars.
    pub env: Vec<String>,
    /// Where gaps are kept.
    pub gaps: Gaps,
    /// Where problems are told.
    pub problems: Problems,
    /// What sidecars report.
    pub proxies: Proxies,
    /// What is under way; asks to begin nothing new.
    pub launches: Launches,
}

impl Injector {
    /// Runs until the source ends.
    pub async fn run(self, mut seen: watch::Receiver<Seen>) {
        if seen.wait_for(|seen| seen.current).await.is_err() {
            return;
        }
        let docker = connected(&self.host).await;
        let mut reports = self.proxies.subscribe();
        let mut file = self.mesh_file.clone();
        let mut running = Running::new(&self, docker);
        loop {
            let now = seen.borrow_and_update().clone();
            let proxies = reports.borrow_and_update().clone();
            running.serving(&proxies);
            running.step(&now);
            running.capture(&now, &proxies);
            let next_retry = running.next_retry();
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                _ = reports.changed() => {}
                Ok(()) = file.changed() => {}
                Some(done) = running.jobs.next() => running.done(done, &now.containers),
                () = sleep_until(next_retry) => {}
            }
        }
    }
}

impl Injector {
    /// What the sidecar of one run looks like.
    fn sidecar(&self, app: &WorkloadId, instance: &Instance, capture: Capture) -> ContainerCreateBody {
        let target = self.control.1.to_string_lossy();
        self.templates.sidecar(capture, &self.filling(app, instance, &target))
    }

    /// What its capture step looks like.
    fn capture(&self, app: &WorkloadId, instance: &Instance) -> ContainerCreateBody {
        let target = self.control.1.to_string_lossy();
        self.templates.capture(&self.filling(app, instance, &target))
    }

    fn filling<'a>(&'a self, app: &'a WorkloadId, instance: &'a Instance, target: &'a str) -> Filling<'a> {
        Filling {
            mesh: &self.scope.mesh,
            workload: &app.0,
            instance: &instance.started,
            image: &self.image,
            control: (&self.control.0, target),
            env: &self.env,
        }
    }
}
