use std::collections::BTreeMap;

use outrigger_model::check::{Ask, Check};
use outrigger_model::{Attachment, Declared, Observed, Policy};

use super::*;

const PORT: u16 = 80;

/// Takes traffic.
fn well() -> Workload {
    let attachment = Attachment { network: "front".into(), addresses: vec![[10, 0, 0, 2].into()] };
    let check = Some(Check { ask: Some(Ask::Tcp), ..Check::default() });
    Workload {
        id: WorkloadId("cart".into()),
        name: "shop-cart-1".into(),
        namespace: "shop".into(),
        declared: Declared {
            service: "cart".into(),
            policy: Policy { check, ..Policy::default() },
            ports: [(PORT, outrigger_model::Protocol::Http)].into(),
            ..Declared::default()
        },
        aliases: Default::default(),
        zone: None,
        networks: [("front".to_owned(), attachment)].into(),
        exposed: Default::default(),
        published: Default::default(),
        lifecycle: Lifecycle::Running,
        instance: None,
        health: Health::Unchecked,
        one_off: false,
        mesh_port: None,
        outside: None,
        observed: Some(Observed {
            ready: true,
            listening: [PORT].into(),
            checked: Some(Checked::Passing),
            ..Observed::default()
        }),
    }
}

/// One source speaks.
#[derive(Clone, Debug)]
enum Event {
    Lifecycle(Lifecycle),
    Platform(Health),
    Sidecar(bool),
    Listening(bool),
    Checked(Option<Checked>),
}

impl Event {
    fn any(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..5) {
            0 => {
                let all = [Lifecycle::Running, Lifecycle::Paused, Lifecycle::Stopping, Lifecycle::Stopped];
                Self::Lifecycle(*rng.choice(&all).unwrap())
            }
            1 => {
                let all = [Health::Unchecked, Health::Starting, Health::Healthy, Health::Unhealthy];
                Self::Platform(*rng.choice(&all).unwrap())
            }
            2 => Self::Sidecar(rng.bool()),
            3 => Self::Listening(rng.bool()),
            _ => Self::Checked(
                rng.choice([
                    None,
                    Some(Checked::Pending(String::new())),
                    Some(Checked::Passing),
                    Some(Checked::Failing("GET / answered 503".into())),
                    Some(Checked::Failing("no connection".into())),
                ])
                .unwrap(),
            ),
        }
    }

    fn source(&self) -> u8 {
        match self {
            Self::Lifecycle(_) => 0,
            Self::Platform(_) => 1,
            Self::Sidecar(_) => 2,
            Self::Listening(_) => 3,
            Self::Checked(_) => 4,
        }
    }

    fn happens_to(self, workload: &mut Workload) {
        let observed = workload.observed.as_mut().unwrap();
        match self {
            Self::Lifecycle(lifecycle) => workload.lifecycle = lifecycle,
            Self::Platform(health) => workload.health = health,
            Self::Sidecar(ready) => observed.ready = ready,
            Self::Listening(true) => drop(observed.listening.insert(PORT)),
            Self::Listening(false) => drop(observed.listening.remove(&PORT)),
            Self::Checked(checked) => observed.checked = checked,
        }
    }
}

fn snapshot(workloads: &[&Workload]) -> Snapshot {
    let workloads =
        workloads.iter().map(|workload| (workload.id.clone(), (*workload).clone().into())).collect();
    Snapshot { trust_domain: "shop.internal".into(), workloads, indices: BTreeMap::new() }
}

fn said(state: &State) -> String {
    state.as_ref().err().map_or_else(|| "ready".to_owned(), ToString::to_string)
}

