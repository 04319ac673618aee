//! The steps of injection that are under way, and what became of those that ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::Docker;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use outrigger_model::{Capture, View, WorkloadId};
use tokio::time::Instant;

use super::Injector;
use super::captures::Captures;
use super::launch::{self, Ended, LaunchError, Launched, Pair};
use super::launches::Launch;
use super::plan::{self, Action, Busy};
use super::retry::Retries;
use crate::proxies::Proxy;
use crate::source::docker::map::map;
use crate::source::docker::record::{Container, Instance};
use crate::source::docker::sidecars::{injected, injected_of};
use crate::source::docker::time::now_nanos;
use crate::source::docker::tracker::Containers;
use crate::source::docker::watch::Seen;
use crate::status::Problem;

/// How long a started sidecar may be missing from what the engine tells before it is made again.
const UNSEEN: Duration = Duration::from_secs(5);

/// A step that came to its end.
pub(super) enum Done {
    Captured {
        app: WorkloadId,
        instance: Instance,
        result: Result<Box<Launched>, LaunchError>,
    },
    Injected {
        app: WorkloadId,
        instance: Instance,
        result: Result<Box<Pair>, LaunchError>,
    },
    Ended {
        app: WorkloadId,
        instance: Instance,
        id: String,
        name: String,
        sidecar: bool,
        ended: Ended,
        runs: bool,
    },
    Touched {
        id: String,
        again: bool,
    },
    Renamed,
}

/// A sidecar that was started and is not serving yet.
struct Fresh {
    sidecar: String,
    instance: Instance,
    since: Instant,
    seen: bool,
}

/// What is under way.
pub(super) struct Running<'a> {
    injector: &'a Injector,
    docker: Docker,
    pub(super) jobs: FuturesUnordered<BoxFuture<'a, Done>>,
    launching: BTreeSet<WorkloadId>,
    fresh: BTreeMap<WorkloadId, Fresh>,
    touched: BTreeSet<String>,
    renamed: BTreeMap<String, String>,
    /// Started containers; true once they have ended.
    started: BTreeMap<String, bool>,
    retries: Retries,
    captures: Captures,
    /// Workloads without rules by their capture.
    ruleless: BTreeSet<WorkloadId>,
}

impl<'a> Running<'a> {
    pub(super) fn new(injector: &'a Injector, docker: Docker) -> Self {
        Self {
            injector,
            docker,
            jobs: FuturesUnordered::new(),
            launching: BTreeSet::new(),
            fresh: BTreeMap::new(),
            touched: BTreeSet::new(),
            renamed: BTreeMap::new(),
            started: BTreeMap::new(),
            retries: Retries::default(),
            captures: Captures::default(),
            ruleless: BTreeSet::new(),
        }
    }

    /// Begins what can be done now.
    pub(super) fn step(&mut self, seen: &Seen) {
        self.tidy(&seen.containers);
        let mesh = self.injector.mesh_file.borrow().mesh.clone();
        if let Some(mesh) = mesh.filter(|_| seen.current) {
            let view = map(&seen.containers, &self.injector.scope, &mesh).view;
            self.note_rules(&view, &seen.containers);
            let (touched, renamed) = (self.touched.clone(), self.renamed.clone());
            let started = self.started.keys().cloned().collect();
            let busy = Busy { injecting: self.injecting(), touched, renamed, started };
            for action in plan::plan(&seen.containers, &view, &self.injector.scope.mesh, &busy) {
                self.begin(action, &seen.containers);
            }
        }
        self.injector.problems.set("injection", self.retries.problems());
    }

    /// The mesh file may give a running workload another capture: one that is to have rules from now on has none yet.
    fn note_rules(&mut self, view: &View, containers: &Containers) {
        let ruleless = view.values().filter(|workload| workload.declared.capture != Capture::Transparent);
        let ruleless = ruleless.map(|workload| workload.id.clone()).collect();
        let before = std::mem::replace(&mut self.ruleless, ruleless);
        for app in before.difference(&self.ruleless).filter(|app| view.contains_key(*app)) {
            if let Some(instance) = containers.get(&app.0).and_then(Container::instance) {
                self.captures.missing(app.clone(), instance.clone());
            }
        }
    }

    fn injecting(&self) -> BTreeSet<WorkloadId> {
        let unseen = self.fresh.iter().filter(|(_, fresh)| !fresh.seen && fresh.since.elapsed() < UNSEEN);
        let waiting = self.retries.waiting(Instant::now());
        self.launching.iter().chain(unseen.map(|(app, _)| app)).cloned().chain(waiting).collect()
    }

