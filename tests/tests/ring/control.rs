//! A controller's control socket, and the link of one sidecar to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_compile::compile;
use outrigger_controller::attest::{Attestor, Processes};
use outrigger_controller::control::{Control, Desk, Hall, SocketError};
use outrigger_controller::identity::Authority;
use outrigger_controller::problems::Problems;
use outrigger_controller::proxies::{Proxies, Proxy};
use outrigger_controller::scope::{INSTANCE, Scope, WORKLOAD};
use outrigger_controller::source::docker::record::{Container, Instance, Run};
use outrigger_controller::source::docker::watch::Seen;
use outrigger_lifecycle::Tasks;
use outrigger_model::label::{MANAGED, MESH};
use outrigger_model::{
    Attachment, Declared, Health, Lifecycle, Protocol, ServiceKey, Snapshot, VirtualIndex, Workload,
    WorkloadId,
};
use outrigger_sidecar::control::{Control as Link, Parts, Road};
use outrigger_sidecar::identity::Identity;
use outrigger_sidecar::netns::Listening;
use outrigger_sidecar::settings::AccessLog;
use outrigger_sidecar::state::State;
use outrigger_sidecar::{Options, Sidecar};
use outrigger_wire::{Held, ProxyConfig};
use tokio::sync::{mpsc, watch};

/// Nothing here takes long; what does has hung.
const LIMIT: Duration = Duration::from_secs(30);
pub const DOMAIN: &str = "outrigger.internal";
pub const APP: &str = "app";
pub const MESH_NAME: &str = "ring";

/// Fails a test that hangs.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("done in time")
}

/// What is there whether or not a controller runs.
pub struct World {
    pub directory: PathBuf,
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub seen: watch::Sender<Seen>,
}

/// A controller that runs; dropping it is killing it.
pub struct Controller {
    pub proxies: Proxies,
    _tasks: Tasks,
}

/// The link of a sidecar that runs; dropping it is killing the sidecar.
pub struct Linked {
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
    pub applied: watch::Receiver<Vec<ProxyConfig>>,
    /// Why configurations are refused; empty: they run.
    pub refuse: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
    _sidecar: Sidecar,
}

impl World {
    /// One workload, `cart`, whose sidecar is this process.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("outrigger-ring-{}-{number}", std::process::id()));
        let _absent = fs::remove_dir_all(&directory);
        for part in ["controller", "sidecar"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let snapshot = watch::Sender::new(Arc::new(snapshot("cart", &[])));
        let containers = [
            (APP.to_owned(), container(APP, &[], 1)),
            (
                "sidecar".to_owned(),
                container(
                    "sidecar",
                    &[(MANAGED, "sidecar"), (MESH, MESH_NAME), (WORKLOAD, APP), (INSTANCE, "first run")],
                    std::process::id(),
                ),
            ),
        ];
        let seen = Seen { containers: Arc::new(containers.into()), current: true, ..Seen::default() };
        Self { directory, snapshot, seen: watch::Sender::new(seen) }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("run/control.sock")
    }

    pub fn authority_file(&self) -> PathBuf {
        self.directory.join("controller").join(outrigger_controller::identity::FILE)
    }

    /// The sidecar's state directory.
    pub fn state(&self) -> State {
        State::new(self.directory.join("sidecar"))
    }

    /// Starts a controller whose certificates are good for so many seconds.
    pub async fn controller(&self, lifetime: u64) -> Controller {
        let lifetime = Duration::from_secs(lifetime);
        let authority = Authority::open(&self.directory.join("controller"), DOMAIN, lifetime);
        let proxies = Proxies::default();
        let desk = Desk {
            snapshot: self.snapshot.subscribe(),
            authority: authority.map_err(|error| error.to_string()),
            proxies: proxies.clone(),
            problems: Problems::default(),
        };
        // One that was killed a moment ago closes its socket when the runtime comes to it.
        let control = within(async {
            loop {
                match Control::bind(&self.socket()).await {
                    Err(SocketError::Taken { .. }) => tokio::task::yield_now().await,
                    bound => break bound.unwrap(),
                }
            }
        })
        .await;
        let mut tasks = Tasks::new();
        let scope = Scope { mesh: MESH_NAME.into(), ..Scope::default() };
        let attestor = Processes::Docker(Attestor::new(self.seen.subscribe(), scope));
        tasks.spawn("control", control.run(Hall::open(desk), attestor));
        Controller { proxies, _tasks: tasks }
    }

    /// Starts the link of the sidecar.
    pub fn sidecar(&self) -> Linked {
        self.sidecar_in(self.state())
    }

    /// The same with another state directory.
    pub fn sidecar_in(&self, state: State) -> Linked {
        self.sidecar_by(self.socket(), state)
    }