#[test]
fn each_source_can_object() {
    let check = |checked| Event::Checked(Some(checked));
    let table = [
        (Event::Checked(None), "ready"),
        (Event::Lifecycle(Lifecycle::Paused), "paused"),
        (Event::Lifecycle(Lifecycle::Stopping), "stopping"),
        (Event::Lifecycle(Lifecycle::Stopped), "not running"),
        (Event::Platform(Health::Starting), "its container's health check has not passed yet"),
        (Event::Platform(Health::Unhealthy), "its container's health check fails"),
        (Event::Platform(Health::Healthy), "ready"),
        (Event::Sidecar(false), "its sidecar is not ready yet"),
        (
            Event::Listening(false),
            "nothing listens on port 80 there: start it, or correct outrigger.port or EXPOSE",
        ),
        (check(Checked::Pending(String::new())), "its health check has not passed yet"),
        (check(Checked::Pending("no answer".into())), "its health check has not passed yet: no answer"),
        (
            check(Checked::Failing("GET /healthz answered 503".into())),
            "its health check fails: GET /healthz answered 503",
        ),
    ];
    for (event, expected) in table {
        let mut workload = well();
        event.clone().happens_to(&mut workload);
        assert_eq!(said(&readiness(&workload, PORT)), expected, "{event:?}");
    }
    let mut unseen = well();
    unseen.observed = None;
    assert_eq!(readiness(&unseen, PORT), Err(NotReady::NoSidecar));
    assert_eq!(readiness(&Workload { one_off: true, ..well() }, PORT), Err(NotReady::OneOff));
}

#[test]
fn a_check_that_nobody_wants_any_more_does_not_count() {
    for check in [None, Some(Check { ask: Some(Ask::Off), ..Check::default() })] {
        let mut workload = well();
        workload.declared.policy.check = check;
        Event::Checked(Some(Checked::Failing("x".into()))).happens_to(&mut workload);
        assert_eq!(readiness(&workload, PORT), Ok(()));
    }
}

/// Whatever else is said, in whichever order, until the platform speaks of its life again.
#[test]
fn one_that_stops_takes_no_traffic() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut workload = well();
        Event::Lifecycle(Lifecycle::Stopping).happens_to(&mut workload);
        for _ in 0..rng.usize(..20) {
            let event = Event::any(&mut rng);
            if !matches!(event, Event::Lifecycle(_)) {
                event.happens_to(&mut workload);
            }
            assert_eq!(readiness(&workload, PORT), Err(NotReady::Stopping), "seed {seed}");
        }
    }
}

/// Each source's own words keep their order; those of different sources may come as they like.
#[test]
fn the_order_in_which_sources_speak_does_not_matter() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let events: Vec<Event> = (0..rng.usize(..30)).map(|_| Event::any(&mut rng)).collect();
        let (mut first, mut second) = (well(), well());
        for event in events.iter().cloned() {
            event.happens_to(&mut first);
        }
        let mut sources: Vec<Vec<Event>> = vec![Vec::new(); 5];
        for event in events.into_iter().rev() {
            sources[usize::from(event.source())].push(event);
        }
        while let Some(source) = {
            let open: Vec<_> = (0..5).filter(|n| !sources[*n].is_empty()).collect();
            rng.choice(open)
        } {
            sources[source].pop().unwrap().happens_to(&mut second);
        }
        assert_eq!(Facts::of(&first, PORT), Facts::of(&second, PORT), "seed {seed}");
        assert_eq!(readiness(&first, PORT), readiness(&second, PORT), "seed {seed}");
    }
}

