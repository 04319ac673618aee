//! The whole way from what is seen to what a sidecar is sent, over random sequences of changes: what comes of what changed alone
//! is what comes of everything made anew.

use std::collections::BTreeSet;

use outrigger_model::mesh::Mesh;
use outrigger_model::{Checked, Health, Observed, ServiceKey, VirtualIndex, merge};
use outrigger_wire::control::Delta;
use outrigger_wire::{Hashes, Held};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::mesh::joined::Joined;
use crate::proxies::{AllHeard, Heard};
use crate::publish::{Offer, Outbox};
use crate::source::cloud_map::Outside;
use crate::source::cloud_map::record::{Answer, Instance, Lookup, Seen as Named};
use crate::source::ecs::record::{Definition, NetworkMode, Reported, Seen, Stage, Task, last_part};
use crate::source::ecs::samples::{container, definition, seen, service, task};
use crate::source::{Last, Source};

const TASKS: u32 = 10;
const FAMILIES: [(&str, &str); 4] =
    [("cart", "platform"), ("web", "names"), ("pay", "transparent"), ("old", "explicit")];
const FILES: [&str; 6] = [
    "",
    "mode: strict",
    "defaults: { timeout: 3s, retries: { attempts: 2 } }\nservices: { cart: { balance: peak-ewma }, pay: { mode: permissive } }",
    "services:
  cart: { ports: { 8080: http }, cloud-map: { namespace: shop.internal, version: old }, routes: [ { backends: [ { version: old, weight: 1 } ] } ] }
  billing: { ports: { 80: http }, cloud-map: { namespace: shop.internal } }",
    "services:
  cart: { ports: { 8080: http }, cloud-map: { namespace: shop.internal, service: basket } }
  billing: { ports: { 80: tcp, 81: http }, cloud-map: { namespace: shop.internal, attributes: { stage: prod } } }
  old: { upstreams: { 9000: cart.shop:8080 }, limits: { requests: 5 } }",
    "services: { cart: { ports: { 8080: tcp } }, web: { rate-limits: [ { limit: 1/s } ], health: { check: { http: { path: /up } } } } }",
];

/// Half of them look something up.
fn any_file(rng: &mut fastrand::Rng) -> &'static str {
    let outside = rng.bool();
    let mut fit = FILES.iter().filter(|file| file.contains("cloud-map") == outside).collect::<Vec<_>>();
    rng.shuffle(&mut fit);
    fit[0]
}

fn defined(family: &str, capture: &str) -> Definition {
    let mut defined = definition();
    defined.arn = format!("arn:aws:ecs:eu-west-1:111122223333:task-definition/{family}:1");
    defined.family = family.to_owned();
    defined.containers[1].labels.insert("outrigger.capture".into(), capture.into());
    if capture == "explicit" {
        defined.network_mode = NetworkMode::Host;
        defined.labels.insert("outrigger.upstreams".into(), "cart:8080=9001".into());
    }
    defined
}

fn any_task(n: u32) -> Task {
    let (family, _) = FAMILIES[n as usize % FAMILIES.len()];
    let service = (family == "cart").then(|| "cart".to_owned());
    let mut any = Task { definition: defined(family, "").arn, service, ..task(n) };
    if family == "old" {
        any.addresses.clear();
    }
    any
}

/// What the sources tell, and what was made of it so far.
struct World {
    seen: watch::Sender<Seen>,
    named: watch::Sender<Named>,
    source: Source,
    mesh: Arc<Mesh>,
    heard: AllHeard,
    last: Option<Last>,
    joined: Joined,
    indices: BTreeMap<ServiceKey, VirtualIndex>,
    snapshot: Arc<Snapshot>,
    worlds: Worlds,
    sidecars: BTreeMap<WorkloadId, Sidecar>,
}

/// One that is connected.
struct Sidecar {
    outbox: Outbox,
    wish: Option<Wish>,
    holds: Held,
    refused: Option<String>,
}