    /// Forgets what is gone; sees what has come.
    fn tidy(&mut self, containers: &Containers) {
        let runs = |app: &WorkloadId| containers.get(&app.0).is_some_and(|app| app.instance().is_some());
        self.retries.retain(|app| runs(app));
        self.touched.retain(|id| containers.contains_key(id));
        self.renamed.retain(|id, _| containers.contains_key(id));
        self.started.retain(|id, ended| !*ended || containers.contains_key(id));
        self.injector.gaps.retain(|app| containers.contains_key(&app.0));
        self.fresh.retain(|app, fresh| {
            containers.get(&app.0).and_then(Container::instance) == Some(&fresh.instance)
        });
        for fresh in self.fresh.values_mut() {
            fresh.seen |= containers.get(&fresh.sidecar).is_some_and(|sidecar| sidecar.instance().is_some());
        }
    }

    fn begin(&mut self, action: Action, containers: &Containers) {
        let docker = self.docker.clone();
        let job = match action {
            Action::Inject { app, instance, capture } => {
                let Some(container) = containers.get(&app.0).cloned() else { return };
                let Some(launch) = self.injector.launches.begin() else { return };
                self.launching.insert(app.clone());
                self.inject(app, instance, capture, container, launch)
            }
            Action::Remove { id, name, why } => {
                tracing::info!(container = name, why, "removing");
                self.touched.insert(id.clone());
                async move {
                    let gone = launch::remove(&docker, &id).await;
                    Done::Touched { id, again: !gone }
                }
                .boxed()
            }
            Action::RemoveOrphan { id, app } => {
                tracing::info!(
                    container = id,
                    app,
                    "it belongs to a container that is not in scope: looking"
                );
                self.touched.insert(id.clone());
                async move {
                    // Its rules would refuse every connection of an application that still runs.
                    let runs =
                        launch::inspect(&docker, &app).await.is_some_and(|app| app.instance().is_some());
                    let gone = runs || launch::remove(&docker, &id).await;
                    Done::Touched { id, again: !gone }
                }
                .boxed()
            }
            Action::Rename { id, name } => {
                self.renamed.insert(id.clone(), name.clone());
                async move {
                    launch::rename(&docker, &id, &name).await;
                    Done::Renamed
                }
                .boxed()
            }
        };
        self.jobs.push(job);
    }

