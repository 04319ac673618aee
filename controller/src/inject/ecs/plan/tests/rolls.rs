//! A newer sidecar in services that are meshed.

use super::*;

fn arn(name: &str, number: u32) -> String {
    format!("arn:task-definition/{name}:{number}")
}

/// Steady on its meshed revision, `NAME:2`.
fn meshed(name: &str) -> Service {
    let primary = Some(deployment("d2", &format!("{name}:2"), Rollout::Completed, 2));
    Service { primary, ..service(name) }
}

/// Meshed services, for which the controller has another image than they have.
fn newer(services: impl IntoIterator<Item = Service>) -> View {
    let mut view = view(services);
    for name in ["cart", "db", "web"] {
        let made = Revision {
            meshed: true,
            from: Some(arn(name, 1)),
            capture: "platform".into(),
            news: vec!["sidecar image 0.1.0 -> 0.2.0".into()],
            wanted: format!("{name} with 0.2.0"),
            ..Revision::default()
        };
        view.revisions.insert(arn(name, 2), made);
    }
    view
}

/// As after a roll of a service that went back.
fn fail(memory: &mut Memory, name: &str) {
    begin(memory, &meshed(name), &arn(name, 2), &arn(name, 3), &format!("{name} with 0.2.0"), NOW);
    refused(memory, "no such image");
}

fn prepares(plan: &Plan, name: &str, number: u32) -> bool {
    plan.action
        == Some(Action::Prepare { service: format!("arn:service/shop/{name}"), from: arn(name, number) })
}

#[test]
fn meshed_services_get_it_after_those_that_have_none() {
    let both = [meshed("cart"), service("web")];
    let first = act(&newer(both), &Memory::default(), NOW);
    assert!(prepares(&first, "web", 1), "{:?}", first.action);
    let (state, what) = state(&first, "cart");
    assert_eq!((state, what.as_str()), (State::Planned, "gets a new revision: sidecar image 0.1.0 -> 0.2.0"));
    let second = act(&newer([meshed("cart"), meshed("web")]), &Memory::default(), NOW);
    assert!(prepares(&second, "cart", 2), "{:?}", second.action);

    let mut memory = Memory::default();
    begin(&mut memory, &meshed("cart"), &arn("cart", 2), &arn("cart", 3), "cart with 0.2.0", NOW);
    let under_way = act(&newer([meshed("cart"), meshed("web")]), &memory, NOW);
    assert!(matches!(under_way.action, Some(Action::Order { ref to, .. }) if *to == arn("cart", 3)));
}

#[test]
fn a_dry_run_says_why_and_holds_what_is_there() {
    let mut dry = meshed("cart");
    dry.tags.insert(TAG.into(), "dry-run".into());
    let by_tag = act(&newer([dry]), &Memory::default(), NOW);
    let by_setting = plan(&newer([meshed("cart")]), &Memory::default(), Leave::Plan, LIMITS, NOW);
    for found in [by_tag, by_setting] {
        assert_eq!(found.action, None);
        let what = "would get a new revision: sidecar image 0.1.0 -> 0.2.0".to_owned();
        assert_eq!(state(&found, "cart"), (State::Planned, what));
    }
}

#[test]
fn one_that_fails_keeps_what_it_has_until_another_sidecar_comes() {
    let mut memory = Memory::default();
    // Its injection was put back twice, which has nothing to do with it.
    for _ in 0..3 {
        begin(&mut memory, &service("cart"), &arn("cart", 1), &arn("cart", 2), "", NOW);
    }
    assert!(prepares(
        &act(&newer([meshed("cart")]), &Memory { motion: None, ..memory.clone() }, NOW),
        "cart",
        2
    ));
    fail(&mut memory, "cart");
    let both = newer([meshed("cart"), meshed("web")]);
    let after = act(&both, &memory, NOW);
    let (state, why) = state(&after, "cart");
    assert!(state == State::Refused && why.contains("(sidecar image 0.1.0 -> 0.2.0)"), "{why}");
    assert!(why.contains("no such image") && why.contains("another sidecar image"), "{why}");
    assert!(prepares(&after, "web", 2), "one failure says nothing about others: {:?}", after.action);

    let mut next = newer([meshed("cart")]);
    next.revisions.get_mut(&arn("cart", 2)).unwrap().wanted = "cart with 0.2.1".into();
    assert!(prepares(&act(&next, &memory, NOW), "cart", 2));
}

