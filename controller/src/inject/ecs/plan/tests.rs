//! One service, step by step; then a world that does what it likes, and what must hold all the same.

use std::collections::BTreeMap;

use super::super::view::{Deployment, FROM, Revision, Rollout, Service, TAG};
use super::*;

mod rolls;

const LIMITS: Limits = Limits { patience: 900, unseen: 60 };
const NOW: u64 = 1_000_000;
const CART: &str = "arn:service/shop/cart";

fn deployment(id: &str, definition: &str, rollout: Rollout, running: i32) -> Deployment {
    let (id, definition) = (id.to_owned(), format!("arn:task-definition/{definition}"));
    Deployment { id, definition, rollout, reason: String::new(), running }
}

/// Tagged, two tasks, steady on `cart:1`.
fn service(name: &str) -> Service {
    Service {
        arn: format!("arn:service/shop/{name}"),
        name: name.to_owned(),
        cluster: "arn:cluster/shop".into(),
        active: true,
        tags: BTreeMap::from([(TAG.to_owned(), "true".to_owned())]),
        desired: 2,
        daemon: false,
        controller: "ECS".into(),
        strategy: "ROLLING".into(),
        classic: false,
        connect: false,
        breaker: Breaker::default(),
        primary: Some(deployment("d1", &format!("{name}:1"), Rollout::Completed, 2)),
        others: Vec::new(),
        configuration: None,
    }
}

fn view(services: impl IntoIterator<Item = Service>) -> View {
    let services: BTreeMap<String, Service> =
        services.into_iter().map(|service| (service.arn.clone(), service)).collect();
    let mut view = View { services, ..View::default() };
    for name in ["cart", "web"] {
        let plain = Revision { capture: "platform".into(), ..Revision::default() };
        let arn = |number: u32| format!("arn:task-definition/{name}:{number}");
        let meshed = Revision { meshed: true, from: Some(arn(1)), ..plain.clone() };
        view.revisions.extend([(arn(1), plain.clone()), (arn(2), meshed), (arn(3), plain)]);
    }
    view
}

/// Going from `cart:1` to `cart:2`, ordered at [`NOW`].
fn moving() -> Memory {
    let mut memory = Memory::default();
    let (from, to) = ("arn:task-definition/cart:1", "arn:task-definition/cart:2");
    begin(&mut memory, &service("cart"), from, to, "", NOW);
    memory.motion.as_mut().unwrap().ordered = Some(NOW);
    memory
}

fn act(view: &View, memory: &Memory, now: u64) -> Plan {
    plan(view, memory, Leave::Act, LIMITS, now)
}

fn state(plan: &Plan, name: &str) -> (State, String) {
    let standing = plan.standings.iter().find(|standing| standing.service == format!("{name}.shop"));
    standing.map(|standing| (standing.state, standing.what.clone())).unwrap()
}

