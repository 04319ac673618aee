use std::sync::Arc;

use outrigger_wire::{Endpoint as Described, SpiffeId, Transport};

use super::*;

pub(super) fn cluster(ready: &[bool]) -> Arc<Cluster> {
    policed(ready, Policy::default())
}

pub(super) fn alter(mut cluster: Arc<Cluster>, change: impl FnOnce(&mut Cluster)) -> Arc<Cluster> {
    change(Arc::get_mut(&mut cluster).expect("nobody else holds it"));
    cluster
}

fn policed(ready: &[bool], policy: Policy) -> Arc<Cluster> {
    let config = outrigger_wire::Cluster {
        service: "cart.shop".into(),
        port: 80,
        identity: SpiffeId::new("a", "shop", "cart").unwrap(),
        connect_timeout_ms: 1000,
        policy: Default::default(),
        balance: Default::default(),
        hash_on: Default::default(),
        slow_start_ms: 0,
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
            weight: Described::WEIGHT,
            zone: None,
        };
        let endpoint = Arc::new(Endpoint::new(id as u64, &config, name.clone(), &described));
        Member { endpoint, ready: *ready, weight: Described::WEIGHT }
    };
    Arc::new(Cluster {
        key: "cart.shop:80".into(),
        service: "cart.shop".into(),
        port: 80,
        connect_timeout: Duration::from_secs(1),
        members: ready.iter().enumerate().map(member).collect(),
        balance: Balance::default(),
        hash_on: HashOn::default(),
        weighted: false,
        zoned: None,
        slow_start: Duration::ZERO,
        state: Arc::new(State::new(&policy)),
        policy,
    })
}

fn loads(cluster: &Cluster) -> Vec<u32> {
    cluster.members.iter().map(|m| m.endpoint.in_flight()).collect()
}

#[test]
fn few_endpoints_are_loaded_evenly() {
    let mut rng = fastrand::Rng::with_seed(1);
    let cluster = cluster(&[true, true, true]);
    let held: Vec<_> = (0..30).map(|_| cluster.pick(&Tried::none(), None, &mut rng).unwrap()).collect();
    assert_eq!(loads(&cluster), [10, 10, 10]);
    drop(held);
    assert_eq!(loads(&cluster), [0, 0, 0]);
}

#[test]
fn many_endpoints_are_loaded_nearly_evenly() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster = cluster(&[true; 20]);
        let _held: Vec<_> =
            (0..2000).map(|_| cluster.pick(&Tried::none(), None, &mut rng).unwrap()).collect();
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
        times[cluster.pick(&Tried::none(), None, &mut rng).unwrap().endpoint.id as usize] += 1;
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
        while let Some(picked) = cluster.pick(&tried, None, &mut rng) {
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
            assert_ne!(cluster.pick(&Tried::none(), None, &mut rng).unwrap().endpoint.id, 0);
        }
        let mut others = Tried::none();
        cluster.members[1..].iter().for_each(|m| others.add(&m.endpoint));
        assert_eq!(cluster.pick(&others, None, &mut rng).unwrap().endpoint.id, 0);
        bad.reached();
        assert!(!bad.is_avoided());
    }
}

#[test]
fn one_that_is_not_ready_can_still_be_called_by_name() {
    let cluster = cluster(&[false]);
    assert!(cluster.pick(&Tried::none(), None, &mut fastrand::Rng::with_seed(4)).is_none());
    let picked = cluster.named("cart-0").unwrap();
    assert_eq!(picked.endpoint.in_flight(), 1);
    assert!(cluster.named("cart-1").is_none());
}

fn ejecting(most_percent: u32, panic_percent: u32) -> Policy {
    let outlier = outrigger_wire::policy::Outlier {
        consecutive_errors: 2,
        eject_ms: 60_000,
        most_percent,
        panic_percent,
        success_rate: None,
    };
    Policy { outlier: Some(outlier), ..Policy::default() }
}

fn fail(cluster: &Cluster, id: usize) {
    for _ in 0..2 {
        cluster.observe(&cluster.members[id].endpoint, true);
    }
}

#[test]
fn what_is_ejected_is_not_picked_and_no_more_are_than_may_be() {
    for (count, most, expected) in [(1, 50, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (10, 30, 3), (3, 100, 3)]
    {
        let cluster = policed(&vec![true; count], ejecting(most, 0));
        (0..count).for_each(|id| fail(&cluster, id));
        assert_eq!(cluster.ready_and_out(), (count, expected), "{most}% of {count}");
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            let picked = cluster.pick(&Tried::none(), None, &mut rng).unwrap();
            assert!(expected == count || !picked.endpoint.is_out());
        }
    }
}

#[test]
fn with_too_few_in_all_are_used() {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut cluster = policed(&[true; 4], ejecting(50, 50));
    (0..2).for_each(|id| fail(&cluster, id));
    let seen = |cluster: &Arc<Cluster>, rng: &mut fastrand::Rng| {
        (0..200).any(|_| cluster.pick(&Tried::none(), None, rng).unwrap().endpoint.is_out())
    };
    assert!(!seen(&cluster, &mut rng), "half are in, as asked");
    Arc::get_mut(&mut cluster).unwrap().members[3].ready = false;
    assert!(seen(&cluster, &mut rng), "one of three is less than half");
}