#[test]
fn two_that_fail_hold_the_others_and_none_that_has_no_sidecar() {
    let mut memory = Memory::default();
    fail(&mut memory, "cart");
    fail(&mut memory, "db");
    let found = act(&newer(["cart", "db", "web"].map(meshed)), &memory, NOW);
    let (kept, why) = state(&found, "web");
    assert!(found.action.is_none() && kept == State::Kept, "{why}");
    assert!(why.contains("did not become healthy in cart.shop and db.shop"), "{why}");
    let found = act(&newer([meshed("cart"), meshed("db"), service("web")]), &memory, NOW);
    assert!(prepares(&found, "web", 1), "{:?}", found.action);

    let mut own_fault = meshed("db");
    own_fault.tags.insert(TAG.into(), "dry-run".into());
    let found = act(&newer([meshed("cart"), own_fault, meshed("web")]), &memory, NOW);
    assert!(prepares(&found, "web", 2), "{:?}", found.action);
}

#[test]
fn what_was_made_just_so_is_not_made_anew() {
    // ECS writes out what nobody here knows as a default: it looks like news, and would for ever.
    let mut memory = Memory::default();
    begin(&mut memory, &meshed("cart"), &arn("cart", 1), &arn("cart", 2), "cart with 0.2.0", NOW);
    memory.motion = None;
    let found = act(&newer([meshed("cart")]), &memory, NOW);
    assert_eq!((found.action.clone(), state(&found, "cart").0), (None, State::Meshed));
}

#[test]
fn one_that_was_meshed_by_hand_is_the_controllers_as_long_as_it_has_the_tag() {
    let mut by_hand = newer([meshed("cart")]);
    by_hand.revisions.get_mut(&arn("cart", 2)).unwrap().from = None;
    assert!(prepares(&act(&by_hand, &Memory::default(), NOW), "cart", 2));
    let revision = by_hand.revisions.get_mut(&arn("cart", 2)).unwrap();
    (revision.news, revision.refused) = (Vec::new(), vec!["no room".into()]);
    let (state, why) = state(&act(&by_hand, &Memory::default(), NOW), "cart");
    assert!(state == State::Refused && why.contains("keeps its sidecar") && why.contains("no room"), "{why}");
}

#[test]
fn a_roll_that_is_not_remembered_is_taken_up_and_its_failure_counts() {
    let mut cart = meshed("cart");
    cart.primary = Some(deployment("d3", "cart:3", Rollout::InProgress, 0));
    cart.others = vec![deployment("d2", "cart:2", Rollout::Completed, 2)];
    let mut view = newer([cart.clone()]);
    let made = Revision {
        meshed: true,
        from: Some(arn("cart", 2)),
        wanted: "cart with 0.2.0".into(),
        ..Revision::default()
    };
    view.revisions.insert(arn("cart", 3), made);
    let found = act(&view, &Memory::default(), NOW);
    assert_eq!((found.action.clone(), state(&found, "cart").0), (None, State::Moving));
    // It goes back.
    let back = act(&view, &found.memory, NOW + LIMITS.patience);
    assert_eq!(back.action, Some(Action::Order { service: CART.into(), to: arn("cart", 2), breaker: None }));
    let after = act(&newer([meshed("cart")]), &back.memory, NOW + LIMITS.patience + 100);
    assert_eq!((after.action.clone(), state(&after, "cart").0), (None, State::Refused));
}
