//! How long a change takes in a large ECS cluster, from what the source sees until the last sidecar has it, and what that
//! costs the controller: 5,000 tasks in 100 services, or as many as the first argument says, each with a fake sidecar on a
//! real socket (the second argument: how many of them have one; 1,000 unless said). Fake sidecars live in a process of their own, so that
//! CPU time is the controller's alone. Prints one JSON object for each step.
//!
//!     cargo run --release -p outrigger-controller --example fleet

mod crowd;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use outrigger_controller::attest::{Attestor, Processes};
use outrigger_controller::control::{Control, Desk, Hall};
use outrigger_controller::indices::Indices;
use outrigger_controller::mesh::Mesh;
use outrigger_controller::problems::Problems;
use outrigger_controller::proxies::Proxies;
use outrigger_controller::scope::{INSTANCE, Scope, WORKLOAD};
use outrigger_controller::source::Source;
use outrigger_controller::source::cloud_map::Outside;
use outrigger_controller::source::cloud_map::record::Seen as Named;
use outrigger_controller::source::docker::record::{Container, Instance, Run};
use outrigger_controller::source::docker::watch::Seen as Engine;
use outrigger_controller::source::ecs::calls::Calls;
use outrigger_controller::source::ecs::record::{
    Definition, DefinitionContainer, NetworkMode, Reported, Seen, Stage, Task, TaskContainer,
};
use outrigger_controller::source::file::watch::MeshFile;
use outrigger_lifecycle::Tasks;
use outrigger_model::label::{MANAGED, MESH};
use outrigger_model::{Health, Lifecycle, Snapshot, WorkloadId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

const SERVICES: usize = 100;
/// How many tasks one deployment replaces.
const DEPLOYED: usize = 50;
/// Of the time in which sidecars only report.
const STEADY: Duration = Duration::from_secs(10);
/// Between the events of a deployment that comes task by task.
const APART: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, socket, orders] = words.as_slice()
        && first == "crowd"
    {
        return crowd::run(socket, orders).await;
    }
    let number = |at: usize, preset| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(preset);
    let tasks = number(0, 5_000);
    tokio::time::timeout(LIMIT, measure(tasks, number(1, tasks.min(1_000)))).await.expect("in time");
}

async fn measure(tasks: usize, sidecars: usize) {
    let mut fleet = Fleet::start(tasks).await;
    let begun = Step::begin();
    for number in 0..sidecars {
        fleet.open(number).await;
    }
    fleet.tell("report").await;
    fleet
        .until("every sidecar is ready", |snapshot| {
            let ready = snapshot.workloads.values().filter(|w| w.observed.as_ref().is_some_and(|o| o.ready));
            ready.count() == sidecars
        })
        .await;
    fleet.quiet().await;
    begun.end("all sidecars connect and report", &[("sidecars", sidecars as f64)]);

    let steady = Step::begin();
    let ticks = u32::try_from(STEADY.as_secs()).expect("short") / 5;
    for _ in 0..ticks {
        fleet.tell("round").await;
    }
    fleet.quiet().await;
    steady.end("sidecars report, every five seconds", &[]);

    fleet.mark(sidecars).await;
    let step = Step::begin();
    fleet.deploy(0..DEPLOYED);
    fleet.until("it is published", |snapshot| stopping(snapshot) == DEPLOYED).await;
    let published = step.ms();
    let all = fleet.everybody().await;
    fleet.quiet().await;
    step.end(
        "a deployment of 50 tasks, told at once",
        &[("published_ms", published), ("last_sidecar_ms", all)],
    );

    fleet.mark(sidecars).await;
    let step = Step::begin();
    for number in DEPLOYED..2 * DEPLOYED {
        fleet.deploy(number..number + 1);
        tokio::time::sleep(APART).await;
    }
    let last = Instant::now();
    fleet.until("it is published", |snapshot| stopping(snapshot) == 2 * DEPLOYED).await;
    let published = last.elapsed().as_secs_f64() * 1e3;
    fleet.quiet().await;
    let deltas = fleet.deltas().await;
    let settled = last.elapsed().as_secs_f64() * 1e3;
    step.end(
        "a deployment of 50 tasks, one every 50 ms",
        &[("published_ms", published), ("settled_ms", settled), ("deltas", deltas)],
    );
}

/// Tasks that are on their way out.
fn stopping(snapshot: &Snapshot) -> usize {
    snapshot.workloads.values().filter(|workload| workload.lifecycle == Lifecycle::Stopping).count()
}

/// Time and CPU of one step.
struct Step(Instant, f64);

impl Step {
    fn begin() -> Self {
        Self(Instant::now(), cpu())
    }

    fn ms(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1e3
    }

