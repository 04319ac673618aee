//! What the sources see and what the sidecars report, merged into one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_compile::NotReady;
use outrigger_compile::health::{Ledger, Transition};
use outrigger_model::{ServiceKey, Snapshot, View, WorkloadId, merge};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::indices::Indices;
use crate::problems::Problems;
use crate::proxies::{AllHeard, Proxies};
use crate::source::file::map::strangers;
use crate::source::file::watch::MeshFile;
use crate::source::{Beside, Last, Sight, Source};
use crate::status::Problem;

use joined::Joined;

pub(crate) mod joined;

/// How long the first snapshot waits for sidecars that were there before the controller: published without
/// their reports, it would take every endpoint out of traffic.
const ADOPTION: Duration = Duration::from_secs(10);
/// Pause before indices that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(10);
/// For each workload, how long what follows a change waits for more to come. What is published goes to every sidecar: with 50
/// of them that is over in a millisecond, and with 5,000 one by one would never be over.
const TOGETHER: Duration = Duration::from_micros(40);

/// The merging loop.
pub struct Mesh {
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Virtual addresses.
    pub indices: Indices,
    /// Where problems are told.
    pub problems: Problems,
    /// What sidecars report.
    pub proxies: Proxies,
}

impl Mesh {
    /// Runs until a source ends. `out` changes only when the snapshot does.
    pub async fn run(
        mut self,
        mut source: Source,
        mut file: watch::Receiver<MeshFile>,
        out: watch::Sender<Arc<Snapshot>>,
    ) {
        let mut heard = self.proxies.heard();
        let (mut adoption, mut health) = (Adoption::default(), Ledger::default());
        let (mut last, mut joined) = (None::<Last>, Joined::default());
        let mut retry = Instant::now() + RETRY;
        loop {
            let file_now = file.borrow_and_update().clone();
            self.problems.set("mesh file", file_now.problems.clone());
            let mut rest = Duration::ZERO;
            let sight = file_now.mesh.as_ref().and_then(|mesh| Some((mesh, source.look(mesh, &mut last)?)));
            if let Some((mesh, sight)) = sight {
                let Sight { view, sidecars, problems } = &*sight;
                self.problems.set(source.name(), problems.clone());
                self.proxies.settle(sidecars);
                self.proxies.retain(|workload, heard| heard.connected || sidecars.contains_key(workload));
                let heard = heard.borrow_and_update();
                let view = self.merged((source.name(), view));
                let snapshot = self.snapshot(joined.turn(&view, sidecars, &heard), (mesh, &file_now.path));
                rest = TOGETHER * u32::try_from(view.len()).unwrap_or(u32::MAX);
                if adoption.is_over(sidecars, &heard) && out.send_if_modified(|held| replace(held, snapshot))
                {
                    health.turn(&out.borrow()).iter().filter(|change| change.is_edge()).for_each(log);
                }
            }
            sleep(rest).await;
            tokio::select! {
                changed = source.changed() => if !changed { return },
                changed = file.changed() => if changed.is_err() { return },
                _ = heard.changed() => {}
                () = adoption.deadline() => {}
                () = sleep_until(retry), if self.indices.unwritten() => {}
            }
            if retry <= Instant::now() {
                retry = Instant::now() + RETRY;
            }
        }
    }

    fn merged(&self, view: (&str, &View)) -> View {
        let (workloads, conflicts) = merge(&[view]);
        let conflicts = conflicts.into_iter().map(|conflict| Problem {
            kind: "conflict",
            subject: conflict.workload.clone(),
            what: conflict.to_string(),
        });
        self.problems.set("merge", conflicts.collect());
        workloads
    }

    fn snapshot(&mut self, workloads: View, (mesh, path): (&outrigger_model::Mesh, &str)) -> Snapshot {
        let services = workloads.values().map(|workload| (&workload.namespace, &workload.declared.service));
        // Few, and each of many workloads.
        let services: BTreeSet<_> = services.collect();
        let key = |(namespace, service): (&String, &String)| ServiceKey {
            namespace: namespace.clone(),
            service: service.clone(),
        };
        self.indices.assign(&services.into_iter().map(key).collect());
        self.problems.set("indices", self.indices.problems().clone());
        self.problems.set("services of the mesh file", strangers(mesh, self.indices.given().keys(), path));
        Snapshot { trust_domain: self.trust_domain.clone(), workloads, indices: self.indices.given().clone() }
    }
}

/// A replica came into balancing, or left it.
fn log(change: &Transition) {
    let Transition { name: workload, port, now, .. } = change;
    match now {
        Ok(()) => tracing::info!(workload, port, "ready: it takes traffic"),
        Err(reason @ (NotReady::Stopping | NotReady::Stopped | NotReady::Paused)) => {
            tracing::info!(workload, port, %reason, "it takes no traffic");
        }
        Err(reason) => tracing::warn!(workload, port, %reason, "it takes no traffic"),
    }
}

fn replace(held: &mut Arc<Snapshot>, snapshot: Snapshot) -> bool {
    let changed = **held != snapshot;
    if changed {
        *held = Arc::new(snapshot);
    }
    changed
}

/// The time after the start in which sidecars that were there before come back.
#[derive(Default)]
struct Adoption {
    awaited: Option<(BTreeSet<WorkloadId>, Instant)>,
    over: bool,
}

impl Adoption {
    fn is_over(&mut self, sidecars: &BTreeMap<WorkloadId, Beside>, heard: &AllHeard) -> bool {
        let (awaited, deadline) = self
            .awaited
            .get_or_insert_with(|| (sidecars.keys().cloned().collect(), Instant::now() + ADOPTION));
        let silent = |id: &WorkloadId| {
            sidecars.contains_key(id) && heard.get(id).is_none_or(|heard| heard.observed.is_none())
        };
        if !self.over && (*deadline <= Instant::now() || !awaited.iter().any(silent)) {
            self.over = true;
            tracing::info!(sidecars = awaited.len(), "sidecars found at the start are adopted");
        }
        self.over
    }

    async fn deadline(&self) {
        match &self.awaited {
            Some((_, deadline)) if !self.over => sleep_until(*deadline).await,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
