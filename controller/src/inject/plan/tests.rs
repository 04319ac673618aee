use super::*;
use crate::scope::Scope;
use crate::source::docker::map::map;
use crate::source::docker::samples::{composed, containers, instance, sidecar_of};

fn cart() -> Container {
    composed("shop", "cart", &[("outrigger.enable", "true")])
}

fn planned(all: &[Container], busy: &Busy) -> Vec<Action> {
    let all = containers(all.iter().cloned());
    let scope = Scope { mesh: "shop".into(), ..Scope::default() };
    plan(&all, &map(&all, &scope, &outrigger_model::Mesh::default()).view, "shop", busy)
}

fn inject(app: &Container) -> Action {
    let (app, instance) = (WorkloadId(app.id.clone()), app.instance().unwrap().clone());
    Action::Inject { app, instance, capture: Capture::Transparent }
}

fn why(actions: &[Action]) -> Vec<&str> {
    actions.iter().map(|action| if let Action::Remove { why, .. } = action { why } else { "?" }).collect()
}

#[test]
fn a_running_workload_gets_exactly_one_sidecar() {
    let app = cart();
    let idle = Busy::default();
    assert_eq!(planned(std::slice::from_ref(&app), &idle), [inject(&app)]);
    assert_eq!(
        planned(&[app.clone(), sidecar_of(&app)], &idle),
        [],
        "also one that an earlier controller made"
    );
    let injecting = Busy { injecting: [WorkloadId(app.id.clone())].into(), ..Busy::default() };
    assert_eq!(planned(std::slice::from_ref(&app), &injecting), []);
    let second = Container { id: "second".into(), ..sidecar_of(&app) };
    let actions = planned(&[app.clone(), sidecar_of(&app), second], &idle);
    assert_eq!(why(&actions), ["a second sidecar of the same workload"]);
    for run in [Run::Created, Run::Stopped] {
        assert_eq!(planned(&[Container { run, ..app.clone() }], &idle), []);
    }
}

#[test]
fn a_frozen_one_keeps_its_sidecar_and_gets_no_new_one() {
    let app = cart();
    let sidecar = sidecar_of(&app);
    let paused = Container { run: Run::Paused(app.instance().unwrap().clone()), ..app };
    assert_eq!(planned(std::slice::from_ref(&paused), &Busy::default()), []);
    assert_eq!(planned(&[paused, sidecar], &Busy::default()), []);
}

#[test]
fn a_new_run_gets_a_new_sidecar_and_loses_the_old() {
    let app = cart();
    let sidecar = sidecar_of(&app);
    let again = Container { run: Run::Running(instance("2026-11-23T11:00:00Z", 9)), ..app.clone() };
    let actions = planned(&[again.clone(), sidecar.clone()], &Busy::default());
    assert_eq!(actions.len(), 2);
    assert_eq!(why(&actions[..1]), ["its application has started anew"]);
    assert_eq!(actions[1], inject(&again));
    let ended = Container { run: Run::Stopped, ..app };
    assert_eq!(why(&planned(&[ended, sidecar.clone()], &Busy::default())), ["its application does not run"]);
    let gone = planned(std::slice::from_ref(&sidecar), &Busy::default());
    assert_eq!(gone, [Action::RemoveOrphan { id: sidecar.id, app: "id-shop-cart-1".into() }]);
}

#[test]
fn a_left_over_goes_and_a_started_one_stays() {
    let app = cart();
    let created = Container { run: Run::Created, ..sidecar_of(&app) };
    let actions = planned(&[app.clone(), created.clone()], &Busy::default());
    assert_eq!((why(&actions[..1]), &actions[1]), (vec!["it was never started"], &inject(&app)));
    let started = [created.id.clone()].into();
    let busy = Busy { injecting: [WorkloadId(app.id.clone())].into(), started, ..Busy::default() };
    assert_eq!(planned(&[app, created], &busy), []);
}

/// A rename that was under way made the workload look as if it had no sidecar, and it got a second one.
#[test]
fn a_renamed_application_keeps_its_sidecar_under_a_new_name() {
    let app = cart();
    let sidecar = sidecar_of(&app);
    let renamed = Container { name: "other".into(), ..app };
    let to = Action::Rename { id: sidecar.id.clone(), name: "other-outrigger".into() };
    assert_eq!(planned(&[renamed.clone(), sidecar.clone()], &Busy::default()), [to]);
    let touched: BTreeSet<String> = [sidecar.id.clone()].into();
    let busy =
        Busy { touched, renamed: [(sidecar.id.clone(), "other-outrigger".into())].into(), ..Busy::default() };
    assert_eq!(planned(&[renamed, sidecar], &busy), []);
}

#[test]
fn a_sidecar_stays_with_what_is_no_workload_any_more_and_other_meshes_are_not_touched() {
    let app = cart();
    let sidecar = sidecar_of(&app);
    let mut unlabelled = app.clone();
    unlabelled.labels.insert("outrigger.enable".into(), "false".into());
    assert_eq!(planned(&[unlabelled, sidecar.clone()], &Busy::default()), []);
    let mut foreign = sidecar;
    foreign.labels.insert("outrigger.mesh".into(), "other".into());
    let ended = Container { run: Run::Stopped, ..app };
    assert_eq!(planned(&[ended, foreign], &Busy::default()), []);
}

#[test]
fn a_sidecar_that_takes_anothers_place_stays_beside_it_and_gets_its_name_afterwards() {
    let app = cart();
    let old = sidecar_of(&app);
    let mut next = Container { id: "a-next".into(), name: next_name(&app.name), ..sidecar_of(&app) };
    next.labels.insert(REPLACES.into(), old.id.clone());
    let idle = Busy::default();
    assert_eq!(planned(&[app.clone(), old.clone(), next.clone()], &idle), []);
    let ended = Container { run: Run::Stopped, ..old };
    assert_eq!(planned(&[app.clone(), ended, next.clone()], &idle), [], "the name is still taken");
    let to = Action::Rename { id: next.id.clone(), name: sidecar_name(&app.name) };
    assert_eq!(planned(&[app.clone(), next.clone()], &idle), [to]);
    let third = Container { id: "b-third".into(), ..sidecar_of(&app) };
    assert_eq!(why(&planned(&[app, next, third], &idle)), ["a second sidecar of the same workload"]);
}