#[test]
fn a_tagged_service_is_moved_and_its_setting_comes_back() {
    let mut cart = service("cart");
    let first = act(&view([cart.clone()]), &Memory::default(), NOW);
    let from = "arn:task-definition/cart:1".to_owned();
    assert_eq!(first.action, Some(Action::Prepare { service: CART.into(), from }));

    let mut memory = moving();
    memory.motion.as_mut().unwrap().ordered = None;
    let order = act(&view([cart.clone()]), &memory, NOW);
    let to = "arn:task-definition/cart:2".to_owned();
    let wanted = Action::Order { service: CART.into(), to, breaker: Some(Breaker::ON) };
    assert_eq!(order.action, Some(wanted));

    // What ECS answers lags behind: nothing is ordered twice at once.
    assert_eq!(act(&view([cart.clone()]), &moving(), NOW + 59).action, None);
    // ECS took the order, and still shows the deployment before: it went back to that very one while nobody looked.
    let gone_back = act(&view([cart.clone()]), &moving(), NOW + 60);
    assert_eq!((&gone_back.action, state(&gone_back, "cart").0), (&None, State::Refused));

    cart.breaker = Breaker::ON;
    cart.primary = Some(deployment("d2", "cart:2", Rollout::InProgress, 1));
    cart.others = vec![deployment("d1", "cart:1", Rollout::Completed, 1)];
    let under_way = act(&view([cart.clone()]), &moving(), NOW + 100);
    assert_eq!((under_way.action.clone(), state(&under_way, "cart").0), (None, State::Moving));
    assert_eq!(under_way.memory.motion.as_ref().unwrap().best, 1);

    (cart.primary, cart.others) = (Some(deployment("d2", "cart:2", Rollout::Completed, 2)), Vec::new());
    let there = act(&view([cart.clone()]), &under_way.memory, NOW + 200);
    let settle = Action::Settle { service: CART.into(), breaker: Breaker::default() };
    assert_eq!(there.action, Some(settle));
    cart.breaker = Breaker::default();
    let over = act(&view([cart]), &there.memory, NOW + 210);
    assert_eq!(state(&over, "cart").0, State::Meshed);
    assert_eq!((&over.action, &over.memory.motion), (&None, &None));
    assert_eq!(over.memory.tries[CART]["arn:task-definition/cart:1"].moves, 1);
}

#[test]
fn what_does_not_become_healthy_goes_back_and_is_not_tried_again() {
    let stopped = Deployment {
        reason: "tasks failed to start.".into(),
        ..deployment("d2", "cart:2", Rollout::Failed, 0)
    };
    // ECS's circuit breaker did it; it did not (nothing to return to); nothing happens at all.
    for (what, primary, others, ordered) in [
        ("rolled back", deployment("d3", "cart:1", Rollout::Completed, 2), vec![stopped.clone()], false),
        ("stopped", stopped.clone(), vec![deployment("d1", "cart:1", Rollout::Completed, 2)], true),
        ("slow", deployment("d2", "cart:2", Rollout::InProgress, 0), Vec::new(), true),
    ] {
        let mut cart = service("cart");
        (cart.primary, cart.others) = (Some(primary), others);
        let turned = act(&view([cart.clone()]), &moving(), NOW + 900);
        let back =
            Action::Order { service: CART.into(), to: "arn:task-definition/cart:1".into(), breaker: None };
        assert_eq!(turned.action, ordered.then_some(back), "{what}");
        (cart.primary, cart.others) = (Some(deployment("d3", "cart:1", Rollout::Completed, 2)), Vec::new());
        let over = act(&view([cart.clone()]), &turned.memory, NOW + 1000);
        assert_eq!((&over.action, &over.memory.motion), (&None, &None), "{what}");
        let (state, why) = state(&over, "cart");
        assert!(state == State::Refused && why.contains("did not become healthy"), "{what}: {why}");
        let reason = if what == "slow" {
            "no further task became healthy in 15 minutes"
        } else {
            "tasks failed to start"
        };
        assert!(why.contains(reason), "{what}: {why}");
        // The tag off and on again, or another revision: another try.
        let mut off = cart.clone();
        off.tags.clear();
        let off = act(&view([off]), &over.memory, NOW + 1100);
        assert!(matches!(
            act(&view([cart.clone()]), &off.memory, NOW + 1200).action,
            Some(Action::Prepare { .. })
        ));
        cart.primary = Some(deployment("d4", "cart:3", Rollout::Completed, 2));
        assert!(matches!(act(&view([cart]), &over.memory, NOW + 1200).action, Some(Action::Prepare { .. })));
    }
}

#[test]
fn progress_gives_time() {
    let mut cart = service("cart");
    let mut memory = moving();
    for (running, now) in [(1, NOW + 800), (2, NOW + 1600), (2, NOW + 2400)] {
        cart.primary = Some(deployment("d2", "cart:2", Rollout::InProgress, running));
        let plan = act(&view([cart.clone()]), &memory, now);
        assert_eq!(plan.action, None);
        memory = plan.memory;
    }
    assert!(matches!(act(&view([cart]), &memory, NOW + 2500).action, Some(Action::Order { .. })));
}

