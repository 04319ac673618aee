use std::collections::HashMap;

use bollard::models::EventActor;

use super::*;
use crate::source::docker::record::Instance;
use crate::source::docker::samples::{container, containers};

fn tracker() -> Tracker {
    let scope = Scope { mesh: "shop".into(), ..Scope::default() };
    let mut tracker = Tracker::new(scope);
    tracker.listed(containers([container("cart", &[("outrigger.enable", "true")])]), 0);
    tracker
}

fn event(typ: EventMessageTypeEnum, action: &str, id: &str, attributes: &[(&str, &str)]) -> EventMessage {
    let attributes: HashMap<String, String> =
        attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    EventMessage {
        typ: Some(typ),
        action: Some(action.to_owned()),
        actor: Some(EventActor { id: Some(id.to_owned()), attributes: Some(attributes) }),
        time_nano: Some(1_795_430_000_000_000_000),
        ..EventMessage::default()
    }
}

/// What is known, with the cart in this state.
fn all_with(tracker: &Tracker, run: Run) -> Containers {
    let mut all = tracker.containers.clone();
    all.get_mut("id-cart").unwrap().run = run;
    all
}

fn of_cart(action: &str, attributes: &[(&str, &str)]) -> EventMessage {
    event(EventMessageTypeEnum::CONTAINER, action, "id-cart", attributes)
}

fn stopping(tracker: &Tracker) -> bool {
    tracker.containers()["id-cart"].stopping
}

#[test]
fn the_intent_to_stop_counts_at_once_and_a_hang_up_is_none() {
    for (signal, stops) in
        [("15", true), ("2", true), ("9", true), ("SIGTERM", true), ("1", false), ("28", false)]
    {
        let mut tracker = tracker();
        let effect = tracker.event(of_cart("kill", &[("signal", signal)]));
        assert_eq!(
            (effect, stopping(&tracker)),
            (if stops { Effect::Changed } else { Effect::Nothing }, stops),
            "{signal}"
        );
    }
    let mut own = tracker();
    own.containers.get_mut("id-cart").unwrap().stop_signal = libc::SIGQUIT;
    own.event(of_cart("kill", &[("signal", "3")]));
    assert!(stopping(&own), "the container's own stop signal");
}

#[test]
fn a_new_run_or_the_end_of_patience_ends_the_intent() {
    let mut tracker = tracker();
    let container = tracker.containers["id-cart"].clone();
    let again =
        Instance { started: "2026-11-22T23:06:41.5Z".into(), ..container.instance().unwrap().clone() };
    let again = Container { run: Run::Running(again), ..container };
    tracker.event(of_cart("kill", &[("signal", "15")]));
    for action in ["die", "start"] {
        assert_eq!(tracker.event(of_cart(action, &[])), Effect::Inspect("id-cart".into()));
        assert!(stopping(&tracker), "what is known is still the run that was asked to stop: {action}");
    }
    assert!(tracker.inspected("id-cart", Some(again.clone())));
    assert!(!stopping(&tracker), "another run");
    tracker.event(of_cart("kill", &[("signal", "15")]));
    tracker.listed(all_with(&tracker, Run::Stopped), 0);
    assert!(!stopping(&tracker), "no run");
    tracker.listed(all_with(&tracker, again.run), 0);
    tracker.event(of_cart("kill", &[("signal", "15")]));
    let all = tracker.containers.clone();
    tracker.listed(all.clone(), 1_795_430_000_000_000_000);
    assert!(stopping(&tracker), "a listing does not end it");
    tracker.listed(all, 1_795_430_031_000_000_000);
    assert!(
        !stopping(&tracker),
        "it still runs 20 s after its timeout: it took the signal for something else"
    );
}

#[test]
fn an_old_kill_told_again_is_not_about_this_run() {
    let mut tracker = tracker();
    let mut old = of_cart("kill", &[("signal", "15")]);
    old.time_nano = Some(1_795_427_999_000_000_000);
    assert_eq!(tracker.event(old), Effect::Nothing);
    assert!(!stopping(&tracker));
}

#[test]
fn events_lead_to_a_look_at_what_is_in_scope_only() {
    use EventMessageTypeEnum::{CONTAINER, NETWORK};
    let mut tracker = tracker();
    let look = |id: &str| Effect::Inspect(id.into());
    for action in ["die", "pause", "unpause", "rename", "health_status: healthy", "stop", "restart"] {
        assert_eq!(tracker.event(of_cart(action, &[])), look("id-cart"), "{action}");
    }
    assert_eq!(tracker.event(event(NETWORK, "connect", "net", &[("container", "id-cart")])), look("id-cart"));
    assert_eq!(tracker.event(event(NETWORK, "connect", "net", &[("container", "else")])), Effect::Nothing);
    let labelled = [("outrigger.enable", "true")];
    assert_eq!(tracker.event(event(CONTAINER, "create", "new", &labelled)), look("new"));
    assert_eq!(tracker.event(event(CONTAINER, "create", "else", &[])), Effect::Nothing);
    assert_eq!(tracker.event(of_cart("destroy", &[])), Effect::Gone("id-cart".into()));
    assert!(tracker.containers().is_empty());
    assert_eq!(tracker.event(EventMessage::default()), Effect::Nothing);
}

#[test]
fn a_new_session_keeps_the_intents_of_the_last() {
    let mut first = tracker();
    first.event(of_cart("kill", &[("signal", "15")]));
    let known = first.containers();
    let mut second = tracker();
    second.resume(&known, 1_795_430_000_000_000_000);
    assert!(stopping(&second));
    assert!(
        !second.inspected("id-cart", Some(container("cart", &[("outrigger.enable", "true")]))),
        "nothing changed"
    );
    assert!(second.inspected("id-cart", None));
}
