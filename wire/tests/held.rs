//! A change of what is held is put on top of what was put together before; that is the same as putting all together.
#![allow(clippy::unwrap_used, reason = "a test")]

use outrigger_wire::{Held, ProxyConfig, Resource, Wanted};
use serde_json::{Map, Value, json};

/// A generator of its own (xorshift): a failure is repeated by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Services of which each has been changed so often; none: it is not there.
fn config(workload: &str, services: &[Option<u64>]) -> ProxyConfig {
    let (mut known, mut clusters) = (Map::new(), Map::new());
    for (number, changed) in services.iter().enumerate() {
        let Some(changed) = changed else { continue };
        let (key, cluster) = (format!("s{number}.shop"), format!("s{number}.shop:80"));
        known.insert(key.clone(), json!({ "names": [key], "ports": { "80": { "cluster": cluster } } }));
        let identity = format!("spiffe://a/shop/s{number}");
        let target =
            json!({ "service": key, "port": 80, "identity": identity, "connect_timeout_ms": 1 + changed });
        clusters.insert(cluster, target);
    }
    let own = json!({ "identity": "spiffe://a/shop/web", "workload": workload, "listeners": {} });
    serde_json::from_value(json!({ "proxy": own, "services": known, "clusters": clusters })).unwrap()
}

/// The same pieces, of which nothing was put together before.
fn afresh(held: &Held) -> Held {
    Held::default().apply(held.resources().cloned().collect(), &[]).unwrap()
}

fn said(held: &Held) -> Result<ProxyConfig, String> {
    held.config().map_err(|error| error.to_string())
}

#[test]
fn piece_by_piece_is_as_good_as_all_at_once() {
    for seed in 1..=30 {
        let mut dice = Dice(seed);
        let mut services = vec![None; 70];
        let mut held = Held::default();
        for round in 0..40 {
            for _ in 0..dice.below(6) {
                let at = usize::try_from(dice.below(70)).unwrap();
                services[at] = (dice.below(4) > 0).then(|| dice.below(3));
            }
            let meant = config(if round % 9 == 8 { "web-2" } else { "web-1" }, &services);
            let (upserts, removals) = Wanted::of(&meant).delta(&held.hashes());
            let next = held.apply(upserts.clone(), &removals).unwrap();
            assert_eq!(said(&next), Ok(meant.clone()), "seed {seed}");
            assert_eq!(said(&afresh(&next)), Ok(meant.clone()), "seed {seed}");
            assert_eq!(next.version(), Wanted::of(&meant).version(), "seed {seed}");

            // The same with something that is not sound: it is refused, for the same reason, and leaves nothing.
            let (mut upserts, mut removals) = (upserts, removals);
            let there: Vec<_> =
                services.iter().enumerate().filter(|(_, service)| service.is_some()).collect();
            let Some((number, _)) = there.first() else { continue };
            match dice.below(4) {
                0 => removals.push(format!("cluster/s{number}.shop:80")),
                1 => removals.push("proxy".into()),
                2 => {
                    removals.retain(|name| name != "service/s1.shop");
                    upserts.push(piece("service/s1.shop", json!({ "names": 1 })));
                }
                _ => upserts.push(piece("strange/s1", json!({}))),
            }
            upserts.retain(|resource| !removals.contains(&resource.name));
            let bad = held.apply(upserts, &removals).unwrap();
            let reason = said(&bad).expect_err("it is not sound");
            assert_eq!(Err(reason), said(&afresh(&bad)), "seed {seed}");
            // And what comes on top of it is as good as ever.
            let (upserts, removals) = Wanted::of(&meant).delta(&bad.hashes());
            assert_eq!(said(&bad.apply(upserts, &removals).unwrap()), Ok(meant), "seed {seed}");
            held = next;
        }
    }
}

fn piece(name: &str, body: Value) -> Resource {
    let body = serde_json::to_vec(&body).unwrap();
    Resource { name: name.into(), hash: outrigger_wire::resource::hash(&body), body }
}
