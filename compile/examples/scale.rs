//! How long the way from a snapshot to what is sent takes in a large mesh: 1,000 services of 3 replicas on one
//! network, or as many as the first argument says, each with as many routes as the second (none unless said). Prints one JSON object of milliseconds and bytes;
//! `cargo xtask bench` builds it for release and shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use outrigger_compile::{Outlook, compile, outlook, proxy};
use outrigger_model::label::Labels;
use outrigger_model::{
    Attachment, Declared, Health, Lifecycle, Mesh, Observed, Protocol, Route, ServiceKey, Snapshot,
    VirtualIndex, Workload, WorkloadId,
};
use outrigger_wire::{Common, Wanted};

const REPLICAS: usize = 3;
/// Measurements of which the median counts.
const ROUNDS: usize = 9;

fn main() {
    let services = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let routes = routes(std::env::args().nth(2).and_then(|word| word.parse().ok()).unwrap_or(0));
    let before = snapshot(services, &routes, 0);
    let after = snapshot(services, &routes, 1);
    let first = before.workloads.keys().next().cloned().expect("there is a workload");

    let compiled = median(|| drop(compile(&before, &first)));
    let config = compile(&before, &first).expect("the snapshot is sound");
    let cut = median(|| drop(Wanted::of(&config)));
    // One after the other, as the controller does: what they have in common is made once.
    let held: Vec<Wanted> = all(&before).collect();
    let begun = Instant::now();
    let (mut sent, mut bytes) = (0, 0);
    for (wanted, held) in all(&after).zip(&held) {
        let (upserts, _) = wanted.delta_since(held);
        bytes = upserts.iter().map(|resource| resource.body.len()).sum();
        sent += upserts.len();
        std::hint::black_box(wanted.version());
    }
    let everybody = milliseconds(begun);
    let (now, then) = (all(&after).last(), held.last());
    let one = now.zip(then).map(|(now, then)| median(|| drop((now.delta_since(then), now.version()))));
    println!(
        "{{\"services\":{services},\"sidecars\":{},\"compile_ms\":{compiled:.3},\"cut_ms\":{cut:.3},\"delta_ms\":{:.3},\
         \"delta_bytes\":{bytes},\"sent\":{sent},\"all_ms\":{everybody:.1}}}",
        held.len(),
        one.unwrap_or_default(),
    );
}

/// What every sidecar should hold.
fn all(snapshot: &Snapshot) -> impl Iterator<Item = Wanted> {
    let mut made: BTreeMap<Outlook, Arc<Common>> = BTreeMap::new();
    snapshot.workloads.iter().map(move |(id, workload)| {
        let place = outlook(workload).expect("transparent capture");
        let common = made.entry(place).or_insert_with(|| {
            let config = compile(snapshot, id).expect("the snapshot is sound");
            Arc::new(Common::of(&config.services, &config.clusters))
        });
        Wanted::new(&proxy(snapshot, id).expect("the snapshot is sound"), common.clone())
    })
}

fn median(mut measured: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            measured();
            milliseconds(begun)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// So many routes, as a mesh file says them: each a prefix and a header, to two versions.
fn routes(count: usize) -> Arc<[Route]> {
    let route = |number| {
        format!(
            "      - matches: [ {{ path: {{ prefix: /items/{number} }}, headers: {{ x-canary: \"1\" }} }} ]\n\
             \x20       backends: [ {{ weight: 90 }}, {{ version: v2, weight: 10 }} ]\n"
        )
    };
    let list: String = (0..count).map(route).collect();
    let text =
        if list.is_empty() { String::new() } else { format!("services:\n  cart:\n    routes:\n{list}") };
    let mesh = Mesh::read(&text, "mesh.yaml").expect("the routes are well formed");
    let key = ServiceKey { namespace: "shop".into(), service: "cart".into() };
    mesh.declare(&key, &Labels::default(), &BTreeSet::new()).0.routes
}

/// So many services; `changed` of them have one more port than before.
fn snapshot(services: usize, routes: &Arc<[Route]>, changed: usize) -> Snapshot {
    let mut snapshot = Snapshot { trust_domain: "outrigger.internal".into(), ..Snapshot::default() };
    for service in 0..services {
        let key = ServiceKey { namespace: "shop".into(), service: format!("service-{service:04}") };
        let index = u32::try_from(service + 1).ok().and_then(VirtualIndex::new);
        snapshot.indices.extend(index.map(|index| (key.clone(), index)));
        for replica in 0..REPLICAS {
            let mut workload =
                workload(&key.service, service * REPLICAS + replica, replica + 1, service < changed);
            workload.declared.routes = routes.clone();
            snapshot.workloads.insert(workload.id.clone(), workload.into());
        }
    }
    snapshot
}

fn workload(service: &str, number: usize, replica: usize, changed: bool) -> Workload {
    let [.., high, low] = number.to_be_bytes();
    let attachment =
        Attachment { network: "shop_default".into(), addresses: vec![[10, 0, high, low].into()] };
    let mut ports: BTreeMap<u16, Protocol> = [(8080, Protocol::Http)].into();
    ports.extend(changed.then_some((9090, Protocol::Http)));
    let listening = ports.keys().copied().collect();
    Workload {
        id: WorkloadId(format!("{number:064x}")),
        name: format!("shop-{service}-{replica}"),
        namespace: "shop".into(),
        declared: Declared { service: service.into(), ports, ..Declared::default() },
        aliases: [service.to_owned()].into(),
        zone: None,
        networks: [("network".to_owned(), attachment)].into(),
        exposed: [8080].into(),
        published: Default::default(),
        lifecycle: Lifecycle::Running,
        instance: Some("2026-11-23T10:00:00Z".into()),
        health: Health::Healthy,
        one_off: false,
        mesh_port: None,
        outside: None,
        observed: Some(Observed { ready: true, listening, ..Observed::default() }),
    }
}