    /// Starts the link of the sidecar, which finds its controller there.
    pub fn sidecar_by(&self, road: impl Into<Road>, state: State) -> Linked {
        let (identities, identity) = watch::channel(None);
        let (_, listening) = watch::channel(Listening::default());
        let sidecar = Sidecar::bind(Options {
            workers: 1,
            connections: 10,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            access_log: AccessLog::Off,
            identity: identity.clone(),
            listening,
            hand_over: None,
            hosts: None,
            patience: Default::default(),
        })
        .unwrap();
        let refuse = Arc::<Mutex<Vec<String>>>::default();
        let (took, applied) = watch::channel(Vec::new());
        let why = refuse.clone();
        let parts = Parts {
            apply: Box::new(move |config, _| {
                let reasons = why.lock().unwrap().clone();
                if reasons.is_empty() {
                    took.send_modify(|applied| applied.push(config));
                    return Ok(());
                }
                Err(reasons)
            }),
            identity: identities,
            reporter: sidecar.reporter(),
            drain: mpsc::channel(1).0,
        };
        let mut tasks = Tasks::new();
        tasks.spawn("control", Link::open(road, state, parts).run());
        Linked { identity, applied, refuse, _tasks: tasks, _sidecar: sidecar }
    }

    /// What the sidecar should run now.
    pub fn wanted(&self) -> ProxyConfig {
        compile(&self.snapshot.borrow(), &WorkloadId(APP.into())).unwrap()
    }

    pub fn wanted_version(&self) -> String {
        Held::of(&self.wanted()).version()
    }

    /// Publishes another snapshot.
    pub fn publish(&self, service: &str, others: &[&str]) {
        self.snapshot.send_replace(Arc::new(snapshot(service, others)));
    }

    /// From now on another process is the workload's sidecar.
    pub fn another_pid(&self, pid: u32) {
        self.seen.send_modify(|seen| {
            let sidecar = Arc::make_mut(&mut seen.containers).get_mut("sidecar").unwrap();
            sidecar.run = Run::Running(Instance { started: "first run".into(), pid });
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

impl Controller {
    /// Waits until what is known of the sidecar is as asked.
    pub async fn sees(&self, what: impl Fn(&Proxy) -> bool) -> Proxy {
        let mut proxies = self.proxies.subscribe();
        let app = WorkloadId(APP.into());
        let seen = within(proxies.wait_for(|all| all.get(&app).is_some_and(&what))).await.unwrap();
        seen[&app].clone()
    }
}

impl Linked {
    /// The first identity that is as asked.
    pub async fn certified(&mut self, what: impl Fn(&Identity) -> bool) -> Arc<Identity> {
        let found = self.identity.wait_for(|identity| identity.as_deref().is_some_and(&what));
        within(found).await.unwrap().clone().unwrap()
    }
}

pub fn container(id: &str, labels: &[(&str, &str)], pid: u32) -> Container {
    Container {
        id: id.into(),
        name: id.into(),
        image: String::new(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        created: 0,
        run: Run::Running(Instance { started: "first run".into(), pid }),
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

/// The own workload and other services, on one network.
fn snapshot(service: &str, others: &[&str]) -> Snapshot {
    let workloads: Vec<Workload> = std::iter::once((APP, service))
        .chain(others.iter().map(|other| (*other, *other)))
        .zip(10..)
        .map(|((id, service), host)| workload(id, service, host))
        .collect();
    let index = |(workload, index): (&Workload, u32)| {
        let key = ServiceKey { namespace: "shop".into(), service: workload.declared.service.clone() };
        (key, VirtualIndex::new(index).unwrap())
    };
    Snapshot {
        trust_domain: DOMAIN.into(),
        indices: workloads.iter().zip(1..).map(index).collect(),
        workloads: workloads.into_iter().map(|workload| (workload.id.clone(), workload.into())).collect(),
    }
}

fn workload(id: &str, service: &str, host: u8) -> Workload {
    let attachment = Attachment { network: "shop_default".into(), addresses: vec![[10, 0, 0, host].into()] };
    Workload {
        id: WorkloadId(id.into()),
        name: format!("shop-{service}-1"),
        namespace: "shop".into(),
        declared: Declared {
            service: service.into(),
            ports: [(8080, Protocol::Http)].into(),
            ..Declared::default()
        },
        aliases: BTreeSet::new(),
        zone: None,
        networks: [("network".to_owned(), attachment)].into(),
        exposed: BTreeSet::new(),
        published: BTreeSet::new(),
        lifecycle: Lifecycle::Running,
        instance: None,
        health: Health::Healthy,
        one_off: false,
        mesh_port: None,
        outside: None,
        observed: None,
    }
}