impl World {
    fn new() -> Self {
        let clusters: BTreeSet<String> = ["shop".to_owned()].into();
        let mut first = seen((0..TASKS / 2).map(any_task).collect(), definition(), vec![service()]);
        first.listed = Some(Instant::now());
        first.definitions = Arc::new(
            FAMILIES
                .map(|(family, capture)| defined(family, capture))
                .map(|one| (one.arn.clone(), one.into()))
                .into(),
        );
        let (seen, seen_rx) = watch::channel(first);
        let (named, named_rx) = watch::channel(Named { begun: true, ..Named::default() });
        let outside = Outside { seen: named_rx, namespaces: clusters };
        let source = Source::Ecs { seen: seen_rx, calls: Default::default(), mesh: "shop".into(), outside };
        Self {
            seen,
            named,
            source,
            mesh: Arc::default(),
            heard: AllHeard::new(),
            last: None,
            joined: Joined::default(),
            indices: BTreeMap::new(),
            snapshot: Arc::default(),
            worlds: Worlds::default(),
            sidecars: BTreeMap::new(),
        }
    }

    /// Something happens.
    fn change(&mut self, rng: &mut fastrand::Rng) {
        match rng.u8(..14) {
            0..=3 => self.seen.send_modify(|seen| of_tasks(Arc::make_mut(&mut seen.tasks), rng)),
            4 => self.seen.send_modify(|seen| {
                let (family, capture) = *rng.choice(FAMILIES.iter()).unwrap();
                let mut other = defined(family, capture);
                other.sidecar = rng.u8(..8) > 0;
                if rng.bool() {
                    other.labels.insert("outrigger.version".into(), format!("v{}", rng.u8(..3)));
                }
                let all = Arc::make_mut(&mut seen.definitions);
                if rng.u8(..6) == 0 {
                    drop(all.remove(&other.arn))
                } else {
                    drop(all.insert(other.arn.clone(), other.into()))
                }
            }),
            5 => self.seen.send_modify(|seen| seen.current = rng.bool()),
            6 => self.seen.send_modify(|seen| {
                seen.queue = rng.bool().then(|| "away".into());
                let mut other = service();
                other.targets = [("app".to_owned(), rng.u16(8080..8082))].into();
                seen.services = Arc::new([(other.arn.clone(), other.into())].into());
            }),
            7 => {
                self.mesh = Arc::new(Mesh::read(any_file(rng), "mesh.yaml").unwrap());
            }
            8..=10 => self.named.send_modify(|named| {
                if let Some(lookup) = rng.choice(named.answers.keys().cloned().collect::<Vec<_>>()) {
                    Arc::make_mut(&mut named.answers).insert(lookup, any_answer(rng));
                }
            }),
            _ => self.hear(rng),
        }
        // As the watcher of Cloud Map does.
        let wanted = self.mesh.cloud_map(&["shop".to_owned()].into());
        let lookups: BTreeSet<Lookup> = wanted.iter().map(|(key, said)| Lookup::of(key, said)).collect();
        self.named.send_modify(|named| {
            let answers = Arc::make_mut(&mut named.answers);
            answers.retain(|lookup, _| lookups.contains(lookup));
            for lookup in lookups {
                answers.entry(lookup).or_insert_with(|| any_answer(rng));
            }
        });
    }

    fn hear(&mut self, rng: &mut fastrand::Rng) {
        let id = any_task(rng.u32(..TASKS)).workload();
        if rng.u8(..5) == 0 {
            self.heard.remove(&id);
            return;
        }
        let ports = |rng: &mut fastrand::Rng| (0..rng.usize(..3)).map(|_| rng.u16(8080..8083)).collect();
        let observed = Observed {
            ready: rng.u8(..4) > 0,
            stopping: rng.u8(..8) == 0,
            listening: ports(rng),
            wildcard: ports(rng),
            settled: rng.bool(),
            checked: rng
                .bool()
                .then(|| if rng.bool() { Checked::Passing } else { Checked::Failing("no".into()) }),
            ..Observed::default()
        };
        let sidecar = if rng.u8(..8) == 0 { "another".to_owned() } else { id.0.clone() };
        let address = rng.bool().then(|| [10, 1, 0, rng.u8(..3)].into());
        let observed = Some(observed).filter(|_| rng.u8(..6) > 0);
        self.heard
            .insert(id, Arc::new(Heard { sidecar, connected: rng.bool(), address, observed, next: None }));
    }

