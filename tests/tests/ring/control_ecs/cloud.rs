//! Two tasks of a cluster, `cart` at 127.0.0.1 and `web` at 127.0.0.2, their keys, and a controller that sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_controller::attest::sts::Sts as Asker;
use outrigger_controller::attest::task::TaskAttestor;
use outrigger_controller::control::tls::TlsControl;
use outrigger_controller::control::{Desk, Hall};
use outrigger_controller::identity::Authority;
use outrigger_controller::problems::Problems;
use outrigger_controller::proxies::Proxies;
use outrigger_controller::settings::StsEndpoint;
use outrigger_controller::source::ecs::record::{Definition, NetworkMode, Seen, Stage, Task};
use outrigger_lifecycle::Tasks;
use outrigger_model::{Health, Snapshot, WorkloadId};
use outrigger_sidecar::control::{Place, Remote, Road};
use outrigger_sidecar::task::Agent;
use outrigger_wire::control::pin::{Pin, Pins};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fake::{Asked, Key, Server, Sts};
use crate::control::{APP, DOMAIN, World, within};

pub const CART: &str = "0123456789abcdef0123456789abcdef";
pub const WEB: &str = "fedcba9876543210fedcba9876543210";
pub const REGION: &str = "eu-west-1";

pub struct Cloud {
    pub world: World,
    pub seen: watch::Sender<Seen>,
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub sts: Sts,
    agent: Server,
}

pub struct Controller {
    pub address: SocketAddr,
    pub pin: Pin,
    pub proxies: Proxies,
    pub problems: Problems,
    _tasks: Tasks,
}

pub fn arn(task: &str) -> String {
    format!("arn:aws:ecs:{REGION}:111122223333:task/shop/{task}")
}

/// Keys by what is wrong with them; `cart`'s and `web`'s are right.
pub fn key(name: &str) -> Key {
    let session = |account: &str, role: &str, session: &str| {
        format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")
    };
    let (id, arn) = match name {
        "cart" => ("ASIACART000000000000", session("111122223333", "cart-task", CART)),
        "web" => ("ASIAWEB0000000000000", session("111122223333", "web-task", WEB)),
        "other role" => ("ASIAROLE000000000000", session("111122223333", "web-task", CART)),
        "other account" => ("ASIAACCT000000000000", session("444455556666", "cart-task", CART)),
        "no task" => ("ASIAEVE0000000000000", session("111122223333", "cart-task", "eve")),
        "user" => ("AKIAUSER000000000000", "arn:aws:iam::111122223333:user/eve".into()),
        other => panic!("{other}"),
    };
    Key { id, secret: "wJalrXUtnFEMI/K7MDENG", token: "IQoJ//token==", arn }
}

fn agent(asked: Asked) -> (u16, String) {
    let path = asked.line.split(' ').nth(1).unwrap();
    match path {
        "/v4/cart/task" => (200, format!(r#"{{"TaskARN":"{}","DesiredStatus":"RUNNING"}}"#, arn(CART))),
        "/cart" => {
            let Key { id, secret, token, .. } = key("cart");
            (200, format!(r#"{{"AccessKeyId":"{id}","SecretAccessKey":"{secret}","Token":"{token}"}}"#))
        }
        _ => (404, String::new()),
    }
}

fn task(id: &str, name: &str, address: &str) -> Task {
    Task {
        arn: arn(id),
        id: id.into(),
        cluster: format!("arn:aws:ecs:{REGION}:111122223333:cluster/shop"),
        group: format!("service:{name}"),
        service: Some(name.into()),
        definition: name.into(),
        role: None,
        last_status: Stage::Running,
        desired_status: Stage::Running,
        health: Health::Unchecked,
        addresses: vec![address.parse().unwrap()],
        zone: None,
        container_instance: None,
        started_by: None,
        containers: Vec::new(),
        version: 1,
        stopped: None,
    }
}

fn definition(name: &str) -> Definition {
    Definition {
        arn: name.into(),
        family: name.into(),
        revision: 1,
        role: Some(format!("arn:aws:iam::111122223333:role/mesh/{name}-task")),
        network_mode: NetworkMode::Awsvpc,
        labels: BTreeMap::new(),
        sidecar: true,
        containers: Vec::new(),
        windows: false,
    }
}

impl Cloud {
    pub async fn new() -> Self {
        let tasks = [task(CART, "cart", "127.0.0.1"), task(WEB, "web", "127.0.0.2")];
        let tasks = tasks.map(|task| (WorkloadId(task.arn.clone()), Arc::new(task)));
        let definitions = ["cart", "web"].map(|name| (name.to_owned(), Arc::new(definition(name))));
        let seen = Seen {
            tasks: Arc::new(tasks.into()),
            definitions: Arc::new(definitions.into()),
            current: true,
            listed: Some(Instant::now()),
            ..Seen::default()
        };
        let world = World::new();
        let mut snapshot = Snapshot::clone(&world.snapshot.borrow());
        let mut cart = snapshot.workloads.remove(&WorkloadId(APP.into())).unwrap();
        Arc::make_mut(&mut cart).id = WorkloadId(arn(CART));
        snapshot.workloads.insert(cart.id.clone(), cart);
        let keys = ["cart", "web", "other role", "other account", "no task", "user"].map(key);
        Self {
            world,
            seen: watch::Sender::new(seen),
            snapshot: watch::Sender::new(Arc::new(snapshot)),
            sts: Sts::start(keys.into()).await,
            agent: Server::start(agent).await,
        }
    }

    /// A controller at this address (port 0: any); killed when it is dropped.
    pub async fn controller(&self, address: SocketAddr) -> Controller {
        let state = self.world.directory.join("controller");
        let authority = Authority::open(&state, DOMAIN, Duration::from_secs(3600)).unwrap();
        let (proxies, problems) = (Proxies::default(), Problems::default());
        let pin = authority.pin();
        let hall = Hall::open(Desk {
            snapshot: self.snapshot.subscribe(),
            authority: Ok(authority),
            proxies: proxies.clone(),
            problems: problems.clone(),
        });
        let at = self.sts.server.address;
        let endpoint = StsEndpoint { tls: false, host: at.ip().to_string(), port: at.port() };
        let attestor = TaskAttestor::new(self.seen.subscribe(), Asker::new(Some(endpoint)));
        let control = within(async {
            loop {
                match TlsControl::bind(address).await {
                    Ok(control) => break control,
                    // One that was killed a moment ago closes its socket when the runtime comes to it.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let address = control.address().unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("control", control.run(hall, attestor));
        Controller { address, pin, proxies, problems, _tasks: tasks }
    }

    /// The way of `cart`'s sidecar to a controller at this address whose root has this pin.
    pub fn road(&self, address: SocketAddr, pin: Pin) -> Road {
        let place = Place::Remote { host: address.ip().to_string(), port: address.port() };
        let agent = Agent {
            metadata: Some(format!("http://{}/v4/cart", self.agent.address)),
            full: Some(format!("http://{}/cart", self.agent.address)),
            ..Agent::default()
        };
        Road::Remote(Box::new(Remote::new(place, Pins::from(pin), agent).unwrap()))
    }

    /// Changes what is seen of `cart`'s task.
    pub fn change(&self, change: impl FnOnce(&mut Task)) {
        self.seen.send_modify(|seen| {
            let task = Arc::make_mut(&mut seen.tasks).get_mut(&WorkloadId(arn(CART))).unwrap();
            change(Arc::make_mut(task));
        });
    }
}
