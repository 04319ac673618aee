use outrigger_model::{Lifecycle, ServiceKey};
use outrigger_wire::control::Report;

use super::*;
use crate::scope::Scope;
use crate::source::docker::record::{Container, Run};
use crate::source::docker::samples::{composed, containers, instance, sidecar_of};
use crate::source::docker::watch::Seen;

fn cart() -> Container {
    composed("shop", "cart", &[("outrigger.enable", "true")])
}

struct Loop {
    seen: watch::Sender<Seen>,
    file: watch::Sender<MeshFile>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    proxies: Proxies,
    problems: Problems,
    _task: outrigger_lifecycle::Tasks,
}

/// The mesh file was not read yet, or is bad and never was good.
fn waiting(all: Vec<Container>) -> Loop {
    let (seen, seen_rx) = watch::channel(Seen::default());
    let (file, file_rx) = watch::channel(MeshFile::default());
    let (out, snapshot) = watch::channel(Arc::new(Snapshot::default()));
    let proxies = Proxies::default();
    let problems = Problems::default();
    let mesh = Mesh {
        trust_domain: "shop.internal".into(),
        indices: Indices::load(std::path::Path::new("/nowhere")),
        problems: problems.clone(),
        proxies: proxies.clone(),
    };
    let mut task = outrigger_lifecycle::Tasks::new();
    let scope = Scope { mesh: "shop".into(), ..Scope::default() };
    let source = Source::Docker { seen: seen_rx, scope: Arc::new(scope.into()) };
    task.spawn("mesh", mesh.run(source, file_rx, out));
    let running = Loop { seen, file, snapshot, proxies, problems, _task: task };
    running.see(all);
    running
}

/// Without a mesh file.
fn running(all: Vec<Container>) -> Loop {
    let running = waiting(all);
    running.mesh_file("");
    running
}

impl Loop {
    fn see(&self, all: Vec<Container>) {
        self.seen.send_modify(|seen| {
            seen.containers = Arc::new(containers(all));
            (seen.current, seen.listed) = (true, Some(Instant::now()));
        });
    }

    fn mesh_file(&self, text: &str) {
        let mesh = outrigger_model::Mesh::read(text, "mesh.yaml").unwrap();
        self.file.send_modify(|file| file.mesh = Some(Arc::new(mesh)));
    }

    fn report(&self, sidecar: &str, listening: u32) {
        let cart = WorkloadId("id-shop-cart-1".into());
        self.proxies.hello(&cart, sidecar, "1");
        let report = Report { ready: true, listening: vec![listening], ..Report::default() };
        self.proxies.update(&cart, |proxy| proxy.report = Some((report, Instant::now())));
    }

    async fn until(&mut self, what: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = tokio::time::timeout(Duration::from_secs(60), self.snapshot.wait_for(|held| what(held)));
        found.await.expect("in time").expect("the loop runs").clone()
    }
}