#[test]
fn drift_is_healed_twice_and_then_reported() {
    let mut memory = Memory::default();
    for moves in 0..3 {
        let found = act(&view([service("cart")]), &memory, NOW);
        assert!(matches!(found.action, Some(Action::Prepare { .. })), "{moves}");
        let (from, to) = ("arn:task-definition/cart:1", "arn:task-definition/cart:2");
        begin(&mut memory, &service("cart"), from, to, "", NOW);
        memory.motion = None;
        memory = serde_json::from_slice(&serde_json::to_vec(&memory).unwrap()).unwrap();
    }
    let found = act(&view([service("cart")]), &memory, NOW);
    let (state, why) = state(&found, "cart");
    assert!(found.action.is_none() && state == State::Refused && why.contains("ignore_changes"), "{why}");
}

#[test]
fn what_belongs_to_others_is_refused_with_the_way_out() {
    let with = |change: &dyn Fn(&mut Service)| {
        let mut cart = service("cart");
        change(&mut cart);
        cart
    };
    let tag = |name: &'static str, value: &'static str| {
        move |cart: &mut Service| drop(cart.tags.insert(name.to_owned(), value.to_owned()))
    };
    for (cart, word) in [
        (with(&tag(TAG, "yes")), "write true, or dry-run"),
        (with(&tag("aws:cloudformation:stack-name", "shop")), "CloudFormation (stack shop)"),
        (with(&tag("aws:cloudformation:stack-id", "x")), "CloudFormation"),
        (with(&|cart| cart.controller = "CODE_DEPLOY".into()), "CODE_DEPLOY"),
        (with(&|cart| cart.controller = "EXTERNAL".into()), "EXTERNAL"),
        (with(&|cart| cart.strategy = "BLUE_GREEN".into()), "BLUE_GREEN"),
        (with(&|cart| cart.daemon = true), "daemon"),
        (with(&|cart| cart.classic = true), "classic load balancer"),
        (with(&|cart| cart.connect = true), "Service Connect"),
    ] {
        let found = act(&view([cart]), &Memory::default(), NOW);
        let (state, why) = state(&found, "cart");
        assert!(found.action.is_none() && state == State::Refused && why.contains(word), "{word}: {why}");
    }
    let mut unmeshable = view([service("cart")]);
    unmeshable.revisions.get_mut("arn:task-definition/cart:1").unwrap().refused =
        vec!["a".into(), "b".into()];
    assert_eq!(state(&act(&unmeshable, &Memory::default(), NOW), "cart").1, "it cannot be meshed: a; b");
}

#[test]
fn some_wait() {
    let deploying = Service {
        others: vec![deployment("d0", "cart:0", Rollout::Completed, 1)],
        primary: Some(deployment("d1", "cart:1", Rollout::InProgress, 1)),
        ..service("cart")
    };
    let empty = Service { desired: 0, ..service("cart") };
    for (cart, word) in [(deploying, "under way"), (empty, "no task")] {
        let found = act(&view([cart]), &Memory::default(), NOW);
        let (state, why) = state(&found, "cart");
        assert!(found.action.is_none() && state == State::Waiting && why.contains(word), "{why}");
    }
}

#[test]
fn dry_run_by_tag_and_by_setting_only_plans() {
    let mut dry = service("cart");
    dry.tags.insert(TAG.into(), "dry-run".into());
    let by_tag = act(&view([dry]), &Memory::default(), NOW);
    let by_setting = plan(&view([service("cart")]), &Memory::default(), Leave::Plan, LIMITS, NOW);
    for found in [by_tag, by_setting] {
        let (state, what) = state(&found, "cart");
        assert!(found.action.is_none() && state == State::Planned && what.contains("would get"), "{what}");
    }
}

