//! Live injection: every running workload gets exactly one sidecar, joined to the run it is in. `plan` says what is
//! to be done, `launch` does it; this loop carries one to the other.

mod captures;
pub mod farewell;
pub mod gaps;
pub mod launch;
pub mod plan;
pub mod retry;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use outrigger_model::WorkloadId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::mesh::sidecars_of;
use crate::problems::Problems;
use crate::proxies::{Proxies, Proxy};
use crate::scope::Scope;
use crate::source::docker::connect::connect;
use crate::source::docker::map::map;
use crate::source::docker::record::{Container, Instance};
use crate::source::docker::time::now_nanos;
use crate::source::docker::tracker::Containers;
use crate::source::docker::watch::Seen;
use crate::status::Problem;

use captures::Captures;
use gaps::Gaps;
use launch::{Ended, LaunchError, Launched};
use plan::{Action, Busy};
use retry::Retries;
use template::{Filling, Templates};

/// How long a started sidecar may be missing from what the engine tells before it is made again.
const UNSEEN: Duration = Duration::from_secs(5);

/// What injection needs to know.
pub struct Injector {
    /// Where the engine listens.
    pub host: String,
    /// What is looked at.
    pub scope: Scope,
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
}

/// A step that came to its end.
enum Done {
    Captured { app: WorkloadId, instance: Instance, result: Result<Box<Launched>, LaunchError> },
    Injected { app: WorkloadId, instance: Instance, result: Result<Box<(Launched, Launched)>, LaunchError> },
    Ended { app: WorkloadId, instance: Instance, id: String, name: String, sidecar: bool, ended: Ended },
    Touched { id: String, again: bool },
    Renamed,
}

/// A sidecar that was started and is not serving yet.
struct Fresh {
    sidecar: String,
    instance: Instance,
    since: Instant,
    seen: bool,
}

struct Running<'a> {
    injector: &'a Injector,
    docker: Docker,
    jobs: FuturesUnordered<BoxFuture<'a, Done>>,
    launching: BTreeSet<WorkloadId>,
    fresh: BTreeMap<WorkloadId, Fresh>,
    touched: BTreeSet<String>,
    renamed: BTreeMap<String, String>,
    /// Started containers; true once they have ended.
    started: BTreeMap<String, bool>,
    retries: Retries,
    captures: Captures,
}

impl Injector {
    /// Runs until the source ends.
    pub async fn run(self, mut seen: watch::Receiver<Seen>) {
        if seen.wait_for(|seen| seen.current).await.is_err() {
            return;
        }
        let docker = loop {
            match connect(&self.host).await {
                Ok(engine) => break engine.docker,
                Err(_) => sleep(Duration::from_secs(1)).await, // the source says so already
            }
        };
        let mut reports = self.proxies.subscribe();
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
                Some(done) = running.jobs.next() => running.done(done, &now.containers),
                () = sleep_until(next_retry) => {}
            }
        }
    }
}

impl Injector {
    /// What sidecar and capture step of one run look like.
    fn bodies(&self, app: &WorkloadId, instance: &Instance) -> (ContainerCreateBody, ContainerCreateBody) {
        let target = self.control.1.display().to_string();
        let filling = Filling {
            mesh: &self.scope.mesh,
            workload: &app.0,
            instance: &instance.started,
            image: &self.image,
            control: (&self.control.0, &target),
            env: &self.env,
        };
        (self.templates.sidecar(&filling), self.templates.capture(&filling))
    }
}

impl<'a> Running<'a> {
    fn new(injector: &'a Injector, docker: Docker) -> Self {
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
        }
    }

    /// Begins what can be done now.
    fn step(&mut self, seen: &Seen) {
        self.tidy(&seen.containers);
        if seen.current {
            let view = map(&seen.containers, &self.injector.scope).view;
            let (touched, renamed) = (self.touched.clone(), self.renamed.clone());
            let started = self.started.keys().cloned().collect();
            let busy = Busy { injecting: self.injecting(), touched, renamed, started };
            for action in plan::plan(&seen.containers, &view, &self.injector.scope.mesh, &busy) {
                self.begin(action, &seen.containers);
            }
        }
        self.injector.problems.set("injection", self.retries.problems());
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
            Action::Inject { app, instance } => {
                let Some(container) = containers.get(&app.0).cloned() else { return };
                self.launching.insert(app.clone());
                self.inject(app, instance, container)
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

    fn inject(&self, app: WorkloadId, instance: Instance, container: Container) -> BoxFuture<'a, Done> {
        let (injector, docker) = (self.injector, self.docker.clone());
        async move {
            let (sidecar, capture) = injector.bodies(&app, &instance);
            let result = launch::launch_pair(&docker, &container, sidecar, capture).await;
            Done::Injected { app, instance, result: result.map(Box::new) }
        }
        .boxed()
    }

    /// Sets the rules of workloads that lack them, once their sidecar serves: before, they would only refuse.
    fn capture(&mut self, seen: &Seen, proxies: &BTreeMap<WorkloadId, Proxy>) {
        let sidecars = sidecars_of(&seen.containers, &self.injector.scope.mesh);
        let made_here = |sidecar: &str| self.started.contains_key(sidecar);
        self.captures.look(&sidecars, proxies, &seen.containers, made_here);
        let mut busy: BTreeSet<WorkloadId> = self.retries.waiting(Instant::now()).into_iter().collect();
        busy.extend(self.launching.iter().cloned());
        for (app, instance) in self.captures.due(&sidecars, proxies, &busy) {
            let Some(container) = seen.containers.get(&app.0).cloned().filter(|_| seen.current) else {
                continue;
            };
            self.launching.insert(app.clone());
            let (injector, docker) = (self.injector, self.docker.clone());
            let job = async move {
                let body = injector.bodies(&app, &instance).1;
                let result = launch::launch_capture(&docker, &container, body).await;
                Done::Captured { app, instance, result: result.map(Box::new) }
            };
            self.jobs.push(job.boxed());
        }
    }

    fn done(&mut self, done: Done, containers: &Containers) {
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
            Done::Ended { app, instance, id, name, sidecar, ended } => {
                self.started.insert(id, true);
                let current = containers.get(&app.0).and_then(Container::instance) == Some(&instance);
                let failed = if sidecar { current } else { current && ended.code != Some(0) };
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
        result: Result<Box<(Launched, Launched)>, LaunchError>,
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
                self.follow(app, instance, false, capture);
            }
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
        let job =
            async move { Done::Ended { app, instance, id, name, sidecar, ended: launched.ended().await } };
        self.jobs.push(job.boxed());
    }

    /// Measures the gap of sidecars that serve now.
    fn serving(&mut self, proxies: &BTreeMap<WorkloadId, Proxy>) {
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

    fn next_retry(&self) -> Instant {
        let unseen = self.fresh.values().filter(|fresh| !fresh.seen).map(|fresh| fresh.since + UNSEEN);
        let now = Instant::now();
        let next = unseen.filter(|at| *at > now).chain(self.retries.next(now)).min();
        next.unwrap_or(now + Duration::from_secs(60))
    }
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