#[test]
fn without_a_policy_nothing_is_ejected_and_nobody_holds_the_cluster() {
    let cluster = cluster(&[true; 4]);
    fail(&cluster, 0);
    assert_eq!(cluster.ready_and_out(), (4, 0));
    let picked = cluster.pick(&Tried::none(), None, &mut fastrand::Rng::new()).unwrap();
    assert!(picked.policed().is_none() && Arc::strong_count(&cluster) == 1);
}

#[test]
fn a_bound_is_reached_and_left() {
    let limits = outrigger_wire::policy::Limits { requests: 2, ..Default::default() };
    let cluster = policed(&[true; 2], Policy { limits: Some(limits), ..Policy::default() });
    let enter = |bound| {
        let mut picked = cluster.pick(&Tried::none(), None, &mut fastrand::Rng::new()).unwrap();
        picked.enter(bound).then_some(picked)
    };
    let (first, second) = (enter(Bound::Requests), enter(Bound::Requests));
    assert!(first.is_some() && second.is_some() && enter(Bound::Requests).is_none());
    assert!(enter(Bound::Streams).is_some(), "another bound");
    drop(first);
    assert!(enter(Bound::Requests).is_some());
    let refused: Vec<u64> = cluster.state.refusals().map(|(_, times)| times).collect();
    assert_eq!(refused, [1, 0, 0, 0]);
    drop(second);
}

fn by_rate(consecutive_errors: u32, interval_ms: u64) -> Policy {
    let success_rate = Some(outrigger_wire::policy::SuccessRate { interval_ms, ..Default::default() });
    let outlier = outrigger_wire::policy::Outlier { consecutive_errors, success_rate, ..Default::default() };
    Policy { outlier: Some(outlier), ..Policy::default() }
}

/// Requests to one of which every third fails.
fn ask(cluster: &Cluster, id: usize, fails: bool) {
    (0..150).for_each(|n| cluster.observe(&cluster.members[id].endpoint, fails && n % 3 == 0));
}

#[test]
fn who_fails_more_often_than_the_others_is_ejected_though_never_in_a_row() {
    let cluster = policed(&[true; 3], by_rate(0, 0));
    (0..3).for_each(|id| ask(&cluster, id, id == 1));
    assert_eq!(cluster.ejected(), [], "nobody has compared yet");
    cluster.judge();
    let [ejected] = &cluster.ejected()[..] else { panic!("{:?}", cluster.ejected()) };
    assert!(ejected.workload == "cart-1" && (29..=30).contains(&ejected.lasts.as_secs()), "{ejected:?}");
    assert_eq!(ejected.why, Why::Behind(Behind { percent: 67, others: 100 }));
    assert_eq!((cluster.ready_and_out(), cluster.state.ejections()), ((3, 1), 1));
    // What was counted counts once.
    cluster.judge();
    assert_eq!(cluster.state.ejections(), 1);
}

#[test]
fn no_more_are_out_for_both_reasons_than_may_be() {
    let cluster = policed(&[true; 4], by_rate(2, 0));
    (0..2).for_each(|id| fail(&cluster, id));
    (2..4).for_each(|id| ask(&cluster, id, id == 2));
    cluster.judge();
    let names: Vec<_> = cluster.ejected().into_iter().map(|e| (e.workload, e.why)).collect();
    assert_eq!(names, [("cart-0".to_owned(), Why::InARow(2)), ("cart-1".to_owned(), Why::InARow(2))]);
}

#[test]
fn success_rates_are_compared_once_in_an_interval() {
    let cluster = policed(&[true; 3], by_rate(0, 3_600_000));
    (0..3).for_each(|id| ask(&cluster, id, id == 1));
    cluster.judge();
    assert_eq!(cluster.ejected(), []);
}

/// Whatever comes in whatever order: never more out than may be, each for a reason that is told, and none that is told
/// of without being out.
#[test]
fn whatever_happens_ejections_are_told_and_bounded() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut policy = by_rate(rng.u32(0..4), 0);
        let outlier = policy.outlier.as_mut().unwrap();
        (outlier.most_percent, outlier.eject_ms) = (rng.u32(0..=100), 3_600_000);
        let most = outlier.most_percent as usize;
        let cluster = policed(&vec![true; rng.usize(1..8)], policy);
        let count = cluster.members.len();
        let bad: Vec<f64> = (0..count).map(|_| rng.f64()).collect();
        for _ in 0..2000 {
            let id = rng.usize(..count);
            cluster.observe(&cluster.members[id].endpoint, rng.f64() < bad[id]);
            if rng.u8(..) == 0 {
                cluster.judge();
            }
        }
        let (ready, out) = cluster.ready_and_out();
        assert!(out * 100 <= ready * most, "seed {seed}: {out} of {ready}, {most}%");
        let told: std::collections::BTreeSet<_> = cluster.ejected().into_iter().map(|e| e.id).collect();
        let is_out = cluster.members.iter().filter(|m| m.endpoint.is_out()).map(|m| m.endpoint.id);
        assert_eq!(told, is_out.collect(), "seed {seed}");
    }
}