#[test]
fn without_its_tag_a_service_is_not_touched_even_on_its_way() {
    let mut cart = service("cart");
    cart.tags.clear();
    cart.primary = Some(deployment("d2", "cart:2", Rollout::Failed, 0));
    let found = act(&view([cart]), &moving(), NOW + 10_000);
    assert_eq!((found.action, found.memory.motion, found.standings), (None, None, Vec::new()));
}

#[test]
fn another_revision_deployed_meanwhile_goes_first() {
    let mut cart = service("cart");
    cart.breaker = Breaker::ON;
    cart.primary = Some(deployment("d9", "cart:3", Rollout::InProgress, 0));
    let found = act(&view([cart.clone()]), &moving(), NOW + 10);
    assert_eq!(found.action, Some(Action::Settle { service: CART.into(), breaker: Breaker::default() }));
    cart.breaker = Breaker::default();
    let over = act(&view([cart]), &found.memory, NOW + 20);
    assert_eq!((over.action, over.memory.motion), (None, None));
}

#[test]
fn a_move_that_is_not_remembered_is_taken_up() {
    let mut cart = service("cart");
    cart.primary = Some(deployment("d2", "cart:2", Rollout::Failed, 0));
    cart.others = vec![deployment("d1", "cart:1", Rollout::Completed, 2)];
    let found = act(&view([cart]), &Memory::default(), NOW);
    let back = Action::Order { service: CART.into(), to: "arn:task-definition/cart:1".into(), breaker: None };
    assert_eq!(found.action, Some(back));
}

/// ECS as far as the planner knows it, and people who deploy, tag and restart the controller as they like.
struct World {
    seed: u64,
    now: u64,
    services: BTreeMap<String, Service>,
    revisions: BTreeMap<String, Revision>,
    /// The sidecar image of now, and of each meshed revision.
    image: u32,
    images: BTreeMap<String, u32>,
    memory: Memory,
    deployments: u32,
    /// Moves to a meshed revision, by service and revision before, with the image of now.
    moves: BTreeMap<(String, String), u32>,
    /// Deployments that we ordered.
    ours: Vec<String>,
    /// All moves so far, and the most from one revision.
    total: (u32, u32),
}

