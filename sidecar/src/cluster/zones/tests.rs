use std::time::Duration;

use outrigger_wire::policy::Outlier;

use super::*;
use crate::cluster::tests::{alter, cluster};

fn at(own: &str, callers: &[(&str, u32)]) -> Whereabouts {
    let callers = callers.iter().map(|(zone, count)| ((*zone).to_owned(), *count)).collect();
    Whereabouts { own: own.into(), callers }
}

/// One endpoint in each of these zones, as the caller sees them.
fn zoned(caller: &Whereabouts, zones: &[&str]) -> Arc<Cluster> {
    let zones: Vec<_> = zones.iter().copied().map(Some).collect();
    alter(cluster(&vec![true; zones.len()]), |cluster| {
        cluster.zoned = caller.shares(&cluster.members, &zones)
    })
}

/// What part of one caller's calls goes to each endpoint.
fn parts(caller: &Whereabouts, zones: &[&str]) -> Vec<f64> {
    let cluster = zoned(caller, zones);
    let Some(shares) = &cluster.zoned else { return vec![1.0 / zones.len() as f64; zones.len()] };
    let mut parts = vec![0.0; zones.len()];
    let mut before = 0.0;
    for (index, end) in &shares.line {
        parts[*index] = end - before;
        before = *end;
    }
    parts
}

fn assert_near(found: &[f64], expected: &[f64]) {
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(near && found.len() == expected.len(), "{found:?} {expected:?}");
}

#[test]
fn calls_stay_in_the_zone_as_far_as_it_can_carry_them() {
    let even = at("a", &[("a", 2), ("b", 2)]);
    assert_near(&parts(&even, &["a", "b"]), &[1.0, 0.0]);
    assert_near(&parts(&even, &["a", "a", "b"]), &[0.5, 0.5, 0.0]);
    // Half of the calls come from here, and a quarter of the endpoints is here.
    assert_near(&parts(&even, &["a", "b", "b", "b"]), &[0.5, 0.5 / 3.0, 0.5 / 3.0, 0.5 / 3.0]);
    // Nobody else calls from here.
    assert_near(&parts(&at("a", &[("a", 1), ("b", 9)]), &["a", "b", "b", "b"]), &[1.0, 0.0, 0.0, 0.0]);
    // None here: to where there are more endpoints than callers.
    assert_near(&parts(&at("a", &[("a", 1), ("b", 1)]), &["b", "c"]), &[0.0, 1.0]);
    // Callers are not known: as many in each zone.
    assert_near(&parts(&at("a", &[]), &["a", "b", "c"]), &[1.0, 0.0, 0.0]);
    assert_near(&parts(&at("a", &[]), &["b", "c"]), &[0.5, 0.5]);
}

#[test]
fn zones_that_make_no_difference_are_none() {
    let caller = at("a", &[("a", 1)]);
    assert!(zoned(&caller, &["a", "a"]).zoned.is_none());
    assert!(zoned(&caller, &["b", "b"]).zoned.is_none());
    assert!(caller.shares(&cluster(&[true, true]).members, &[Some("a"), None]).is_none());
}

/// Whatever the zones, all callers together give every endpoint its weight's share: none is left out, and the only one of a
/// zone gets no more than others.
#[test]
fn all_callers_together_load_every_endpoint_alike() {
    for seed in 0..2000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let names = ["a", "b", "c", "d"];
        let callers: Vec<(&str, u32)> = names.iter().map(|zone| (*zone, rng.u32(..5))).collect();
        let callers: Vec<_> = callers.into_iter().filter(|(_, count)| *count > 0).collect();
        let all: u32 = callers.iter().map(|(_, count)| count).sum();
        if all == 0 {
            continue;
        }
        let zones: Vec<&str> = (0..rng.usize(1..12)).map(|_| names[rng.usize(..4)]).collect();
        let mut loads = vec![0.0; zones.len()];
        for (own, count) in &callers {
            let part = parts(&at(own, &callers), &zones);
            assert!((part.iter().sum::<f64>() - 1.0).abs() < 1e-9, "seed {seed}: {part:?}");
            for (load, part) in loads.iter_mut().zip(part) {
                *load += part * f64::from(*count) / f64::from(all);
            }
        }
        let fair = 1.0 / zones.len() as f64;
        assert!(
            loads.iter().all(|load| (load - fair).abs() < 1e-6),
            "seed {seed}: {callers:?} {zones:?} {loads:?}"
        );
    }
}