    /// The turn of the merging loop.
    fn turn(&mut self, seed: u64) {
        let sight = self.source.look(&self.mesh, &mut self.last).unwrap();
        assert_eq!(sight, self.source.look(&self.mesh, &mut None).unwrap(), "seed {seed}");
        let (view, conflicts) = merge(&[("ecs", &sight.view)]);
        assert!(conflicts.is_empty());
        let workloads = self.joined.turn(&view, &sight.sidecars, &self.heard);
        assert_eq!(workloads, Joined::default().turn(&view, &sight.sidecars, &self.heard), "seed {seed}");
        for workload in workloads.values() {
            let next = u32::try_from(self.indices.len()).unwrap() + 1;
            let key = outrigger_compile::service_key(workload);
            self.indices.entry(key).or_insert_with(|| VirtualIndex::new(next).unwrap());
        }
        let indices = self.indices.clone();
        let snapshot = Snapshot { trust_domain: "shop.internal".into(), workloads, indices };
        if *self.snapshot != snapshot {
            self.snapshot = Arc::new(snapshot);
        }
    }

    /// Every sidecar that listens now has what it would have if everything were made anew.
    fn publish(&mut self, rng: &mut fastrand::Rng, seed: u64) {
        for id in (0..TASKS).map(|n| any_task(n).workload()) {
            if rng.u8(..4) == 0 {
                continue;
            }
            if rng.u8(..10) == 0 {
                self.sidecars.remove(&id);
            }
            let sidecar = self.sidecars.entry(id.clone()).or_insert_with(Sidecar::new);
            let wish = self.worlds.wish(&self.snapshot, &id, sidecar.wish.as_ref());
            match (wish, compile(&self.snapshot, &id)) {
                (Ok(wish), Ok(config)) => {
                    sidecar.take(wish, rng);
                    let (wanted, whole) = (&sidecar.wish.as_ref().unwrap().wanted, Wanted::of(&config));
                    assert_eq!(wanted.hashes(), whole.hashes(), "seed {seed}, {}", last_part(&id.0));
                    assert_eq!(wanted.version(), whole.version(), "seed {seed}");
                    if sidecar.refused.as_ref() != Some(&whole.version()) {
                        assert_eq!(sidecar.holds.config().unwrap(), config, "seed {seed}");
                    }
                }
                (Err(quick), Err(whole)) => {
                    assert_eq!(quick, whole, "seed {seed}");
                    sidecar.wish = None;
                }
                (quick, whole) => panic!("seed {seed}: {quick:?}, {whole:?}"),
            }
        }
    }
}

impl Sidecar {
    fn new() -> Self {
        Self { outbox: Outbox::new(Hashes::new()), wish: None, holds: Held::default(), refused: None }
    }

    /// As a session does; it refuses at times.
    fn take(&mut self, wish: Option<Wish>, rng: &mut fastrand::Rng) {
        let Some(wish) = wish else { return };
        match self.outbox.offer(&wish.wanted) {
            Offer::Send(Delta { nonce, version, upserts, removals }) if rng.u8(..5) > 0 => {
                self.holds = self.holds.apply(upserts, &removals).unwrap();
                assert_eq!(self.holds.version(), version);
                assert!(self.outbox.acked(nonce).is_some());
                self.refused = None;
            }
            Offer::Send(delta) => {
                assert!(self.outbox.nacked(delta.nonce));
                self.refused = Some(delta.version);
            }
            Offer::Held => self.refused = None,
            Offer::Refused => assert_eq!(self.refused, Some(wish.wanted.version())),
            other => panic!("{other:?}"),
        }
        self.wish = Some(wish);
    }
}