    fn end(self, what: &str, more: &[(&str, f64)]) {
        let more: String = more.iter().map(|(name, value)| format!(",\"{name}\":{value:.0}")).collect();
        let cpu_ms = (cpu() - self.1) * 1e3;
        println!("{{\"step\":\"{what}\",\"ms\":{:.0},\"controller_cpu_ms\":{cpu_ms:.0}{more}}}", self.ms());
    }
}

/// CPU seconds of this process: fields 14 and 15 of /proc/self/stat (proc_pid_stat(5)), in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks: f64 =
        rest.split_ascii_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    ticks / 100.0
}

struct Fleet {
    tasks: usize,
    seen: watch::Sender<Seen>,
    engine: watch::Sender<Engine>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    proxies: Proxies,
    crowd: Crowd,
    socket: PathBuf,
    _kept: (Tasks, watch::Sender<MeshFile>, watch::Sender<Named>),
}

/// The process of the fake sidecars.
struct Crowd {
    child: Child,
    orders: BufStream<UnixStream>,
}

impl Fleet {
    async fn start(tasks: usize) -> Self {
        let socket = std::env::temp_dir().join(format!("outrigger-fleet-{}.sock", std::process::id()));
        let (seen, seen_rx) = watch::channel(seen(tasks));
        let file = MeshFile { mesh: Some(Arc::default()), current: true, ..MeshFile::default() };
        let (file, file_rx) = watch::channel(file);
        let (out, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let (proxies, problems) = (Proxies::default(), Problems::default());
        let (engine, engine_rx) = watch::channel(Engine::default());
        let mesh = Mesh {
            trust_domain: "outrigger.internal".into(),
            indices: Indices::load(&std::env::temp_dir().join("outrigger-fleet-without-state")),
            problems: problems.clone(),
            proxies: proxies.clone(),
        };
        // Nothing is looked up.
        let (outside, named) = watch::channel(Named { begun: true, ..Named::default() });
        let source = Source::Ecs {
            seen: seen_rx,
            calls: Calls::default(),
            mesh: "shop".into(),
            outside: Outside { seen: named, namespaces: BTreeSet::new() },
        };
        let desk = Desk {
            snapshot: snapshot.clone(),
            authority: Err("nothing is signed here".into()),
            proxies: proxies.clone(),
            problems,
        };
        let scope = Scope { mesh: "m".into(), ..Scope::default() };
        let processes = Processes::Docker(Attestor::new(engine_rx, scope));
        let control = Control::bind(&socket).await.expect("the socket can be made");
        let mut kept = Tasks::new();
        kept.spawn("mesh", mesh.run(source, file_rx, out));
        kept.spawn("control", control.run(Hall::open(desk), processes));
        let crowd = Crowd::start(&socket).await;
        Self { tasks, seen, engine, snapshot, proxies, crowd, socket, _kept: (kept, file, outside) }
    }

    async fn tell(&mut self, order: &str) -> String {
        let Crowd { orders, .. } = &mut self.crowd;
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("the crowd listens");
        orders.flush().await.expect("the crowd listens");
        let mut answer = String::new();
        orders.read_line(&mut answer).await.expect("the crowd answers");
        answer.trim().to_owned()
    }

    /// The sidecar of one task connects. Who it is, is told by its process: all of them have one, so that the engine is
    /// said to have another container in it each time.
    async fn open(&mut self, number: usize) {
        let arn = arn(number);
        let labels = [(MANAGED, "sidecar"), (MESH, "m"), (WORKLOAD, &arn), (INSTANCE, "now")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let pid = self.crowd.child.id();
        let app = container(&arn, BTreeMap::new(), "now", 1);
        // In the mesh a task's sidecar has the task's own id.
        let sidecar = container(&arn, labels.into(), "x", pid);
        let all = [(arn.clone(), app), ("sidecar".to_owned(), sidecar)];
        self.engine.send_modify(|engine| engine.containers = Arc::new(all.into()));
        self.tell("open").await;
    }

    /// Sidecars that get a change from here on are counted, until there are so many.
    async fn mark(&mut self, sidecars: usize) {
        self.tell(&format!("mark {sidecars}")).await;
    }

    /// When the last sidecar had it, milliseconds after the mark.
    async fn everybody(&mut self) -> f64 {
        self.tell("all").await.parse().expect("milliseconds")
    }

    async fn deltas(&mut self) -> f64 {
        self.tell("deltas").await.parse().expect("a number")
    }

    /// Tasks are to stop; others of their service have taken their place.
    fn deploy(&self, numbers: std::ops::Range<usize>) {
        self.seen.send_modify(|seen| {
            let tasks = Arc::make_mut(&mut seen.tasks);
            for number in numbers {
                // Fifty tasks of one service, then of the next.
                let old = (number * SERVICES + number / DEPLOYED) % self.tasks;
                let stops = tasks.get_mut(&WorkloadId(arn(old))).expect("it is there");
                Arc::make_mut(stops).desired_status = Stage::Stopped;
                let new = task(self.tasks + old);
                tasks.insert(new.workload(), Arc::new(new));
            }
        });
    }

    async fn until(&mut self, what: &str, is: impl Fn(&Snapshot) -> bool) {
        self.snapshot.wait_for(|snapshot| is(snapshot)).await.expect(what);
    }

    /// Nothing is under way any more: all hold what was sent, and nothing was sent for a while.
    async fn quiet(&mut self) {
        let mut proxies = self.proxies.subscribe();
        let pause = Duration::from_millis(300);
        loop {
            match tokio::time::timeout(pause, proxies.changed()).await {
                Ok(changed) => changed.expect("it lives"),
                Err(_quiet) if self.proxies.all().values().all(|proxy| proxy.sent == proxy.acked) => return,
                // A controller that is busy is not quiet.
                Err(_waits) => {}
            }
        }
    }
}

impl Crowd {
    async fn start(socket: &Path) -> Self {
        let place = socket.with_extension("orders");
        let listener = UnixListener::bind(&place).expect("the socket can be made");
        let program = std::env::current_exe().expect("a path");
        let child = Command::new(program).arg("crowd").args([socket, &place]).spawn().expect("it starts");
        let (orders, _) = listener.accept().await.expect("the crowd comes");
        std::fs::remove_file(&place).expect("it is ours");
        Self { child, orders: BufStream::new(orders) }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.socket);
        let _ended = self.crowd.child.kill();
        let _reaped = self.crowd.child.wait();
    }
}

fn arn(number: usize) -> String {
    format!("arn:aws:ecs:eu-west-1:111122223333:task/shop/{number:032x}")
}

fn seen(tasks: usize) -> Seen {
    let definitions = (0..SERVICES).map(|number| (definition_arn(number), Arc::new(definition(number))));
    let tasks = (0..tasks).map(task).map(|task| (task.workload(), Arc::new(task)));
    Seen {
        tasks: Arc::new(tasks.collect()),
        definitions: Arc::new(definitions.collect()),
        current: true,
        listed: Some(Instant::now()),
        ..Seen::default()
    }
}

fn definition_arn(number: usize) -> String {
    format!("arn:aws:ecs:eu-west-1:111122223333:task-definition/service-{number:03}:1")
}

fn task(number: usize) -> Task {
    let service = format!("service-{:03}", number % SERVICES);
    let [.., high, middle, low] = number.to_be_bytes();
    let container = |name: &str| TaskContainer {
        name: name.into(),
        runtime_id: Some(format!("{number:032x}-{name}")),
        last_status: Stage::Running,
        health: Reported::Unknown,
        bindings: BTreeMap::new(),
    };
    Task {
        arn: arn(number),
        id: format!("{number:032x}"),
        cluster: "arn:aws:ecs:eu-west-1:111122223333:cluster/shop".into(),
        group: format!("service:{service}"),
        service: Some(service),
        definition: definition_arn(number % SERVICES),
        role: None,
        last_status: Stage::Running,
        desired_status: Stage::Running,
        health: Health::Unchecked,
        addresses: vec![[10, high, middle, low].into()],
        zone: Some("eu-west-1a".into()),
        container_instance: None,
        started_by: None,
        containers: vec![container("app"), container("outrigger-sidecar")],
        version: 4,
        stopped: None,
    }
}

fn definition(number: usize) -> Definition {
    let container = |name: &str, labels: &[(&str, &str)]| DefinitionContainer {
        name: name.into(),
        image: format!("{name}:1"),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        essential: true,
        checked: false,
        ports: [8080].into(),
        user: String::new(),
    };
    let app = container("app", &[("outrigger.port", "8080/http"), ("outrigger.enable", "true")]);
    let sidecar = container("outrigger-sidecar", &[(MANAGED, "sidecar"), ("outrigger.capture", "platform")]);
    Definition {
        arn: definition_arn(number),
        family: format!("service-{number:03}"),
        revision: 1,
        role: None,
        network_mode: NetworkMode::Awsvpc,
        labels: app.labels.clone(),
        sidecar: true,
        containers: vec![app, sidecar],
        windows: false,
    }
}

fn container(id: &str, labels: BTreeMap<String, String>, started: &str, pid: u32) -> Container {
    Container {
        id: id.into(),
        name: id.into(),
        image: String::new(),
        labels,
        created: 0,
        run: Run::Running(Instance { started: started.into(), pid }),
        health: Health::Unchecked,
        network_mode: "bridge".into(),
        networks: BTreeMap::new(),
        aliases: Default::default(),
        exposed: Default::default(),
        published: Default::default(),
        user: String::new(),
        stop_signal: 15,
        stop_timeout: 10,
        platform: "linux".into(),
        mounts: BTreeMap::new(),
        start_error: String::new(),
        stopping: false,
    }
}
