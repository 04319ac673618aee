//! A holder that starts anew has a new network namespace; what was joined to it is stranded in the old one, which is
//! dead, or the engine tried to start it too early and gave up. `plan` says who; this loop starts them again.

mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{RestartContainerOptions, StartContainerOptions};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use outrigger_model::WorkloadId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::inject::retry::Retries;
use crate::problems::Problems;
use crate::proxies::{Proxies, Proxy};
use crate::scope::Scope;
use crate::source::docker::connect::connected;
use crate::source::docker::watch::Seen;
use crate::status::Problem;

use plan::{Again, Step};

/// Longest sleep without a reason to look again.
const IDLE: Duration = Duration::from_secs(60);

/// Starts again what lost its namespace.
pub struct Healer {
    /// Where the engine listens.
    pub host: String,
    /// What is looked at.
    pub scope: Scope,
    /// Where problems are told.
    pub problems: Problems,
    /// What sidecars report: an application follows its sidecar.
    pub proxies: Proxies,
}

type Done = (Step, Result<(), bollard::errors::Error>);

impl Healer {
    /// Runs until the source ends.
    pub async fn run(self, mut seen: watch::Receiver<Seen>) {
        if seen.wait_for(|seen| seen.current).await.is_err() {
            return;
        }
        let docker = connected(&self.host).await;
        let mut reports = self.proxies.subscribe();
        let mut jobs: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        // What was done, by container: until the engine tells of another run of it, it is not done again.
        let mut done: BTreeMap<String, Again> = BTreeMap::new();
        let mut retries = Retries::default();
        loop {
            let now = seen.borrow_and_update().clone();
            let proxies: BTreeMap<WorkloadId, Proxy> = reports.borrow_and_update().clone();
            let found = plan::plan(&now.containers, &self.scope, &proxies);
            let known = |id: &str| found.steps.iter().any(|step| step.id == id);
            retries.retain(|id| known(&id.0));
            done.retain(|id, _| known(id));
            let waiting = retries.waiting(Instant::now());
            for step in found.steps.iter().filter(|_| now.current) {
                let paused = waiting.iter().any(|id| id.0 == step.id);
                if paused || done.get(&step.id) == Some(&step.again) {
                    continue;
                }
                done.insert(step.id.clone(), step.again.clone());
                tracing::info!(container = step.name, why = step.why(), "starting it again");
                jobs.push(begin(docker.clone(), step.clone()).boxed());
            }
            let failed = retries.problems().into_iter();
            self.problems.set("healing", failed.chain(found.problems).collect());
            let next = retries.next(Instant::now()).unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { return },
                _ = reports.changed() => {}
                Some((step, result)) = jobs.next() => if let Err(error) = result {
                    done.remove(&step.id);
                    retries.failed(&WorkloadId(step.id.clone()), failure(&step, &error), Instant::now());
                },
                () = sleep_until(next) => {}
            }
        }
    }
}

async fn begin(docker: Docker, step: Step) -> Done {
    let result = match step.again {
        Again::Restart { .. } => {
            let t = step.grace.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
            docker
                .restart_container(&step.id, Some(RestartContainerOptions { t, ..Default::default() }))
                .await
        }
        Again::Start { .. } => docker.start_container(&step.id, None::<StartContainerOptions>).await,
    };
    (step, result)
}

fn failure(step: &Step, error: &bollard::errors::Error) -> Problem {
    let what = format!(
        "{}, and the Docker engine refused to start it again ({error}); it is tried again. By hand: docker restart {}",
        step.why(),
        step.name
    );
    Problem { kind: "healing", subject: format!("container {}", step.name), what }
}
