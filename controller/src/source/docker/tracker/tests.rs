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

const SECOND: i64 = 1_000_000_000;
/// A minute after the other events.
const LATER: i64 = 1_795_430_060 * SECOND;

fn at(time_nano: i64, event: EventMessage) -> EventMessage {
    EventMessage { time_nano: Some(time_nano), ..event }
}

fn kill() -> EventMessage {
    of_cart("kill", &[("signal", "15")])
}

/// The cart in a run that began half a minute after the events.
fn again(tracker: &Tracker) -> Container {
    let instance = Instance { started: "2026-11-23T10:33:50Z".into(), pid: 9 };
    Container { run: Run::Running(instance), ..tracker.containers["id-cart"].clone() }
}

#[test]
fn a_new_run_or_the_end_of_patience_ends_the_intent() {
    let mut tracker = tracker();
    let again = again(&tracker);
    tracker.event(kill());
    assert_eq!(tracker.event(of_cart("start", &[])), Effect::Inspect("id-cart".into()));
    assert!(stopping(&tracker), "what is known is still the run that was asked to stop");
    assert!(tracker.inspected("id-cart", Some(again.clone())));
    assert!(!stopping(&tracker), "another run");
    tracker.event(at(LATER, kill()));
    tracker.listed(all_with(&tracker, Run::Stopped), 0);
    assert!(!stopping(&tracker), "no run");
    tracker.listed(all_with(&tracker, again.run), 0);
    tracker.event(at(LATER, kill()));
    let all = tracker.containers.clone();
    tracker.listed(all.clone(), LATER as u64);
    assert!(stopping(&tracker), "a listing does not end it");
    tracker.listed(all, (LATER + 31 * SECOND) as u64);
    assert!(
        !stopping(&tracker),
        "it still runs 20 s after its timeout: it took the signal for something else"
    );
}

/// Between the event and the inspection it looked alive, and was given a sidecar that joined the next run.
#[test]
fn a_run_that_died_is_over_at_once_whatever_a_late_inspection_says() {
    let mut tracker = tracker();
    let (running, again) = (tracker.containers["id-cart"].clone(), again(&tracker));
    let run = |tracker: &Tracker| tracker.containers()["id-cart"].run.clone();
    assert_eq!(tracker.event(of_cart("die", &[])), Effect::Ended("id-cart".into()));
    assert_eq!(run(&tracker), Run::Stopped);
    assert!(!tracker.inspected("id-cart", Some(running.clone())), "asked before, answered after");
    tracker.listed(containers([running.clone()]), 0);
    assert_eq!(run(&tracker), Run::Stopped);
    assert!(tracker.inspected("id-cart", Some(again.clone())));
    assert_eq!(tracker.event(of_cart("die", &[])), Effect::Inspect("id-cart".into()), "told again");
    assert_eq!(run(&tracker), again.run);
}

/// A quick restart: the new run is asked to stop before its inspection is there.
#[test]
fn an_intent_to_stop_a_run_that_is_not_known_yet_counts() {
    for listed in [false, true] {
        let mut tracker = tracker();
        let again = again(&tracker);
        tracker.event(of_cart("die", &[]));
        tracker.event(at(LATER, kill()));
        if listed {
            tracker.listed(containers([again]), LATER as u64);
        } else {
            assert!(tracker.inspected("id-cart", Some(again)));
        }
        assert!(stopping(&tracker), "listed: {listed}");
    }
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
    for action in ["pause", "unpause", "rename", "health_status: healthy", "stop", "restart"] {
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