/// What the ledger tells, put together, is what holds; nothing is told twice, nothing is left out.
#[test]
fn every_change_is_told_once() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ledger = Ledger::default();
        let mut replicas = [well(), Workload { id: WorkloadId("cart-2".into()), ..well() }];
        let mut told: BTreeMap<(WorkloadId, u16), State> = BTreeMap::new();
        for _ in 0..60 {
            Event::any(&mut rng).happens_to(&mut replicas[rng.usize(..2)]);
            let now = snapshot(&[&replicas[0], &replicas[1]]);
            for change in ledger.turn(&now) {
                let before = told.insert((change.workload.clone(), change.port), change.now.clone());
                assert_eq!(before.as_ref().map(said_kind), change.before.as_ref().map(said_kind), "{seed}");
                assert_ne!(before.as_ref().map(said_kind), Some(said_kind(&change.now)), "{seed}");
                assert_eq!(change.now, readiness(&now.workloads[&change.workload], PORT), "{seed}");
            }
            for replica in &replicas {
                let holds = readiness(replica, PORT);
                assert_eq!(said_kind(&told[&(replica.id.clone(), PORT)]), said_kind(&holds), "{seed}");
            }
            assert_eq!(ledger.turn(&now), [], "{seed}: nothing changed");
        }
        assert_eq!(ledger.turn(&snapshot(&[])), []);
        let back = ledger.turn(&snapshot(&[&replicas[0]]));
        assert_eq!(back.len(), 1, "{seed}: one that was gone is new");
    }
}

/// What is the same allocation as before is not looked at, and the answer is that of a ledger that looks at all.
#[test]
fn looking_at_what_changed_alone_tells_the_same() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut quick, mut thorough) = (Ledger::default(), Ledger::default());
        let id = |number: usize| WorkloadId(format!("cart-{number}"));
        let mut shared = Snapshot { trust_domain: "shop.internal".into(), ..Snapshot::default() };
        for _ in 0..40 {
            let id = id(rng.usize(..6));
            if rng.u8(..4) == 0 {
                shared.workloads.remove(&id);
            } else {
                let new = || Arc::new(Workload { id: id.clone(), name: id.0.clone(), ..well() });
                let workload = Arc::make_mut(shared.workloads.entry(id.clone()).or_insert_with(new));
                if rng.u8(..4) == 0 {
                    workload.declared.service = rng.choice(["cart", "web", "auth"]).unwrap().into();
                }
                Event::any(&mut rng).happens_to(workload);
            }
            let apart = shared.workloads.values().map(AsRef::as_ref).collect::<Vec<_>>();
            assert_eq!(quick.turn(&shared), thorough.turn(&snapshot(&apart)), "seed {seed}");
        }
    }
}

/// A state without the words of its reason.
fn said_kind(state: &State) -> String {
    let text = said(state);
    text.split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn an_edge_is_one_that_balancing_sees() {
    let mut ledger = Ledger::default();
    let mut cart = well();
    let edges = |ledger: &mut Ledger, cart: &Workload| {
        let changes = ledger.turn(&snapshot(&[cart]));
        changes.iter().filter(|change| change.is_edge()).map(|change| said(&change.now)).collect::<Vec<_>>()
    };
    assert_eq!(edges(&mut ledger, &cart), ["ready"]);
    Event::Checked(Some(Checked::Failing("a".into()))).happens_to(&mut cart);
    assert_eq!(edges(&mut ledger, &cart), ["its health check fails: a"]);
    Event::Lifecycle(Lifecycle::Stopping).happens_to(&mut cart);
    assert_eq!(edges(&mut ledger, &cart), [""; 0], "it was out before");
    Event::Lifecycle(Lifecycle::Running).happens_to(&mut cart);
    Event::Checked(Some(Checked::Passing)).happens_to(&mut cart);
    assert_eq!(edges(&mut ledger, &cart), ["ready"]);
}

/// The sidecar in a task of ECS sees the order to stop before the controller does.
#[test]
fn what_its_sidecar_says_is_to_stop_is_stopping() {
    let mut workload = well();
    assert_eq!(readiness(&workload, PORT), Ok(()));
    workload.observed.as_mut().unwrap().stopping = true;
    assert_eq!(readiness(&workload, PORT), Err(NotReady::Stopping));
    // It stopped since.
    workload.lifecycle = Lifecycle::Stopped;
    assert_eq!(readiness(&workload, PORT), Err(NotReady::Stopped));
}
