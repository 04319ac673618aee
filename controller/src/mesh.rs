//! What the sources see and what the sidecars report, merged into one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_compile::NotReady;
use outrigger_compile::health::{Ledger, Transition};
use outrigger_model::{Snapshot, View, WorkloadId, merge};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::indices::Indices;
use crate::problems::Problems;
use crate::proxies::{Proxies, Proxy};
use crate::source::file::map::strangers;
use crate::source::file::watch::MeshFile;
use crate::source::{Sight, Source};
use crate::status::Problem;

/// How long the first snapshot waits for sidecars that were there before the controller: published without
/// their reports, it would take every endpoint out of traffic.
const ADOPTION: Duration = Duration::from_secs(10);
/// Pause before indices that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(10);

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
        let mut reports = self.proxies.subscribe();
        let (mut adoption, mut health) = (Adoption::default(), Ledger::default());
        let mut retry = Instant::now() + RETRY;
        loop {
            let file_now = file.borrow_and_update().clone();
            self.problems.set("mesh file", file_now.problems.clone());
            let sight = file_now.mesh.as_ref().and_then(|mesh| Some((mesh, source.sight(mesh)?)));
            if let Some((mesh, Sight { view, sidecars, problems })) = sight {
                self.problems.set(source.name(), problems);
                let sidecars = sidecars.into_iter().map(|(workload, beside)| (workload, beside.id)).collect();
                self.proxies.settle(&sidecars);
                self.proxies.retain(|workload, proxy| proxy.connected || sidecars.contains_key(workload));
                let reports = reports.borrow_and_update().clone();
                let view = (source.name(), view);
                let snapshot = self.snapshot(view, (mesh, &file_now.path), &sidecars, &reports);
                if adoption.is_over(&sidecars, &reports)
                    && out.send_if_modified(|held| replace(held, snapshot))
                {
                    health.turn(&out.borrow()).iter().filter(|change| change.is_edge()).for_each(log);
                }
            }
            tokio::select! {
                changed = source.changed() => if !changed { return },
                changed = file.changed() => if changed.is_err() { return },
                _ = reports.changed() => {}
                () = adoption.deadline() => {}
                () = sleep_until(retry), if self.indices.unwritten() => {}
            }
            if retry <= Instant::now() {
                retry = Instant::now() + RETRY;
            }
        }
    }

    fn snapshot(
        &mut self,
        view: (&str, View),
        (mesh, path): (&outrigger_model::Mesh, &str),
        sidecars: &BTreeMap<WorkloadId, String>,
        reports: &BTreeMap<WorkloadId, Proxy>,
    ) -> Snapshot {
        let (mut workloads, conflicts) = merge(&[view]);
        let conflicts = conflicts.into_iter().map(|conflict| Problem {
            kind: "conflict",
            subject: conflict.workload.clone(),
            what: conflict.to_string(),
        });
        self.problems.set("merge", conflicts.collect());
        for (id, workload) in &mut workloads {
            // A report speaks for one sidecar container, never for the one that replaced it.
            let current = |proxy: &&Proxy| sidecars.get(id) == Some(&proxy.sidecar);
            let proxy = reports.get(id).filter(current);
            workload.observed = proxy.and_then(Proxy::observed);
            // In ECS bridge and host mode the platform does not say where a task is: its sidecar called from there.
            if let Some(address) = proxy.and_then(|proxy| proxy.address) {
                let unknown = workload.networks.values_mut().filter(|network| network.addresses.is_empty());
                unknown.for_each(|network| network.addresses = vec![address]);
            }
        }
        let services: BTreeSet<_> = workloads.values().map(outrigger_compile::service_key).collect();
        self.indices.assign(&services);
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
    fn is_over(
        &mut self,
        sidecars: &BTreeMap<WorkloadId, String>,
        reports: &BTreeMap<WorkloadId, Proxy>,
    ) -> bool {
        let (awaited, deadline) = self
            .awaited
            .get_or_insert_with(|| (sidecars.keys().cloned().collect(), Instant::now() + ADOPTION));
        let silent = |id: &WorkloadId| {
            sidecars.contains_key(id) && reports.get(id).is_none_or(|proxy| proxy.report.is_none())
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