/// As long as one is ready that was not tried, it is found, wherever it is and whatever is wrong with it.
#[test]
fn no_set_of_endpoints_goes_unserved() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.usize(1..8);
        let zones: Vec<_> = (0..count).map(|_| Some(["a", "b", "c"][rng.usize(..3)])).collect();
        let caller = at("a", &[("a", 1), ("b", rng.u32(..3))]);
        let cluster = alter(cluster(&vec![true; count]), |cluster| {
            cluster.balance =
                [Balance::LeastRequest, Balance::PeakEwma, Balance::RoundRobin, Balance::Random]
                    [rng.usize(..4)];
            cluster.policy.outlier = Some(Outlier { consecutive_errors: 1, ..Outlier::default() });
            cluster.slow_start = Duration::from_secs(rng.u64(..2));
            cluster.members.iter_mut().for_each(|member| member.ready = rng.u32(..4) > 0);
            cluster.zoned = caller.shares(&cluster.members, &zones);
        });
        for member in &cluster.members {
            if rng.bool() {
                member.endpoint.failed();
            }
            if rng.bool() {
                cluster.observe(&member.endpoint, true);
            }
        }
        let ready = cluster.members.iter().filter(|member| member.ready).count();
        let mut tried = Tried::none();
        for _ in 0..ready {
            let picked = cluster.pick(&tried, None, &mut rng).expect("one is left");
            assert!(!tried.contains(&picked.endpoint));
            tried.add(&picked.endpoint);
        }
        assert!(cluster.pick(&tried, None, &mut rng).is_none());
    }
}

/// The share of one that is out goes to all, so that its neighbour in the zone is not left alone with it.
#[test]
fn what_one_cannot_take_goes_to_every_zone() {
    for balance in [Balance::LeastRequest, Balance::Random, Balance::RoundRobin, Balance::PeakEwma] {
        let caller = at("a", &[("a", 1), ("b", 1)]);
        let cluster = zoned(&caller, &["a", "a", "b", "b"]);
        let cluster = alter(cluster, |cluster| cluster.balance = balance);
        let mut rng = fastrand::Rng::with_seed(5);
        let mut counted = |cluster: &Arc<Cluster>| {
            let mut counts = [0_u32; 4];
            for _ in 0..3000 {
                counts[cluster.pick(&Tried::none(), None, &mut rng).unwrap().endpoint.id as usize] += 1;
            }
            counts
        };
        let counts = counted(&cluster);
        assert!(
            counts[0] + counts[1] == 3000 && counts[0].abs_diff(counts[1]) < 300,
            "{balance:?} {counts:?}"
        );
        cluster.members[0].endpoint.failed();
        let counts = counted(&cluster);
        assert_eq!(counts[0], 0, "{balance:?}");
        // Half by zone, and a third of the other half.
        assert!(
            (1700..2300).contains(&counts[1]) && counts[2] > 300 && counts[3] > 300,
            "{balance:?} {counts:?}"
        );
    }
}

/// By hash a value has one replica, whoever calls from wherever.
#[test]
fn a_key_knows_no_zones() {
    let (a, b) = (at("a", &[("a", 1), ("b", 1)]), at("b", &[("a", 1), ("b", 1)]));
    let by_hash =
        |caller| alter(zoned(caller, &["a", "b", "b", "a"]), |cluster| cluster.balance = Balance::Hash);
    let (from_a, from_b) = (by_hash(&a), by_hash(&b));
    let mut rng = fastrand::Rng::with_seed(1);
    for key in 0..100_u64 {
        let mut place = |cluster: &Arc<Cluster>| {
            let key = crate::cluster::key::of(&key.to_le_bytes());
            cluster.pick(&Tried::none(), Some(key), &mut rng).unwrap().endpoint.id
        };
        assert_eq!(place(&from_a), place(&from_b));
    }
}
