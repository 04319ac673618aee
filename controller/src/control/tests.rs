//! What a client sees that is not a sidecar of ours, or does not behave as one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use outrigger_wire::control::{Hello, Nack, Report, SigningRequest, Up, down, up};
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

use super::*;
use crate::attest::Attestor;
use crate::scope::{INSTANCE, Scope, WORKLOAD};
use crate::source::docker::record::{Container, Instance, Run};
use crate::source::docker::watch::Seen;
use outrigger_model::label::{MANAGED, MESH};
use outrigger_model::{Health, WorkloadId};
use outrigger_wire::control::Down;

mod over;

const LIMIT: Duration = Duration::from_secs(30);

struct World {
    socket: PathBuf,
    proxies: Proxies,
    _kept: (Tasks, watch::Sender<Seen>, watch::Sender<Arc<Snapshot>>),
}

/// A controller of an empty snapshot, whose one sidecar has `pid` and joined the run `joined` of a workload that is
/// in its run `now`.
async fn world(pid: u32, joined: &str, now: &str) -> World {
    world_of(Err("there is no root".into()), pid, joined, now).await
}

async fn world_of(authority: Result<Authority, String>, pid: u32, joined: &str, now: &str) -> World {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let socket = std::env::temp_dir().join(format!("outrigger-hall-{}-{number}.sock", std::process::id()));
    let labels = [(MANAGED, "sidecar"), (MESH, "m"), (WORKLOAD, "app"), (INSTANCE, joined)];
    let containers = [container("app", &[], now, 1), container("sidecar", &labels, "x", pid)];
    let containers: BTreeMap<_, _> = containers.into_iter().map(|c| (c.id.clone(), c)).collect();
    let seen = watch::Sender::new(Seen { containers: containers.into(), ..Seen::default() });
    let snapshot = watch::Sender::new(Arc::new(Snapshot::default()));
    let proxies = Proxies::default();
    let desk = Desk {
        snapshot: snapshot.subscribe(),
        authority,
        proxies: proxies.clone(),
        problems: Problems::default(),
    };
    let mut tasks = Tasks::new();
    let attestor = Attestor::new(seen.subscribe(), Scope { mesh: "m".into(), ..Scope::default() });
    tasks.spawn(
        "control",
        Control::bind(&socket).await.unwrap().run(Hall::open(desk), Processes::Docker(attestor)),
    );
    World { socket, proxies, _kept: (tasks, seen, snapshot) }
}

