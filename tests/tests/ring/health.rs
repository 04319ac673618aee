//! An application says that it cannot serve; its sidecar hears it, the controller weighs it, callers avoid it. And back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_compile::{compile, readiness};
use outrigger_controller::attest::{Attestor, Processes};
use outrigger_controller::control::{Control, Desk, Hall};
use outrigger_controller::identity::Authority;
use outrigger_controller::indices::Indices;
use outrigger_controller::mesh::Mesh;
use outrigger_controller::problems::Problems;
use outrigger_controller::proxies::Proxies;
use outrigger_controller::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE, INSTANCE, Scope, WORKLOAD};
use outrigger_controller::source::Source;
use outrigger_controller::source::docker::record::Container;
use outrigger_controller::source::docker::watch::Seen;
use outrigger_controller::source::file::watch::MeshFile;
use outrigger_lifecycle::Tasks;
use outrigger_model::label::{ENABLE, MANAGED, MESH};
use outrigger_model::{Attachment, Snapshot, WorkloadId};
use outrigger_sidecar::control::{Control as Link, Parts};
use outrigger_sidecar::netns::Listening;
use outrigger_sidecar::settings::AccessLog;
use outrigger_sidecar::state::State;
use outrigger_sidecar::{Options, Sidecar};
use outrigger_wire::control::{Checked, Report, Verdict};
use outrigger_wire::{Listener, ListenerKind, ProxyConfig, Target, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::control::{DOMAIN, MESH_NAME, container, within};

/// Where the two replicas listen, on one port.
const HOMES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];

/// A replica of `cart`: serves, whatever it says of its health.
struct App {
    healthy: Arc<AtomicBool>,
    /// When it last answered 503, and how often in a row.
    refused: watch::Receiver<(u32, Option<Instant>)>,
    _tasks: Tasks,
}

impl App {
    fn start(name: &'static str, listener: TcpListener) -> Self {
        let healthy = Arc::new(AtomicBool::new(true));
        let (tell, refused) = watch::channel((0, None));
        let (says, tell, mut tasks) = (healthy.clone(), Arc::new(tell), Tasks::new());
        tasks.spawn("application", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (says, tell) = (says.clone(), tell.clone());
                connections.spawn("connection", async move { _ = serve(tcp, name, &says, &tell).await });
            }
        });
        Self { healthy, refused, _tasks: tasks }
    }
}

async fn serve(
    mut tcp: TcpStream,
    name: &str,
    healthy: &AtomicBool,
    tell: &watch::Sender<(u32, Option<Instant>)>,
) -> std::io::Result<()> {
    let mut came = Vec::new();
    loop {
        if let Some(end) = came.windows(4).position(|end| end == b"\r\n\r\n") {
            let head: Vec<u8> = came.drain(..end + 4).collect();
            let asked = head.starts_with(b"GET /healthz ");
            let status = if asked && !healthy.load(Ordering::SeqCst) { 503 } else { 200 };
            let length = name.len();
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{name}");
            tcp.write_all(answer.as_bytes()).await?;
            if asked {
                tell.send_modify(|(times, at)| {
                    (*times, *at) =
                        if status == 503 { (*times + 1, Some(Instant::now())) } else { (0, None) };
                });
            }
        } else if tcp.read_buf(&mut came).await? == 0 {
            return Ok(());
        }
    }
}

