//! How long a sidecar that knows a large mesh takes to apply one service that changed: 1,000 services of 3 endpoints, or
//! as many as the first argument says. From the change as it came over the control stream to the generation that runs;
//! prints one JSON object of milliseconds. `cargo xtask bench` builds it for release and shows it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use outrigger_sidecar::patience::Patience;
use outrigger_sidecar::settings::AccessLog;
use outrigger_sidecar::{Options, Sidecar};
use outrigger_wire::{Held, ProxyConfig, Wanted};
use serde_json::{Map, json};
use tokio::sync::watch;

const ENDPOINTS: u8 = 3;
/// Changes of which the median counts.
const ROUNDS: u8 = 51;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let services = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let (_identity, identity) = watch::channel(None);
    let (_listening, listening) = watch::channel(BTreeMap::default());
    let sidecar = Sidecar::bind(Options {
        workers: 1,
        connections: 100,
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        access_log: AccessLog::Off,
        identity,
        listening,
        hand_over: None,
        patience: Patience::default(),
        hosts: None,
    });
    let runtime = sidecar.expect("a port of loopback").runtime();
    let mut held = Held::of(&config(services, 0));
    runtime.apply(held.config().expect("what is held is sound")).expect("the configuration is sound");

    let (mut read, mut applied) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (upserts, removals) = Wanted::of(&config(services, round)).delta(&held.hashes());
        assert_eq!((upserts.len(), removals.len()), (1, 0), "one cluster changed");
        let begun = Instant::now();
        let next = held.apply(upserts, &removals).expect("the change is sound");
        let version = next.version();
        let config = next.config().expect("the change is sound");
        let (checked, stored) = (begun.elapsed(), config.clone());
        // As the session does: the version comes with the change.
        runtime.apply_as(config, Some(version.clone())).expect("the change is sound");
        applied.push(begun.elapsed().as_secs_f64() * 1e3);
        read.push(checked.as_secs_f64() * 1e3);
        assert_eq!(version, next.version());
        drop(std::mem::replace(&mut held, next));
        drop(stored);
    }
    println!(
        "{{\"services\":{services},\"apply_ms\":{:.4},\"read_ms\":{:.4}}}",
        median(applied),
        median(read)
    );
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

/// One service has another endpoint in each round.
fn config(services: u32, round: u8) -> ProxyConfig {
    let (mut known, mut clusters) = (Map::new(), Map::new());
    for number in 0..services {
        let (key, cluster) = (format!("s{number}.bench"), format!("s{number}.bench:8080"));
        let (high, low) = (number / 250, number % 250);
        let shift = if number == 7 { round } else { 0 };
        let endpoint = |last: u8| {
            let last = last.saturating_add(shift);
            json!({ "workload": format!("s{number}-{last}"), "address": format!("10.{high}.{low}.{last}:15008") })
        };
        let service = json!({
            "names": [format!("s{number}"), key],
            "virtual_addresses": [format!("127.64.{high}.{low}")],
            "ports": { "8080": { "cluster": cluster } },
        });
        let target = json!({
            "service": key,
            "port": 8080,
            "identity": format!("spiffe://bench.internal/bench/s{number}"),
            "endpoints": (1..=ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        });
        known.insert(key, service);
        clusters.insert(cluster, target);
    }
    let outbound = json!({ "address": "127.0.0.1:0", "kind": "outbound", "target": "original-destination" });
    let own = json!({
        "identity": "spiffe://bench.internal/bench/client",
        "workload": "client-1",
        "listeners": { "outbound": outbound },
    });
    serde_json::from_value(json!({ "proxy": own, "services": known, "clusters": clusters }))
        .expect("it is sound")
}