fn container(id: &str, labels: &[(&str, &str)], started: &str, pid: u32) -> Container {
    Container {
        id: id.into(),
        name: id.into(),
        image: String::new(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        created: 0,
        run: Run::Running(Instance { started: started.into(), pid }),
        health: Health::Unchecked,
        network_mode: "bridge".into(),
        networks: BTreeMap::new(),
        aliases: BTreeSet::new(),
        exposed: BTreeSet::new(),
        published: BTreeSet::new(),
        user: String::new(),
        stop_signal: 15,
        stop_timeout: 10,
        platform: "linux".into(),
        mounts: BTreeMap::new(),
        start_error: String::new(),
        stopping: false,
    }
}

impl World {
    async fn dial(&self, first: up::Kind) -> Result<(UnboundedSender<Up>, Streaming<Down>), Status> {
        let endpoint = Endpoint::try_from(format!("unix://{}", self.socket.display())).unwrap();
        let (up, messages) = mpsc::unbounded_channel();
        up.send(Up { kind: Some(first) }).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Ok((up, rpc::open(channel, UnboundedReceiverStream::new(messages), None).await?))
    }

    async fn hello(&self) -> (UnboundedSender<Up>, Streaming<Down>) {
        self.dial(hello()).await.unwrap()
    }

    async fn sees(&self, what: impl Fn(&crate::proxies::Proxy) -> bool) {
        let mut proxies = self.proxies.subscribe();
        let app = WorkloadId("app".into());
        let wait = proxies.wait_for(|all| all.get(&app).is_some_and(&what));
        tokio::time::timeout(LIMIT, wait).await.unwrap().unwrap();
    }
}

impl World {
    /// The only workload is in this part of its life.
    fn shows(&self, lifecycle: outrigger_model::Lifecycle) {
        let workload = outrigger_model::Workload {
            id: WorkloadId("app".into()),
            name: "shop-cart-1".into(),
            namespace: "shop".into(),
            declared: outrigger_model::Declared { service: "cart".into(), ..Default::default() },
            aliases: BTreeSet::new(),
            zone: None,
            networks: BTreeMap::new(),
            exposed: BTreeSet::new(),
            published: BTreeSet::new(),
            lifecycle,
            instance: None,
            health: Health::Unchecked,
            one_off: false,
            mesh_port: None,
            outside: None,
            observed: None,
        };
        let workloads = [(workload.id.clone(), workload.into())].into();
        let snapshot =
            Snapshot { trust_domain: "outrigger.internal".into(), workloads, ..Snapshot::default() };
        self._kept.2.send_replace(Arc::new(snapshot));
    }
}

/// The next answer to a request; the configuration comes as well.
async fn certificate(down: &mut Streaming<Down>) -> outrigger_wire::control::Certificate {
    loop {
        if let Some(down::Kind::Certificate(answer)) = next(down).await.unwrap().unwrap().kind {
            return answer;
        }
    }
}

fn hello() -> up::Kind {
    up::Kind::Hello(Hello { sidecar_version: "1".into(), ..Hello::default() })
}

async fn next(down: &mut Streaming<Down>) -> Result<Option<Down>, Status> {
    tokio::time::timeout(LIMIT, down.message()).await.expect("in time")
}

#[tokio::test]
async fn a_process_that_is_no_sidecar_is_told_so() {
    let world = world(1, "now", "now").await;
    let refused = world.dial(hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let own = std::process::id().to_string();
    assert!(refused.message().contains(&own) && refused.message().contains("not a sidecar"), "{refused}");
    assert!(world.proxies.all().is_empty());
}

#[tokio::test]
async fn a_sidecar_stranded_in_an_earlier_run_does_not_speak_for_this_one() {
    let world = world(std::process::id(), "before", "now").await;
    let refused = world.dial(hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_first_message_is_a_hello_and_there_is_one() {
    let world = world(std::process::id(), "now", "now").await;
    let (_up, mut down) = world.dial(up::Kind::Report(Report::default())).await.unwrap();
    assert_eq!(next(&mut down).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(world.proxies.all().is_empty());
    let (up, mut down) = world.hello().await;
    up.send(Up { kind: Some(hello()) }).unwrap();
    assert_eq!(next(&mut down).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_the_older() {
    let world = world(std::process::id(), "now", "now").await;
    let (_up, mut first) = world.hello().await;
    world.sees(|proxy| proxy.connected).await;
    let (up, _down) = world.hello().await;
    assert_eq!(next(&mut first).await.unwrap_err().code(), Code::Aborted);
    up.send(Up { kind: Some(up::Kind::Report(Report { ready: true, ..Report::default() })) }).unwrap();
    world
        .sees(|proxy| proxy.connected && proxy.report.as_ref().is_some_and(|(report, _)| report.ready))
        .await;
}

#[tokio::test]
async fn answers_to_nothing_and_messages_of_the_future_are_ignored() {
    let world = world(std::process::id(), "now", "now").await;
    let (up, _down) = world.hello().await;
    let nack = Nack { nonce: 7, reasons: vec!["no".into()], ..Nack::default() };
    for kind in [Some(up::Kind::Nack(nack)), None, Some(up::Kind::Report(Report::default()))] {
        up.send(Up { kind }).unwrap();
    }
    world.sees(|proxy| proxy.report.is_some()).await;
    world.sees(|proxy| proxy.connected && proxy.nack.is_none()).await;
}

#[tokio::test]
async fn a_request_waits_for_its_workload_and_is_then_refused_with_the_reason() {
    let world = world(std::process::id(), "now", "now").await;
    let (up, mut down) = world.hello().await;
    up.send(Up { kind: Some(up::Kind::Sign(SigningRequest { csr: b"?".to_vec() })) }).unwrap();
    up.send(Up { kind: Some(up::Kind::Report(Report::default())) }).unwrap();
    world.sees(|proxy| proxy.report.is_some()).await;
    world.shows(outrigger_model::Lifecycle::Running);
    let refused = certificate(&mut down).await;
    assert_eq!(refused.refused, "there is no root");
    assert!(refused.chain.is_empty());
}

#[cfg(feature = "ecs")]
#[tokio::test]
async fn a_task_of_this_instance_is_let_in_and_one_without_an_address_is_shown() {
    use crate::attest::{ContainerAttestor, Own};
    use crate::source::ecs::record::{NetworkMode, Seen as Tasked};
    use crate::source::ecs::samples::{definition, seen as of, task};

    let arn = task(1).arn;
    let labels = [
        (MANAGED, "sidecar"),
        ("com.amazonaws.ecs.task-arn", arn.as_str()),
        ("com.amazonaws.ecs.container-name", "outrigger-sidecar"),
    ];
    let sidecar = container("sidecar", &labels, "x", std::process::id());
    let listed = Some(Instant::now());
    let containers = Arc::new([(sidecar.id.clone(), sidecar)].into());
    let (_engine, engine) = watch::channel(Seen { containers, listed, ..Seen::default() });
    let tasks = |network_mode| {
        let definition = crate::source::ecs::record::Definition { network_mode, ..definition() };
        let here = |n| {
            let container_instance = Some("here".to_owned());
            crate::source::ecs::record::Task { container_instance, ..task(n) }
        };
        Tasked { listed, ..of(vec![here(1), here(2)], definition, Vec::new()) }
    };
    let (tell, seen) = watch::channel(tasks(NetworkMode::Bridge));
    let mut world = world(1, "now", "now").await;
    let problems = Problems::default();
    let desk = Desk {
        snapshot: world._kept.2.subscribe(),
        authority: Err("there is no root".into()),
        proxies: world.proxies.clone(),
        problems: problems.clone(),
    };
    world.socket.set_extension("ecs");
    let (_own, own) = watch::channel(Own::Task(task(2).arn));
    let known = Processes::Ecs(ContainerAttestor::new(engine, seen, own));
    let control = Control::bind(&world.socket).await.unwrap();
    world._kept.0.spawn("tasks", control.run(Hall::open(desk), known));

    let refused = world.dial(hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let shown = problems.all().into_iter().next().unwrap();
    assert_eq!(shown.subject, format!("task {}", task(1).id));
    assert!(shown.what.contains("--control https://") && shown.what == refused.message(), "{shown:?}");
    tell.send_replace(tasks(NetworkMode::Awsvpc));
    let _stream = world.hello().await;
    let mut proxies = world.proxies.subscribe();
    let known = |proxies: &BTreeMap<WorkloadId, crate::proxies::Proxy>| {
        proxies.get(&task(1).workload()).is_some_and(|proxy| proxy.connected && proxy.sidecar == arn)
    };
    tokio::time::timeout(LIMIT, proxies.wait_for(known)).await.unwrap().unwrap();
    assert!(problems.all().is_empty(), "it is let in");
}