impl World {
    fn new(seed: u64) -> Self {
        let View { services, revisions, .. } = view([service("cart"), service("web")]);
        let untagged =
            Service { tags: BTreeMap::new(), arn: "arn:service/shop/db".into(), ..service("cart") };
        let services = services.into_iter().chain([(untagged.arn.clone(), untagged)]).collect();
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: NOW,
            services,
            revisions,
            image: 0,
            images: BTreeMap::new(),
            memory: Memory::default(),
            deployments: 10,
            moves: BTreeMap::new(),
            ours: Vec::new(),
            total: (0, 0),
        }
    }

    /// xorshift64: below `most`.
    fn chance(&mut self, most: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % most
    }

    fn deploy(&mut self, arn: &str, definition: &str) -> String {
        self.deployments += 1;
        let id = format!("d{}", self.deployments);
        let service = self.services.get_mut(arn).unwrap();
        let next = Deployment {
            id: id.clone(),
            definition: definition.to_owned(),
            rollout: Rollout::InProgress,
            reason: String::new(),
            running: 0,
        };
        let before = service.primary.replace(next);
        service.others.extend(before);
        id
    }

    /// ECS goes on, or somebody does something.
    fn happens(&mut self) {
        let arns: Vec<String> = self.services.keys().cloned().collect();
        let at = self.chance(arns.len() as u64) as usize;
        let arn = arns[at].clone();
        self.now += self.chance(400);
        let tags = self.services[&arn].tags.clone();
        self.happens_to(&arn);
        if self.services[&arn].tags != tags {
            // In the middle of a move: ECS alone goes on with it.
            let id = self.services[&arn].primary.as_ref().unwrap().id.clone();
            self.ours.retain(|ours| *ours != id);
        }
    }

    fn happens_to(&mut self, arn: &str) {
        match self.chance(13) {
            0 => {
                // By hand: without a sidecar, or with one, or what we made some time.
                let name = self.services[arn].name.clone();
                let all = self.revisions.keys().filter(|one| one.contains(&format!("/{name}:")));
                let all: Vec<String> = all.cloned().collect();
                let at = self.chance(all.len() as u64) as usize;
                self.deploy(arn, &all[at]);
            }
            12 if self.chance(4) == 0 => {
                self.image += 1;
                self.moves.clear();
            }
            1 => drop(self.services.get_mut(arn).unwrap().tags.remove(TAG)),
            2 if !arn.ends_with("db") => {
                let value = ["true", "dry-run", "no"][self.chance(3) as usize];
                self.services.get_mut(arn).unwrap().tags.insert(TAG.into(), value.into());
            }
            3 => self.memory = serde_json::from_slice(&serde_json::to_vec(&self.memory).unwrap()).unwrap(),
            4 => {
                let service = self.services.get_mut(arn).unwrap();
                let primary = service.primary.as_mut().unwrap();
                if primary.rollout == Rollout::InProgress {
                    primary.rollout = Rollout::Failed;
                    let back = service.others.first().map(|other| other.definition.clone());
                    if let (true, Some(back)) = (service.breaker.rollback, back) {
                        self.deploy(arn, &back);
                    }
                }
            }
            5 => self.services.get_mut(arn).unwrap().breaker = Breaker { enable: true, rollback: false },
            _ => {
                let service = self.services.get_mut(arn).unwrap();
                let primary = service.primary.as_mut().unwrap();
                if primary.rollout == Rollout::InProgress {
                    primary.running = (primary.running + 1).min(service.desired);
                    if primary.running == service.desired {
                        primary.rollout = Rollout::Completed;
                        service.others.clear();
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        let tags = &self.services[action.service()].tags;
        assert_eq!(
            tags.get(TAG).map(String::as_str),
            Some("true"),
            "{action:?} touches what is not asked for"
        );
        match action {
            Action::Prepare { service, from } => {
                assert!(self.memory.motion.is_none(), "one at a time");
                let to = format!("{from}+{}", self.image);
                let revision = Revision { meshed: true, from: Some(from.clone()), ..Revision::default() };
                self.revisions.insert(to.clone(), revision);
                self.images.insert(to.clone(), self.image);
                let wanted = self.wanted(&from);
                begin(&mut self.memory, &self.services[&service], &from, &to, &wanted, self.now);
                let moves = self.moves.entry((service, from)).or_default();
                *moves += 1;
                self.total = (self.total.0 + 1, self.total.1.max(*moves));
            }
            Action::Order { service, to, breaker } => {
                let id = self.deploy(&service, &to);
                // The way back may stand still for ever, and is given up.
                if breaker.is_some() {
                    self.ours.push(id);
                }
                if let Some(breaker) = breaker {
                    self.services.get_mut(&service).unwrap().breaker = breaker;
                }
                // Now and then it dies before it can note that ECS took the order.
                if self.chance(4) > 0 {
                    self.memory.motion.as_mut().unwrap().ordered = Some(self.now);
                }
            }
            Action::Settle { service, breaker } => {
                self.services.get_mut(&service).unwrap().breaker = breaker;
            }
        }
    }

    /// What injection makes of a revision, and of all that were made of it.
    fn wanted(&self, revision: &str) -> String {
        let base = revision.split('+').next().unwrap_or_default().replace(":2", ":1");
        format!("{base} {}", self.image)
    }

    fn view(&self) -> View {
        let mut revisions = self.revisions.clone();
        for (arn, revision) in revisions.iter_mut().filter(|(_, revision)| revision.refused.is_empty()) {
            revision.wanted = self.wanted(arn);
            if revision.meshed && self.images.get(arn) != Some(&self.image) {
                revision.news = vec!["sidecar image".into()];
            }
        }
        View { services: self.services.clone(), revisions, ..View::default() }
    }

    fn look(&mut self) {
        for _ in 0..4 {
            let plan = act(&self.view(), &self.memory, self.now);
            self.memory = plan.memory;
            // A tag that was off begins the count anew.
            let tries = &self.memory.tries;
            self.moves.retain(|(service, from), _| tries.get(service).is_some_and(|t| t.contains_key(from)));
            let Some(action) = plan.action else { break };
            self.carry_out(action);
        }
        for ((service, from), moves) in &self.moves {
            assert!(*moves <= 1 + MOST_HEALS, "{service} was moved from {from} {moves} times");
        }
    }
}

#[test]
fn whatever_happens_nothing_is_touched_unasked_and_nothing_goes_round_for_ever() {
    let (mut moved, mut most, mut settled, mut rolled) = (0, 0, 0, 0);
    for seed in 1..400 {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.happens();
            world.look();
            let on_its_way = |service: &&Service| {
                let ours = service.primary.as_ref().filter(|primary| {
                    let meshed = world.revisions.get(&primary.definition).is_some_and(|found| found.meshed);
                    meshed && world.ours.contains(&primary.id)
                });
                service.wish() == Wish::Mesh
                    && ours.is_some_and(|primary| primary.rollout == Rollout::InProgress)
                    && world.memory.motion.as_ref().is_none_or(|motion| motion.service != service.arn)
            };
            let loose: Vec<_> = world.services.values().filter(on_its_way).map(|s| s.label()).collect();
            assert!(loose.is_empty(), "seed {seed}: {loose:?}");
        }
        (moved, most) = (moved + world.total.0, most.max(world.total.1));
        assert!(!world.services["arn:service/shop/db"].breaker.rollback, "seed {seed}");
        // Left alone, all comes to rest, with the setting as it was found.
        for _ in 0..60 {
            for service in world.services.values_mut() {
                service.primary.as_mut().unwrap().rollout = Rollout::Completed;
                service.others.clear();
            }
            world.now += 100;
            world.look();
        }
        assert!(world.memory.motion.is_none(), "seed {seed}: {:?}", world.memory.motion);
        for standing in act(&world.view(), &world.memory, world.now).standings {
            let asked = &world.services
                [&format!("arn:service/shop/{}", &standing.service[..standing.service.len() - 5])];
            let rests = asked.wish() != Wish::Mesh || standing.state != State::Planned;
            assert!(rests, "seed {seed}: {standing:?}");
            rolled += u32::from(
                asked.primary.as_ref().is_some_and(|primary| primary.definition.matches('+').count() > 1),
            );
        }
        settled += world.services.values().filter(|service| service.breaker != Breaker::ON).count();
    }
    assert!(
        moved > 1_000 && settled > 700 && rolled > 30,
        "the world is too quiet: {moved} {settled} {rolled}"
    );
    assert_eq!(most, 1 + MOST_HEALS, "drift was healed as often as it may be");
    assert!(FROM.starts_with("outrigger:"), "our tags are known by their beginning");
}

/// The role of one service was not among those that the controller may pass on: it was tried again and again, and the others never.
#[test]
fn one_that_aws_does_not_let_be_moved_keeps_nobody_waiting() {
    let mut both = view([service("cart"), service("web")]);
    assert_eq!(
        act(&both, &Memory::default(), NOW).action.map(|action| action.service().to_owned()),
        Some(CART.into())
    );
    both.denied.insert(CART.into(), "ecs:RegisterTaskDefinition: AccessDeniedException".into());
    let plan = act(&both, &Memory::default(), NOW);
    assert_eq!(plan.action.as_ref().map(Action::service), Some("arn:service/shop/web"));
    let (is, why) = state(&plan, "cart");
    assert!(is == State::Refused && why.contains("AccessDeniedException"), "{why}");

    // An order that was not let through is none, and none of the three that a revision has.
    let mut memory = moving();
    memory.motion.as_mut().unwrap().ordered = None;
    put_off(&mut memory);
    assert_eq!((&memory.motion, memory.tries[CART]["arn:task-definition/cart:1"].moves), (&None, 0));
}
