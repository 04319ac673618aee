use serde_json::{Value, json};

use super::*;

/// What one service is: the one it shares its virtual address with, its ports, the replicas that it has, routes or not.
type Said = (u64, Vec<u16>, Vec<u8>, bool);

/// `close`: services may claim the same addresses.
fn said(rng: &mut fastrand::Rng, number: u64, close: bool) -> Said {
    let address = if close && rng.u8(..4) == 0 { rng.u64(..8) } else { number };
    let ports = [80, 81].into_iter().filter(|_| rng.u8(..3) > 0).collect();
    let from = if close { 0 } else { u8::try_from(number).unwrap() * 6 };
    let replicas = (from..from + 6).filter(|_| rng.bool()).collect();
    (address, ports, replicas, rng.bool())
}

fn config(services: &[Option<Said>], edge: bool) -> ProxyConfig {
    let (mut known, mut clusters) = (serde_json::Map::new(), serde_json::Map::new());
    for (number, said) in services.iter().enumerate() {
        let Some((address, ports, replicas, routed)) = said else { continue };
        let key = format!("s{number}.shop");
        let mut own = serde_json::Map::new();
        for port in ports {
            let cluster = format!("{key}:{port}");
            let target = |replicas: &[u8]| -> Value {
                let endpoint = |last: &u8| json!({ "workload": format!("w{last}"), "address": format!("10.0.0.{last}:15008") });
                let endpoints: Vec<_> = replicas.iter().map(endpoint).collect();
                let identity = format!("spiffe://a/shop/s{number}");
                json!({ "service": key, "port": port, "identity": identity, "endpoints": endpoints })
            };
            let version = format!("{cluster}/v2");
            let routes = json!([{ "name": version, "backends": [{ "cluster": version, "weight": 1 }] }]);
            let protocol = if replicas.len() > 3 { "http2" } else { "http" };
            let mut said = json!({ "cluster": cluster, "protocol": protocol });
            if *routed {
                said["routes"] = routes;
                clusters.insert(version, target(replicas.get(..1).unwrap_or_default()));
            }
            clusters.insert(cluster, target(replicas));
            own.insert(port.to_string(), said);
        }
        known.insert(
            key.clone(),
            json!({ "names": [key], "virtual_addresses": [format!("127.64.0.{address}")], "ports": own }),
        );
    }
    let edge: &[u16] = if edge { &[80] } else { &[] };
    let own = json!({ "identity": "spiffe://a/shop/s0", "workload": "w1", "listeners": {}, "edge": edge });
    serde_json::from_value(json!({ "proxy": own, "services": known, "clusters": clusters })).unwrap()
}

/// All that can be asked of a generation; endpoints by their names.
fn answers(generation: &Generation) -> Vec<String> {
    let mut all = Vec::new();
    for port in [80, 81] {
        for last in 0..60u8 {
            for net in [[10, 0, 0], [127, 64, 0]] {
                let [a, b, c] = net;
                let found = generation.outbound(([a, b, c, last], port).into());
                if let Found::To(to, _) = &found {
                    all.push(format!("{:?}", generation.timeouts(to)));
                }
                all.push(format!("{found:?}"));
            }
        }
    }
    let mut clusters: Vec<_> = generation.clusters.iter().collect();
    clusters.sort_by_key(|(key, _)| *key);
    for (key, cluster) in clusters {
        let members = cluster.members.iter().map(|m| (&m.endpoint.workload, m.endpoint.address, m.ready));
        all.push(format!("{key} {} {:?}", cluster.key, members.collect::<Vec<_>>()));
    }
    let mut routes: Vec<_> = generation.routes.iter().map(|route| format!("{route:?}")).collect();
    routes.sort();
    all.append(&mut routes);
    let mut edges: Vec<_> = generation.edge_routes.iter().map(|edge| format!("{edge:?}")).collect();
    edges.sort();
    all.append(&mut edges);
    all
}

fn endpoints(generation: &Generation) -> Vec<(u64, Arc<Endpoint>)> {
    let members = generation.clusters.values().flat_map(|cluster| &cluster.members);
    members.map(|member| (member.endpoint.id, member.endpoint.clone())).collect()
}

#[test]
fn what_changes_is_put_on_top_as_if_all_were_made_anew() {
    for seed in 0..24 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let close = seed % 2 == 0;
        let mut next_id = 0;
        let mut services: Vec<Option<Said>> = vec![None; 8];
        let mut before: Option<Generation> = None;
        for _ in 0..50 {
            for _ in 0..rng.u8(..4) {
                let number = rng.usize(..8);
                services[number] = rng.bool().then(|| said(&mut rng, u64::try_from(number).unwrap(), close));
            }
            let config = config(&services, rng.bool());
            let next = Generation::new(config.clone(), None, before.as_ref(), &mut next_id).unwrap();
            let anew = Generation::new(config.clone(), None, None, &mut 0).unwrap();
            assert_eq!(answers(&next), answers(&anew), "seed {seed}");
            if let Some(before) = before {
                before.retire(&next);
                let still: BTreeSet<_> = endpoints(&next).into_iter().map(|(id, _)| id).collect();
                for (id, endpoint) in endpoints(&before) {
                    assert_eq!(endpoint.is_removed(), !still.contains(&id), "seed {seed}");
                }
            }
            // One that is refused leaves what was before as it was.
            let mut bad = config;
            let service = bad.services.values_mut().find(|service| !service.ports.is_empty());
            let ports = service.map(|service| service.ports.values_mut());
            if ports.map(|ports| ports.for_each(|port| port.cluster = "nobody".into())).is_some() {
                let reasons = Generation::new(bad, None, Some(&next), &mut next_id).unwrap_err();
                assert!(reasons[0].contains("there is no cluster `nobody`"), "{reasons:?}");
                assert_eq!(answers(&next), answers(&anew), "seed {seed}");
            }
            before = Some(next);
        }
    }
}

/// Several replicas without a sidecar may share one host: each is at the port that it serves, and the called port of that host is
/// somebody else's.
#[test]
fn a_replica_without_a_sidecar_is_known_by_its_own_port() {
    let endpoint = |name: &str, port: u16| json!({ "workload": name, "address": format!("10.0.0.5:{port}"), "transport": "plaintext" });
    let cluster = json!({
        "service": "billing.shop", "port": 80, "identity": "spiffe://a/shop/billing",
        "endpoints": [endpoint("one", 32768), endpoint("two", 32769)],
    });
    let config = json!({
        "proxy": { "identity": "spiffe://a/shop/web", "workload": "w", "listeners": {} },
        "services": { "billing.shop": { "names": ["billing"], "ports": { "80": { "cluster": "billing.shop:80" } } } },
        "clusters": { "billing.shop:80": cluster },
    });
    let generation = Generation::new(serde_json::from_value(config).unwrap(), None, None, &mut 0).unwrap();
    let found = |port: u16| match generation.outbound(([10, 0, 0, 5], port).into()) {
        Found::To(Destination::Endpoint { workload, .. }, _) => Some(workload),
        _ => None,
    };
    assert_eq!(
        (found(32768).as_deref(), found(32769).as_deref(), found(80)),
        (Some("one"), Some("two"), None)
    );
}