/// Listeners on one port at both homes.
async fn homes() -> [TcpListener; 2] {
    loop {
        let first = TcpListener::bind((HOMES[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind((HOMES[1], port)).await {
            return [first, second];
        }
    }
}

/// A container of the project, and its sidecar's, which is the process `pid`.
fn replica(id: &str, service: &str, home: IpAddr, pid: u32) -> [(String, Container); 2] {
    let labels = [(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, service), (ENABLE, "true")];
    let mut app = container(id, &labels, 1);
    let attachment = Attachment { network: "shop_default".into(), addresses: vec![home] };
    app.networks = [("network".to_owned(), attachment)].into();
    let sidecar = format!("{id}-outrigger");
    let labels = [(MANAGED, "sidecar"), (MESH, MESH_NAME), (WORKLOAD, id), (INSTANCE, "first run")];
    [(id.to_owned(), app), (sidecar.clone(), container(&sidecar, &labels, pid))]
}

/// A sidecar that runs.
fn start(sidecar: Sidecar, tasks: &mut Tasks) {
    tasks.spawn("sidecar", async move {
        sidecar.run(std::future::pending()).await;
    });
}

fn options(
    identity: watch::Receiver<Option<Arc<outrigger_sidecar::identity::Identity>>>,
    listening: watch::Receiver<Listening>,
) -> Options {
    Options {
        workers: 1,
        connections: 64,
        admin: "127.0.0.1:0".parse().unwrap(),
        access_log: AccessLog::Off,
        identity,
        listening,
        hand_over: None,
        hosts: None,
        patience: Default::default(),
    }
}

/// What the sidecar of `web` gets; it calls the applications as they are, at the listener `out`.
fn callers(snapshot: &Snapshot, port: u16) -> Option<ProxyConfig> {
    let mut config = compile(snapshot, &WorkloadId("web".into())).ok()?;
    for endpoint in config.clusters.values_mut().flat_map(|cluster| &mut cluster.endpoints) {
        endpoint.transport = Transport::Plaintext;
        endpoint.address.set_port(port);
    }
    let target = Target::Service { name: "cart.shop".into(), port };
    let out = Listener { address: "127.0.0.1:0".parse().unwrap(), kind: ListenerKind::Outbound { target } };
    config.proxy.listeners = [("out".to_owned(), out)].into();
    Some(config)
}

/// Which replicas may be called, as the caller applied it last, and when it did.
type Applied = (BTreeMap<String, bool>, Instant);

async fn ask(out: SocketAddr) -> String {
    let mut tcp = TcpStream::connect(out).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "no request is lost: {answer}");
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

async fn until(applied: &mut watch::Receiver<Applied>, replica: &str, ready: bool) -> Instant {
    within(applied.wait_for(|(all, _)| all.get(replica) == Some(&ready))).await.unwrap().1
}

#[tokio::test]
async fn callers_avoid_a_replica_that_says_it_cannot_serve_until_it_says_it_can() {
    let directory = std::env::temp_dir().join(format!("outrigger-ring-health-{}", std::process::id()));
    for part in ["controller", "sidecar"] {
        std::fs::create_dir_all(directory.join(part)).unwrap();
    }
    let mut tasks = Tasks::new();
    let [first, second] = homes().await;
    let port = first.local_addr().unwrap().port();
    let (one, _two) = (App::start("one", first), App::start("two", second));

    // What the sources see.
    let replicas = [
        replica("one", "cart", HOMES[0].into(), std::process::id()),
        replica("two", "cart", HOMES[1].into(), 1),
        replica("web", "web", Ipv4Addr::new(127, 0, 0, 3).into(), 1),
    ];
    let containers = Arc::new(replicas.into_iter().flatten().collect());
    let seen = Seen { containers, current: true, listed: Some(Instant::now()), ..Seen::default() };
    let seen = watch::Sender::new(seen);
    let check = "{ http: /healthz, interval: 200ms, unhealthy: 3 }";
    let text = format!("services: {{ cart: {{ ports: {{ {port}: http }}, health: {{ check: {check} }} }} }}");
    let mesh = outrigger_model::Mesh::read(&text, "mesh.yaml").unwrap();
    let file = watch::Sender::new(MeshFile { mesh: Some(Arc::new(mesh)), ..MeshFile::default() });

    // The controller; two sidecars are only known from what they said.
    let (scope, proxies) = (Scope { mesh: MESH_NAME.into(), ..Scope::default() }, Proxies::default());
    for id in ["two", "web"] {
        let workload = WorkloadId(id.into());
        let check = Some(Checked { verdict: Verdict::Passing.into(), reason: String::new() });
        let report = Report { ready: true, listening: vec![port.into()], check, ..Report::default() };
        proxies.hello(&workload, &format!("{id}-outrigger"), "1");
        proxies.update(&workload, |proxy| proxy.report = Some((report, Instant::now())));
    }
    let (publish, snapshot) = watch::channel(Arc::new(Snapshot::default()));
    let merging = Mesh {
        trust_domain: DOMAIN.into(),
        indices: Indices::load(&directory.join("controller")),
        problems: Problems::default(),
        proxies: proxies.clone(),
    };
    let source = Source::Docker { seen: seen.subscribe(), scope: Arc::new(scope.clone().into()) };
    tasks.spawn("mesh", merging.run(source, file.subscribe(), publish));
    let authority = Authority::open(&directory.join("controller"), DOMAIN, Duration::from_secs(3600));
    let desk = Desk {
        snapshot: snapshot.clone(),
        authority: authority.map_err(|error| error.to_string()),
        proxies,
        problems: Problems::default(),
    };
    let socket = directory.join("run/control.sock");
    let attestor = Processes::Docker(Attestor::new(seen.subscribe(), scope));
    tasks.spawn("control", Control::bind(&socket).await.unwrap().run(Hall::open(desk), attestor));

    // The sidecar of the first replica. What it would bind has fixed ports, and is not needed here.
    let (identities, identity) = watch::channel(None);
    let (_listening, listens) = watch::channel(Listening::from([(port, [HOMES[0].into()].into())]));
    let sidecar = Sidecar::bind(options(identity, listens)).unwrap();
    let runtime = sidecar.runtime();
    let parts = Parts {
        apply: Box::new(move |mut config, _| {
            config.proxy.listeners.clear();
            runtime.apply(config)
        }),
        identity: identities,
        reporter: sidecar.reporter(),
        drain: mpsc::channel(1).0,
    };
    start(sidecar, &mut tasks);
    tasks.spawn("link", Link::open(socket, State::new(directory.join("sidecar")), parts).run());

    // The sidecar of the caller.
    let (_identity, identity) = watch::channel(None);
    let (_seen, listens) = watch::channel(Listening::new());
    let sidecar = Sidecar::bind(options(identity, listens)).unwrap();
    let runtime = sidecar.runtime();
    start(sidecar, &mut tasks);
    let (note, mut applied) = watch::channel((BTreeMap::new(), Instant::now()));
    let (mut published, called) = (snapshot.clone(), runtime.clone());
    tasks.spawn("caller", async move {
        loop {
            if let Some(config) = callers(&published.borrow_and_update(), port) {
                let cluster = &config.clusters[&format!("cart.shop:{port}")];
                let ready = cluster.endpoints.iter().map(|one| (one.workload.clone(), one.ready)).collect();
                called.apply(config).unwrap();
                note.send_replace((ready, Instant::now()));
            }
            if published.changed().await.is_err() {
                return;
            }
        }
    });

    until(&mut applied, "one", true).await;
    let out = runtime.addresses()["out"];
    let mut answered: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20 {
        *answered.entry(ask(out).await).or_default() += 1;
    }
    assert_eq!(answered.len(), 2, "{answered:?}");

    let mut refused = one.refused.clone();
    one.healthy.store(false, Ordering::SeqCst);
    let unhealthy_since = Instant::now();
    let third = within(refused.wait_for(|(times, _)| *times >= 3)).await.unwrap().1.unwrap();
    let avoided = until(&mut applied, "one", false).await;
    let workload = snapshot.borrow().workloads[&WorkloadId("one".into())].clone();
    let reason = readiness(&workload, port).unwrap_err().to_string();
    assert_eq!(reason, "its health check fails: GET /healthz answered 503");
    for _ in 0..20 {
        assert_eq!(ask(out).await, "two");
    }

    one.healthy.store(true, Ordering::SeqCst);
    let healthy_since = Instant::now();
    let back = until(&mut applied, "one", true).await;
    println!(
        "the last failing try to applied by the caller: {:?}; unhealthy to avoided: {:?}; healthy to called again: {:?}",
        avoided.saturating_duration_since(third),
        avoided - unhealthy_since,
        back - healthy_since,
    );
    let mut answered = BTreeMap::new();
    while answered.len() < 2 {
        *answered.entry(ask(out).await).or_insert(0_u32) += 1;
        assert!(answered.values().sum::<u32>() < 1_000, "{answered:?}");
    }
    drop(tasks);
    let _gone = std::fs::remove_dir_all(&directory);
}
