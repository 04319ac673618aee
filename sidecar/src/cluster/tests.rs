use std::sync::Arc;

use outrigger_wire::{Endpoint as Described, SpiffeId, Transport};

use super::*;

fn cluster(ready: &[bool]) -> Cluster {
    let config = outrigger_wire::Cluster {
        service: "cart.shop".into(),
        port: 80,
        identity: SpiffeId::new("a", "shop", "cart").unwrap(),
        connect_timeout_ms: 1000,
        endpoints: Vec::new(),
    };
    let name: ServerName<'static> = "80.cart.shop".try_into().unwrap();
    let member = |(id, ready): (usize, &bool)| {
        let described = Described {
            workload: format!("cart-{id}"),
            address: "127.0.0.1:1".parse().unwrap(),
            transport: Transport::Mesh,
            instance: String::new(),
            also: Default::default(),
            ready: *ready,
        };
        let endpoint = Arc::new(Endpoint::new(id as u64, &config, name.clone(), &described));
        Member { endpoint, ready: *ready }
    };
    Cluster {
        key: "cart.shop:80".into(),
        service: "cart.shop".into(),
        port: 80,
        connect_timeout: Duration::from_secs(1),
        members: ready.iter().enumerate().map(member).collect(),
    }
}

fn loads(cluster: &Cluster) -> Vec<u32> {
    cluster.members.iter().map(|m| m.endpoint.in_flight()).collect()
}

#[test]
fn few_endpoints_are_loaded_evenly() {
    let mut rng = fastrand::Rng::with_seed(1);
    let cluster = cluster(&[true, true, true]);
    let held: Vec<_> = (0..30).map(|_| cluster.pick(&Tried::none(), &mut rng).unwrap()).collect();
    assert_eq!(loads(&cluster), [10, 10, 10]);
    drop(held);
    assert_eq!(loads(&cluster), [0, 0, 0]);
}

#[test]
fn many_endpoints_are_loaded_nearly_evenly() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster = cluster(&[true; 20]);
        let _held: Vec<_> = (0..2000).map(|_| cluster.pick(&Tried::none(), &mut rng).unwrap()).collect();
        let loads = loads(&cluster);
        assert!(loads.iter().all(|load| (95..=105).contains(load)), "seed {seed}: {loads:?}");
    }
}

#[test]
fn idle_endpoints_take_turns() {
    let mut rng = fastrand::Rng::with_seed(2);
    let cluster = cluster(&[true; 3]);
    let mut times = [0; 3];
    for _ in 0..3000 {
        times[cluster.pick(&Tried::none(), &mut rng).unwrap().endpoint.id as usize] += 1;
    }
    assert!(times.iter().all(|times| (850..1150).contains(times)), "{times:?}");
}

#[test]
fn never_one_that_is_not_ready_or_was_tried_while_there_is_any_other() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ready: Vec<bool> = (0..rng.usize(1..12)).map(|_| rng.bool()).collect();
        let cluster = cluster(&ready);
        let mut tried = Tried::none();
        let mut left = ready.iter().filter(|ready| **ready).count();
        while let Some(picked) = cluster.pick(&tried, &mut rng) {
            assert!(ready[picked.endpoint.id as usize] && !tried.contains(&picked.endpoint), "seed {seed}");
            tried.add(&picked.endpoint);
            left -= 1;
        }
        assert_eq!(left, 0, "seed {seed}: every ready endpoint gets its turn");
    }
}

#[test]
fn one_that_failed_is_avoided_unless_it_is_the_only_one() {
    for count in [2, 3, 8] {
        let mut rng = fastrand::Rng::with_seed(3);
        let cluster = cluster(&vec![true; count]);
        let bad = &cluster.members[0].endpoint;
        bad.failed();
        for _ in 0..100 {
            assert_ne!(cluster.pick(&Tried::none(), &mut rng).unwrap().endpoint.id, 0);
        }
        let mut others = Tried::none();
        cluster.members[1..].iter().for_each(|m| others.add(&m.endpoint));
        assert_eq!(cluster.pick(&others, &mut rng).unwrap().endpoint.id, 0);
        bad.reached();
        assert!(!bad.is_avoided());
    }
}

#[test]
fn one_that_is_not_ready_can_still_be_called_by_name() {
    let cluster = cluster(&[false]);
    assert!(cluster.pick(&Tried::none(), &mut fastrand::Rng::with_seed(4)).is_none());
    let picked = cluster.named("cart-0").unwrap();
    assert_eq!(picked.endpoint.in_flight(), 1);
    assert!(cluster.named("cart-1").is_none());
}
