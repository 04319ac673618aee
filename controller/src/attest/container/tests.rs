use outrigger_model::label::MANAGED;

use super::*;
use crate::source::docker::record::Run;
use crate::source::docker::samples::{container, containers, instance};
use crate::source::ecs::record::{Definition, Stage, Task};
use crate::source::ecs::samples::{definition, seen as of, task};

const PID: u32 = 4711;

fn sidecar(arn: &str) -> Container {
    container("ecs-cart-3-outrigger-sidecar", &[(MANAGED, "sidecar"), (TASK, arn), (CONTAINER, SIDECAR)])
}

fn engine(container: Container) -> Engine {
    let listed = Some(Instant::now());
    Engine { containers: containers([container]).into(), current: true, listed, ..Engine::default() }
}

fn seen(tasks: Vec<Task>, definition: Definition) -> Seen {
    Seen { listed: Some(Instant::now()), ..of(tasks, definition, Vec::new()) }
}

#[test]
fn the_first_process_of_a_tasks_sidecar_is_the_task() {
    let caller = judge(&engine(sidecar(&task(1).arn)), &seen(vec![task(1), task(2)], definition()), PID);
    let workload = task(1).workload();
    assert_eq!(caller, Ok(Caller { workload, sidecar: task(1).arn, next: false, address: None }));
}

#[test]
fn whatever_does_not_agree_is_refused_and_named() {
    let arn = task(1).arn;
    let ours = || engine(sidecar(&arn));
    let labelled = |labels: &[(&str, &str)]| engine(container("x", labels));
    let all = || seen(vec![task(1)], definition());
    let stage = |last_status, desired_status| {
        seen(vec![Task { last_status, desired_status, ..task(1) }], definition())
    };
    let like = |change: fn(&mut Definition)| {
        let mut changed = definition();
        change(&mut changed);
        seen(vec![task(1)], changed)
    };
    let mut stopped = sidecar(&arn);
    stopped.run = Run::Stopped;
    let mut other = sidecar(&arn);
    other.run = Run::Running(instance("2026-11-23T10:00:00Z", PID + 1));
    let elsewhere = arn.replace("task/shop", "task/batch");
    let cases: [(Engine, Seen, &str); 17] = [
        (engine(stopped), all(), "is not the sidecar of an ECS task"),
        (engine(other), all(), "is not the sidecar of an ECS task"),
        (labelled(&[(MANAGED, "sidecar"), (CONTAINER, SIDECAR)]), all(), "is not the sidecar of an ECS task"),
        (labelled(&[(TASK, &arn), (CONTAINER, "app")]), all(), "is of the container app"),
        (labelled(&[(TASK, &arn), (MANAGED, "sidecar")]), all(), "is of the container x"),
        (engine(sidecar(&elsewhere)), all(), "is not of the watched ECS clusters"),
        (engine(sidecar(&task(1).id)), all(), "is not of the watched ECS clusters"),
        (engine(sidecar("")), all(), "is not of the watched ECS clusters"),
        (ours(), seen(vec![task(2)], definition()), "is not of the watched ECS clusters"),
        (ours(), stage(Stage::Running, Stage::Stopped), "is stopping"),
        (ours(), stage(Stage::Deactivating, Stage::Running), "is stopping"),
        (ours(), stage(Stage::Stopped, Stage::Stopped), "is stopping"),
        (ours(), like(|definition| definition.sidecar = false), "is not meshed"),
        (ours(), like(|definition| definition.arn = "cart:9".into()), "is not meshed"),
        (ours(), like(|definition| definition.network_mode = NetworkMode::Bridge), "--control https://"),
        (ours(), like(|definition| definition.network_mode = NetworkMode::Host), "--control https://"),
        (ours(), like(|definition| definition.network_mode = NetworkMode::None), "--control https://"),
    ];
    for (number, (engine, seen, want)) in cases.into_iter().enumerate() {
        let refused = judge(&engine, &seen, PID).unwrap_err();
        assert!(refused.to_string().contains(want), "{number}, {want}: {refused}");
        assert!(!refused.is_ours(), "{refused}");
    }
    for (engine, seen) in [(Engine::default(), all()), (ours(), Seen::default())] {
        assert!(judge(&engine, &seen, PID).unwrap_err().is_ours());
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_both_are_waited_for_and_not_for_ever() {
    let (tell_engine, engine_seen) = watch::channel(Engine::default());
    let (tell_tasks, tasks_seen) = watch::channel(Seen::default());
    let attestor = ContainerAttestor::new(engine_seen, tasks_seen);
    let begun = Instant::now();
    assert_eq!(attestor.caller(PID).await.map_err(|refused| refused.is_ours()), Err(true));
    assert_eq!(begun.elapsed(), AHEAD);
    let (caller, ()) = tokio::join!(attestor.caller(PID), async {
        tell_engine.send_replace(engine(sidecar(&task(1).arn)));
        tokio::task::yield_now().await;
        tell_tasks.send_replace(seen(vec![task(2)], definition()));
        tokio::task::yield_now().await;
        tell_tasks.send_replace(seen(vec![task(1), task(2)], definition()));
    });
    assert_eq!(caller.unwrap().workload, task(1).workload());
    assert_eq!(begun.elapsed(), AHEAD, "at once");
}