    fn inject(
        &self,
        app: WorkloadId,
        instance: Instance,
        capture: Capture,
        container: Container,
        launch: Launch,
    ) -> BoxFuture<'a, Done> {
        let (injector, docker) = (self.injector, self.docker.clone());
        async move {
            let _until_it_is_whole = launch;
            let sidecar = injector.sidecar(&app, &instance, capture);
            // Nothing is redirected otherwise.
            let step = (capture == Capture::Transparent).then(|| injector.capture(&app, &instance));
            let result = launch::launch_pair(&docker, &container, sidecar, step).await;
            Done::Injected { app, instance, result: result.map(Box::new) }
        }
        .boxed()
    }

    /// Sets the rules of workloads that lack them, once their sidecar serves: before, they would only refuse.
    pub(super) fn capture(&mut self, seen: &Seen, proxies: &BTreeMap<WorkloadId, Proxy>) {
        let mut sidecars = injected_of(&seen.containers, &self.injector.scope.mesh);
        sidecars.retain(|app, _| !self.ruleless.contains(app));
        let made_here = |sidecar: &str| self.started.contains_key(sidecar);
        self.captures.look(&sidecars, proxies, &seen.containers, made_here);
        let mut busy: BTreeSet<WorkloadId> = self.retries.waiting(Instant::now()).into_iter().collect();
        busy.extend(self.launching.iter().cloned());
        for (app, instance) in self.captures.due(&sidecars, proxies, &busy) {
            let Some(container) = seen.containers.get(&app.0).cloned().filter(|_| seen.current) else {
                continue;
            };
            let Some(launch) = self.injector.launches.begin() else { return };
            self.launching.insert(app.clone());
            let (injector, docker) = (self.injector, self.docker.clone());
            let job = async move {
                let _until_it_is_whole = launch;
                let body = injector.capture(&app, &instance);
                let result = launch::launch_capture(&docker, &container, body).await;
                Done::Captured { app, instance, result: result.map(Box::new) }
            };
            self.jobs.push(job.boxed());
        }
    }

    pub(super) fn done(&mut self, done: Done, containers: &Containers) {
        match done {
            Done::Renamed => {}
            Done::Touched { id, again } => {
                if again {
                    self.touched.remove(&id);
                }
            }
            Done::Captured { app, instance, result } => {
                self.launching.remove(&app);
                match result {
                    Ok(capture) => self.follow(app, instance, false, *capture),
                    Err(_) => {
                        self.captures.missing(app.clone(), instance);
                        self.retries.failed_silently(&app, Instant::now());
                    }
                }
            }
            Done::Injected { app, instance, result } => {
                self.launching.remove(&app);
                self.injected(app, instance, result, containers);
            }
            Done::Ended { app, instance, id, name, sidecar, ended, runs } => {
                let standing = injected(containers, &self.injector.scope.mesh);
                // Another sidecar has taken its place.
                let replaced = standing.get(&app).is_some_and(|all| all.iter().any(|other| other.id != id));
                self.started.insert(id, true);
                let asked = containers.get(&app.0).is_some_and(|app| app.stopping);
                let current = runs && !asked && is_current(containers, &app, &instance);
                let failed = if sidecar { current && !replaced } else { current && ended.code != Some(0) };
                if failed && !sidecar {
                    self.captures.missing(app.clone(), instance);
                }
                if current && !sidecar && !failed {
                    self.retries.succeeded(&app, Instant::now());
                }
                if failed {
                    self.retries.failed(&app, ended_problem(&name, sidecar, &ended), Instant::now());
                }
            }
        }
    }

    fn injected(
        &mut self,
        app: WorkloadId,
        instance: Instance,
        result: Result<Box<Pair>, LaunchError>,
        containers: &Containers,
    ) {
        let name = containers.get(&app.0).map_or_else(|| app.0.clone(), |app| app.name.clone());
        match result {
            Ok(launched) => {
                let (sidecar, capture) = *launched;
                let ms = since_start_ms(&instance);
                tracing::info!(workload = name, sidecar = sidecar.name, started_after_ms = ms, "injected");
                let (since, seen) = (Instant::now(), false);
                let fresh = Fresh { sidecar: sidecar.id.clone(), instance: instance.clone(), since, seen };
                self.fresh.insert(app.clone(), fresh);
                self.follow(app.clone(), instance.clone(), true, sidecar);
                if let Some(capture) = capture {
                    self.follow(app, instance, false, capture);
                }
            }
            // The next run waits for nothing.
            Err(LaunchError::Gone) if !is_current(containers, &app, &instance) => {}
            Err(LaunchError::Gone) => {
                // The event that says so is on its way; should the engine err, it is tried again.
                self.retries.failed_silently(&app, Instant::now());
            }
            Err(error) => {
                // One missing image is one problem, whatever the number of workloads.
                let subject = match &error {
                    LaunchError::NoImage(image) => format!("image {image}"),
                    _ => format!("container {name}"),
                };
                let problem = Problem { kind: "injection", subject, what: error.to_string() };
                self.retries.failed(&app, problem, Instant::now());
            }
        }
    }

    fn follow(&mut self, app: WorkloadId, instance: Instance, sidecar: bool, launched: Launched) {
        let (id, name) = (launched.id.clone(), launched.name.clone());
        self.started.insert(id.clone(), false);
        let docker = self.docker.clone();
        let job = async move {
            let ended = launched.ended().await;
            // An application that died takes its sidecar along, and the engine tells of the sidecar first.
            let runs = launch::runs(&docker, &app.0, Some(&instance)).await;
            Done::Ended { app, instance, id, name, sidecar, ended, runs }
        };
        self.jobs.push(job.boxed());
    }

    /// Measures the gap of sidecars that serve now.
    pub(super) fn serving(&mut self, proxies: &BTreeMap<WorkloadId, Proxy>) {
        let ready = |app: &WorkloadId, fresh: &Fresh| {
            let proxy = proxies.get(app).filter(|proxy| proxy.sidecar == fresh.sidecar);
            proxy.and_then(Proxy::observed).is_some_and(|observed| observed.ready)
        };
        let serving: Vec<_> =
            self.fresh.iter().filter(|(app, fresh)| ready(app, fresh)).map(|(app, _)| app.clone()).collect();
        for app in serving {
            let Some(fresh) = self.fresh.remove(&app) else { continue };
            let gap_ms = since_start_ms(&fresh.instance);
            tracing::info!(workload = app.0, gap_ms, "its sidecar serves");
            self.injector.gaps.measured(&app, gap_ms);
            self.retries.succeeded(&app, Instant::now());
        }
    }

    pub(super) fn next_retry(&self) -> Instant {
        let unseen = self.fresh.values().filter(|fresh| !fresh.seen).map(|fresh| fresh.since + UNSEEN);
        let now = Instant::now();
        let next = unseen.filter(|at| *at > now).chain(self.retries.next(now)).min();
        next.unwrap_or(now + Duration::from_secs(60))
    }
}

fn is_current(containers: &Containers, app: &WorkloadId, instance: &Instance) -> bool {
    containers.get(&app.0).and_then(Container::instance) == Some(instance)
}

fn since_start_ms(instance: &Instance) -> u64 {
    now_nanos().saturating_sub(instance.started_nanos()) / 1_000_000
}

fn ended_problem(name: &str, sidecar: bool, ended: &Ended) -> Problem {
    let role = if sidecar { "the sidecar" } else { "the capture step" };
    let code = ended.code.map_or_else(String::new, |code| format!(" with exit code {code}"));
    let last = if ended.lines.is_empty() { "it wrote nothing".into() } else { ended.lines.join(" | ") };
    Problem {
        kind: "injection",
        subject: format!("container {name}"),
        what: format!(
            "{role} ended{code} while its application runs; it is made again. Its last lines: {last}"
        ),
    }
}

#[cfg(test)]
mod tests;
