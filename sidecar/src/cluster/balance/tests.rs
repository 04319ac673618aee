use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::cluster::tests::{alter, cluster};

fn balanced(count: usize, balance: Balance) -> Arc<Cluster> {
    alter(cluster(&vec![true; count]), |cluster| cluster.balance = balance)
}

fn picked(cluster: &Arc<Cluster>, key: Option<u64>, rng: &mut fastrand::Rng) -> u64 {
    cluster.pick(&Tried::none(), key, rng).unwrap().endpoint.id
}

fn spread(cluster: &Arc<Cluster>, times: u64, key: impl Fn(u64) -> Option<u64>) -> Vec<u64> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut counts = vec![0; cluster.members.len()];
    (0..times).for_each(|n| counts[picked(cluster, key(n), &mut rng) as usize] += 1);
    counts
}

#[test]
fn round_robin_takes_turns_and_passes_by_what_is_not_ready() {
    for count in [3, 10] {
        let cluster = balanced(count, Balance::RoundRobin);
        assert_eq!(spread(&cluster, 10 * count as u64, |_| None), vec![10; count]);
        cluster.members[0].endpoint.failed();
        assert_eq!(spread(&cluster, 20, |_| None)[0], 0);
    }
}

#[test]
fn random_is_even_whatever_is_in_flight() {
    for count in [3, 10] {
        let cluster = balanced(count, Balance::Random);
        let _held: Vec<_> = (0..50).map(|_| cluster.take(&cluster.members[0].endpoint)).collect();
        let counts = spread(&cluster, 1000 * count as u64, |_| None);
        assert!(counts.iter().all(|times| (850..1150).contains(times)), "{counts:?}");
    }
}

/// The same key goes to the same endpoint, all endpoints get keys, and one that goes takes only its own keys along.
#[test]
fn a_key_stays_where_it_is_and_moves_only_with_its_endpoint() {
    let cluster = balanced(10, Balance::Hash);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut places = |cluster: &Arc<Cluster>| -> BTreeMap<u64, u64> {
        (0..5000_u64).map(|n| (n, picked(cluster, Some(key::of(&n.to_le_bytes())), &mut rng))).collect()
    };
    let before = places(&cluster);
    assert_eq!(before, places(&cluster));
    let mut counts = [0; 10];
    before.values().for_each(|id| counts[*id as usize] += 1);
    assert!(counts.iter().all(|keys| (400..600).contains(keys)), "{counts:?}");
    let without = alter(cluster, |cluster| cluster.members[4].ready = false);
    for (key, id) in places(&without) {
        assert!(id != 4 && (before[&key] == 4 || before[&key] == id), "{key}");
    }
}

#[test]
fn without_a_key_hashing_goes_by_load() {
    let cluster = balanced(3, Balance::Hash);
    let mut rng = fastrand::Rng::with_seed(3);
    let held: Vec<_> = (0..9).map(|_| cluster.pick(&Tried::none(), None, &mut rng).unwrap()).collect();
    assert!(cluster.members.iter().all(|m| m.endpoint.in_flight() == 3));
    drop(held);
}

#[test]
fn the_slow_one_gets_less_and_is_tried_again() {
    let cluster = balanced(2, Balance::PeakEwma);
    cluster.members[0].endpoint.took(Duration::from_millis(200), false);
    cluster.members[1].endpoint.took(Duration::from_millis(2), false);
    assert_eq!(spread(&cluster, 100, |_| None), [0, 100]);
    let _busy: Vec<_> = (0..150).map(|_| cluster.take(&cluster.members[1].endpoint)).collect();
    assert_eq!(spread(&cluster, 100, |_| None), [100, 0], "200 ms are less than 150 times 2");
}

#[test]
fn one_that_became_ready_starts_slowly() {
    for (balance, count) in [(Balance::LeastRequest, 3), (Balance::RoundRobin, 3), (Balance::Random, 8)] {
        let cluster = alter(balanced(count, balance), |c| c.slow_start = Duration::from_secs(3600));
        cluster.members[0].endpoint.becomes(true, true);
        let counts = spread(&cluster, 1000 * count as u64, |_| None);
        assert!((50..200).contains(&counts[0]), "{balance:?}: a tenth of its share: {counts:?}");
        assert!(counts[1..].iter().all(|times| *times > 900), "{balance:?}: {counts:?}");
        cluster.members[0].endpoint.becomes(false, false);
        (0..count).for_each(|n| cluster.members[n].endpoint.becomes(true, true));
        let counts = spread(&cluster, 1000 * count as u64, |_| None);
        assert!(counts.iter().all(|times| *times > 800), "all are as cold: {counts:?}");
    }
}