fn observed(snapshot: &Snapshot) -> Option<&outrigger_model::Observed> {
    snapshot.workloads.values().next().and_then(|workload| workload.observed.as_ref())
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_for_the_sidecar_that_made_it() {
    let app = cart();
    let mut mesh = running(vec![app.clone()]);
    let key = ServiceKey { namespace: "shop".into(), service: "cart".into() };
    let first = mesh.until(|snapshot| !snapshot.workloads.is_empty()).await;
    assert_eq!((first.indices[&key].get(), observed(&first)), (1, None));
    let sidecar = sidecar_of(&app);
    mesh.see(vec![app.clone(), sidecar.clone()]);
    mesh.report(&sidecar.id, 8080);
    mesh.until(|snapshot| observed(snapshot).is_some_and(|o| o.ready && o.listening.contains(&8080))).await;

    // The application starts anew: what the old sidecar said is void, until the new one speaks.
    let again = Container { run: Run::Running(instance("2026-11-23T11:00:00Z", 9)), ..app };
    let new = Container { id: "new".into(), ..sidecar_of(&again) };
    mesh.see(vec![again, new]);
    mesh.until(|snapshot| observed(snapshot).is_none()).await;
    mesh.report("new", 9090);
    mesh.until(|snapshot| observed(snapshot).is_some_and(|o| o.listening == [9090].into())).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_takes_no_endpoint_away() {
    let (app, sidecar) = (cart(), sidecar_of(&cart()));
    let mut mesh = running(vec![app.clone(), sidecar.clone()]);
    mesh.report(&sidecar.id, 8080);
    mesh.until(|snapshot| observed(snapshot).is_some()).await;
    mesh.proxies.update(&WorkloadId(app.id.clone()), |proxy| proxy.connected = false);
    mesh.see(vec![Container { stopping: true, ..app }, sidecar]);
    let stopping =
        |snapshot: &Snapshot| snapshot.workloads.values().all(|w| w.lifecycle == Lifecycle::Stopping);
    let snapshot = mesh.until(|snapshot| stopping(snapshot)).await;
    assert!(observed(&snapshot).is_some());
}

/// A controller that starts anew would otherwise tell everybody that nobody is ready.
#[tokio::test(start_paused = true)]
async fn the_first_snapshot_waits_for_sidecars_that_were_there_before() {
    let (app, sidecar) = (cart(), sidecar_of(&cart()));
    let mut mesh = running(vec![app.clone(), sidecar.clone()]);
    let early = tokio::time::timeout(ADOPTION / 2, mesh.snapshot.changed()).await;
    assert!(early.is_err(), "nothing is published yet");
    mesh.report(&sidecar.id, 8080);
    let snapshot = mesh.until(|snapshot| !snapshot.workloads.is_empty()).await;
    assert!(observed(&snapshot).is_some());

    let mut silent = running(vec![app, sidecar]);
    let begun = Instant::now();
    let snapshot = silent.until(|snapshot| !snapshot.workloads.is_empty()).await;
    assert!(begun.elapsed() >= ADOPTION && observed(&snapshot).is_none(), "not for ever");
}

#[tokio::test(start_paused = true)]
async fn one_of_two_speaks_for_its_workload_until_it_has_ended() {
    let app = cart();
    let old = sidecar_of(&app);
    let mut next = Container { id: "a-next".into(), ..sidecar_of(&app) };
    next.labels.insert(crate::scope::REPLACES.into(), old.id.clone());
    let mut mesh = running(vec![app.clone(), old.clone(), next.clone()]);
    mesh.report(&old.id, 8080);
    let id = WorkloadId(app.id.clone());
    mesh.proxies.hello_next(&id, &next.id, "2");
    let report = Report { ready: true, listening: vec![8080, 9090], ..Report::default() };
    mesh.proxies.note(&id, &next.id, |proxy| proxy.report = Some((report, Instant::now())));
    let snapshot = mesh.until(|snapshot| observed(snapshot).is_some()).await;
    assert!(!observed(&snapshot).unwrap().listening.contains(&9090));
    // It ends: the other one counts at once, with what it has said before.
    mesh.see(vec![app, Container { run: Run::Stopped, ..old }, next]);
    mesh.snapshot.changed().await.unwrap();
    let observed = observed(&mesh.snapshot.borrow_and_update()).cloned().unwrap();
    assert!(observed.ready && observed.listening.contains(&9090), "not a moment without");
}

#[tokio::test]
async fn nothing_is_published_before_there_is_a_mesh_file_that_holds() {
    let running = waiting(vec![cart()]);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!running.snapshot.has_changed().unwrap());
    assert_eq!(running.snapshot.borrow().workloads.len(), 0);
}

#[tokio::test]
async fn a_changed_mesh_file_changes_the_snapshot() {
    let mut running = running(vec![cart()]);
    let mode =
        |snapshot: &Snapshot| snapshot.workloads.values().next().map(|workload| workload.declared.mode);
    running.until(|snapshot| mode(snapshot) == Some(outrigger_model::Mode::Permissive)).await;
    running.mesh_file("services: { cart: { mode: strict } }");
    running.until(|snapshot| mode(snapshot) == Some(outrigger_model::Mode::Strict)).await;

    running.mesh_file("services: { carrt: { mode: strict } }");
    running.until(|snapshot| mode(snapshot) == Some(outrigger_model::Mode::Permissive)).await;
    let told = running.problems.all();
    assert!(told.iter().any(|problem| problem.what.ends_with("did you mean cart?")), "{told:?}");
}
