use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;
use crate::cluster::Picked;
use crate::cluster::tests::{alter, cluster};

const ALL: [Balance; 4] = [Balance::LeastRequest, Balance::PeakEwma, Balance::RoundRobin, Balance::Random];

fn weighted(weights: &[u32], balance: Balance) -> Arc<Cluster> {
    let ready: Vec<bool> = weights.iter().map(|weight| *weight > 0).collect();
    alter(cluster(&ready), |cluster| {
        cluster.balance = balance;
        cluster.members.iter_mut().zip(weights).for_each(|(member, weight)| member.weight = *weight);
        cluster.weighted = Cluster::differ(&cluster.members);
    })
}

fn pick(cluster: &Arc<Cluster>, key: Option<u64>, rng: &mut fastrand::Rng) -> Picked {
    cluster.pick(&Tried::none(), key, rng).unwrap()
}

/// How many of `times` requests each got, while `open` of them are under way at a time, all equally long.
fn spread(cluster: &Arc<Cluster>, times: u32, open: usize, rng: &mut fastrand::Rng) -> Vec<f64> {
    let mut counts = vec![0.0; cluster.members.len()];
    let mut under_way = VecDeque::new();
    for _ in 0..times {
        while under_way.len() >= open {
            under_way.pop_front();
        }
        let picked = pick(cluster, None, rng);
        counts[picked.endpoint.id as usize] += 1.0;
        under_way.push_back(picked);
    }
    counts
}

fn assert_shares(counts: &[f64], shares: &[f64], tolerance: f64, what: &str) {
    let (requests, whole): (f64, f64) = (counts.iter().sum(), shares.iter().sum());
    for (count, share) in counts.iter().zip(shares) {
        let expected = requests * share / whole;
        // Chance and a proportional part.
        let off = tolerance * expected + 4.0 * expected.sqrt() + 1.0;
        assert!((count - expected).abs() <= off, "{what}: {counts:?} of {shares:?}");
    }
}

/// Whatever the weights, and whichever way of balancing, whether idle or under load.
#[test]
fn each_gets_its_share() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weights: Vec<u32> = (0..rng.usize(2..12)).map(|_| rng.u32(0..=10) * rng.u32(1..=100)).collect();
        let shares: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        if shares.iter().sum::<f64>() == 0.0 {
            continue;
        }
        for balance in ALL {
            for open in [1, 40] {
                let cluster = weighted(&weights, balance);
                if balance == Balance::PeakEwma {
                    let took = |m: &Member| m.endpoint.took(Duration::from_secs(1), false);
                    cluster.members.iter().for_each(took);
                }
                let counts = spread(&cluster, 3000, open, &mut rng);
                // Load counts as well: who has a small share has it idle, or one request under way too many.
                let tolerance = if open == 1 { 0.0 } else { 0.2 };
                if balance == Balance::PeakEwma && open > 1 {
                    continue;
                }
                assert_shares(&counts, &shares, tolerance, &format!("seed {seed}, {balance:?}, {open} open"));
            }
        }
    }
}

#[test]
fn in_turn_means_evenly() {
    let cluster = weighted(&[200, 100, 100], Balance::RoundRobin);
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..20 {
        let counts = spread(&cluster, 40, 1, &mut rng);
        let even = |count: f64, expected: f64| (count - expected).abs() <= 2.0;
        assert!(even(counts[0], 20.0) && even(counts[1], 10.0) && even(counts[2], 10.0), "{counts:?}");
    }
}

/// A key stays where it is; a weight that rises draws keys to it and moves no other.
#[test]
fn keys_go_by_weight_and_move_only_to_where_it_rises() {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut places = |weights: &[u32]| -> BTreeMap<u64, u64> {
        let cluster = weighted(weights, Balance::Hash);
        let place = |n: u64, rng: &mut fastrand::Rng| {
            pick(&cluster, Some(key::of(&n.to_le_bytes())), rng).endpoint.id
        };
        (0..5000).map(|n| (n, place(n, &mut rng))).collect()
    };
    let even = places(&[100, 100, 100, 100]);
    let half = places(&[100, 100, 50, 100]);
    assert_eq!(half, places(&[100, 100, 50, 100]));
    let mut counts = vec![0.0; 4];
    half.values().for_each(|id| counts[*id as usize] += 1.0);
    assert_shares(&counts, &[2.0, 2.0, 1.0, 2.0], 0.0, "keys");
    for (key, before) in &half {
        assert!(even[key] == *before || even[key] == 2, "{key} moved from {before} to {}", even[key]);
    }
}

/// Ejections, tries and avoided ones go before weights: nothing goes to one of these while there is another.
#[test]
fn what_speaks_against_one_goes_before_its_weight() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weights: Vec<u32> = (0..rng.usize(2..10)).map(|_| rng.u32(0..=1000)).collect();
        let balance = ALL[rng.usize(..ALL.len())];
        let cluster = weighted(&weights, balance);
        let mut tried = Tried::none();
        let mut good = Vec::new();
        for member in cluster.members.iter().filter(|member| member.ready) {
            match rng.u8(..4) {
                0 => tried.add(&member.endpoint),
                1 => member.endpoint.failed(),
                _ => good.push(member.endpoint.id),
            }
        }
        for _ in 0..50 {
            let Some(picked) = cluster.pick(&tried, None, &mut rng) else {
                let left = cluster.members.iter().any(|m| m.ready && !tried.contains(&m.endpoint));
                assert!(!left, "seed {seed}: none picked, though some were left");
                break;
            };
            let member = &cluster.members[picked.endpoint.id as usize];
            assert!(member.weight > 0 && !tried.contains(&picked.endpoint), "seed {seed}");
            assert!(good.is_empty() || good.contains(&picked.endpoint.id), "seed {seed}, {balance:?}");
        }
    }
}

/// A tenth of its weight at first.
#[test]
fn one_that_starts_slowly_gets_less_than_its_weight() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::Random] {
        let cluster = alter(weighted(&[500, 100, 100], balance), |cluster| {
            cluster.slow_start = Duration::from_secs(3600);
        });
        cluster.members[0].endpoint.becomes(true, true);
        let counts = spread(&cluster, 5000, 1, &mut fastrand::Rng::with_seed(4));
        assert_shares(&counts, &[50.0, 100.0, 100.0], 0.05, &format!("{balance:?}"));
    }
}

#[test]
fn equal_weights_are_no_weights() {
    assert!(!weighted(&[50, 50, 0], Balance::LeastRequest).weighted);
    assert!(weighted(&[50, 51], Balance::LeastRequest).weighted);
}