fn of_tasks(tasks: &mut BTreeMap<WorkloadId, Arc<Task>>, rng: &mut fastrand::Rng) {
    let new = any_task(rng.u32(..TASKS));
    let id = new.workload();
    match (rng.u8(..8), tasks.get_mut(&id)) {
        (0, _) => drop(tasks.remove(&id)),
        (1, Some(task)) => Arc::make_mut(task).desired_status = Stage::Stopped,
        (2, Some(task)) => Arc::make_mut(task).last_status = Stage::Activating,
        (3, Some(task)) => Arc::make_mut(task).zone = rng.bool().then(|| format!("zone-{}", rng.u8(..2))),
        (4, Some(task)) if !task.addresses.is_empty() => {
            Arc::make_mut(task).addresses = vec![[10, 0, 1, rng.u8(..4)].into()];
        }
        (5, Some(task)) => {
            let mut sidecar = container("outrigger-sidecar");
            sidecar.last_status = if rng.bool() { Stage::Running } else { Stage::Pending };
            let mut app = container("app");
            app.health = if rng.bool() { Reported::Unhealthy } else { Reported::Healthy };
            Arc::make_mut(task).containers = vec![app, sidecar];
        }
        _ => drop(tasks.insert(id, Arc::new(new))),
    }
}

fn any_answer(rng: &mut fastrand::Rng) -> Answer {
    let instance = |rng: &mut fastrand::Rng| {
        let n = rng.u32(..TASKS);
        Instance {
            id: if rng.bool() { any_task(n).id } else { format!("i-{n}") },
            addresses: vec![[10, 0, rng.u8(..3), rng.u8(..4)].into()],
            port: rng.bool().then(|| rng.u16(80..82)),
            zone: rng.bool().then(|| "zone-1".to_owned()),
            cluster: rng.bool().then(|| "shop".to_owned()),
            health: if rng.bool() { Health::Healthy } else { Health::Unhealthy },
        }
    };
    let mut all: BTreeMap<String, Instance> = BTreeMap::new();
    for _ in 0..rng.usize(..5) {
        let one = instance(rng);
        all.insert(one.id.clone(), one);
    }
    let instances: Option<Arc<[Instance]>> = (rng.u8(..5) > 0).then(|| all.into_values().collect());
    let error = rng.bool().then(|| "away".to_owned());
    Answer { instances, error, awaited: rng.u8(..4) == 0, ..Answer::default() }
}

#[test]
fn what_comes_of_changes_is_what_comes_of_everything_made_anew() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for _ in 0..60 {
            (0..rng.usize(1..3)).for_each(|_| world.change(&mut rng));
            world.turn(seed);
            if rng.u8(..3) == 0 {
                world.publish(&mut rng, seed);
            }
        }
    }
}

/// Whoever comes and goes: what is kept is of those who are there.
#[test]
fn nothing_is_kept_of_who_is_gone() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut world = World::new();
    for turn in 0..200 {
        world.change(&mut rng);
        // Tasks have another id each time.
        let new = task(TASKS + turn);
        world.seen.send_modify(|seen| {
            let tasks = Arc::make_mut(&mut seen.tasks);
            tasks.insert(new.workload(), Arc::new(new));
            while tasks.len() > TASKS as usize {
                tasks.pop_last();
            }
        });
        world.turn(1);
        world.publish(&mut rng, 1);
        let made = world.worlds.0.lock().unwrap();
        assert!(made.now.len() + made.before.len() <= 2 * FAMILIES.len());
        assert_eq!(world.joined.len(), world.snapshot.workloads.len());
        assert!(world.indices.len() <= FAMILIES.len() + 2);
    }
}
