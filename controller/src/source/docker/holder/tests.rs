use super::*;
use crate::source::docker::samples::{composed, containers, instance};

fn scope() -> Scope {
    Scope { mesh: "shop".into(), project: Some("shop".into()), own: None }
}

/// The holder of the second replica of `cart`, and a container joined to it.
fn holder() -> Container {
    let labels = [(MANAGED, HOLDER), (APP, "cart"), (REPLICA, "2"), ("outrigger.enable", "true")];
    composed("shop", "cart-2-holder", &labels)
}

fn joined(service: &str, labels: &[(&str, &str)], started: &str) -> Container {
    let mut container = composed("shop", service, labels);
    container.network_mode = format!("container:{}", holder().id);
    container.run = Run::Running(instance(started, 4713));
    container
}

const AFTER: &str = "2026-11-23T10:00:01Z";
const BEFORE: &str = "2026-11-23T09:59:59Z";

fn app(started: &str) -> Container {
    joined("cart-2", &[], started)
}

fn lifecycle_of(all: &[&Container]) -> Lifecycle {
    let all = containers(all.iter().copied().cloned());
    holders(&all, &scope()).into_values().next().unwrap().lifecycle()
}

#[test]
fn the_application_lends_its_life_and_the_holder_everything_else() {
    let sidecar = joined("cart-2-sidecar", &[(MANAGED, "sidecar")], AFTER);
    let step = joined("cart-2-capture", &[(MANAGED, "capture")], AFTER);
    let all = containers([holder(), app(AFTER), sidecar.clone(), step]);
    let found = holders(&all, &scope());
    let held = found.values().next().unwrap();
    assert_eq!(held.name(), "shop-cart-2");
    assert_eq!(held.app.map(|app| app.name.as_str()), Some("shop-cart-2-1"));
    assert_eq!(held.current_sidecar(), Some(&sidecar));
    assert_eq!(held.others, Vec::<&Container>::new());
    assert!(holders(&all, &Scope { project: Some("blog".into()), ..scope() }).is_empty(), "not in scope");
}

#[test]
fn it_runs_when_the_application_runs_in_the_namespace_of_now() {
    let (holder, running) = (holder(), app(AFTER));
    let stopped = Container { run: Run::Stopped, ..holder.clone() };
    assert_eq!(lifecycle_of(&[&holder, &running]), Lifecycle::Running);
    assert_eq!(lifecycle_of(&[&holder]), Lifecycle::Stopped, "not created yet");
    assert_eq!(lifecycle_of(&[&holder, &app(BEFORE)]), Lifecycle::Stopped, "stranded in a dead namespace");
    assert_eq!(lifecycle_of(&[&stopped, &running]), Lifecycle::Stopped);
    for (one, other) in [(true, false), (false, true)] {
        let holder = Container { stopping: one, ..holder.clone() };
        let app = Container { stopping: other, ..running.clone() };
        assert_eq!(lifecycle_of(&[&holder, &app]), Lifecycle::Stopping, "either of them is asked to stop");
    }
    let paused = Container { run: Run::Paused(instance(AFTER, 1)), ..running };
    assert_eq!(lifecycle_of(&[&holder, &paused]), Lifecycle::Paused);
}

#[test]
fn of_several_processes_the_one_of_the_service_is_the_application() {
    let mut one_off = app(AFTER);
    one_off.id = "id-run".into();
    one_off.labels.insert(COMPOSE_ONE_OFF.into(), "True".into());
    one_off.created = 9;
    let other = joined("a-helper", &[], AFTER);
    let all = containers([holder(), one_off, other, app(AFTER)]);
    let found = holders(&all, &scope());
    let held = found.values().next().unwrap();
    assert_eq!(held.app.map(|app| app.id.as_str()), Some("id-shop-cart-2-1"));
    assert_eq!(held.others.len(), 2);
}
