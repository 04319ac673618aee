use outrigger_model::label::MANAGED;

use super::*;
use crate::source::docker::record::Run;
use crate::source::docker::samples::{container, containers, instance};
use crate::source::ecs::record::{Definition, Stage, Task};
use crate::source::ecs::samples::{definition, seen as of, task};

const PID: u32 = 4711;
const HERE: &str = "arn:aws:ecs:eu-west-1:111122223333:container-instance/shop/here";

fn own() -> Own {
    Own::Task(task(99).arn)
}

fn sidecar(arn: &str) -> Container {
    container("ecs-cart-3-outrigger-sidecar", &[(MANAGED, "sidecar"), (TASK, arn), (CONTAINER, SIDECAR)])
}

fn engine(container: Container) -> Engine {
    let listed = Some(Instant::now());
    Engine { containers: containers([container]).into(), current: true, listed, ..Engine::default() }
}

/// Beside the controller's own task.
fn seen(mut tasks: Vec<Task>, definition: Definition) -> Seen {
    tasks.push(here(99));
    Seen { listed: Some(Instant::now()), ..of(tasks, definition, Vec::new()) }
}

fn here(n: u32) -> Task {
    Task { container_instance: Some(HERE.into()), ..task(n) }
}

#[test]
fn the_first_process_of_a_tasks_sidecar_is_the_task() {
    let caller =
        judge(&engine(sidecar(&task(1).arn)), &seen(vec![here(1), here(2)], definition()), &own(), PID);
    let workload = task(1).workload();
    assert_eq!(caller, Ok(Caller { workload, sidecar: task(1).arn, next: false, address: None }));
}

#[test]
fn whatever_does_not_agree_is_refused_and_named() {
    let arn = task(1).arn;
    let ours = || engine(sidecar(&arn));
    let labelled = |labels: &[(&str, &str)]| engine(container("x", labels));
    let all = || seen(vec![here(1)], definition());
    let stage = |last_status, desired_status| {
        seen(vec![Task { last_status, desired_status, ..here(1) }], definition())
    };
    let like = |change: fn(&mut Definition)| {
        let mut changed = definition();
        change(&mut changed);
        seen(vec![here(1)], changed)
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
        (ours(), seen(vec![here(2)], definition()), "is not of the watched ECS clusters"),
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
        let refused = judge(&engine, &seen, &own(), PID).unwrap_err();
        assert!(refused.to_string().contains(want), "{number}, {want}: {refused}");
        assert!(!refused.is_ours(), "{refused}");
    }
    let refused = judge(&ours(), &all(), &Own::NoTask, PID).unwrap_err();
    assert_eq!(refused, ContainerRefused::NoInstance);
    let later = Own::Task(task(98).arn);
    for own in [&Own::Unasked, &later] {
        assert!(judge(&ours(), &all(), own, PID).unwrap_err().is_ours(), "{own:?}");
    }
    for (engine, seen) in [(Engine::default(), all()), (ours(), Seen::default())] {
        assert!(judge(&engine, &seen, &own(), PID).unwrap_err().is_ours());
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_both_are_waited_for_and_not_for_ever() {
    let (tell_engine, engine_seen) = watch::channel(Engine::default());
    let (tell_tasks, tasks_seen) = watch::channel(Seen::default());
    let (_tell_own, own_known) = watch::channel(own());
    let attestor = ContainerAttestor::new(engine_seen, tasks_seen, own_known);
    let begun = Instant::now();
    assert_eq!(attestor.caller(PID).await.map_err(|refused| refused.is_ours()), Err(true));
    assert_eq!(begun.elapsed(), AHEAD);
    let (caller, ()) = tokio::join!(attestor.caller(PID), async {
        tell_engine.send_replace(engine(sidecar(&task(1).arn)));
        tokio::task::yield_now().await;
        tell_tasks.send_replace(seen(vec![here(2)], definition()));
        tokio::task::yield_now().await;
        tell_tasks.send_replace(seen(vec![here(1), here(2)], definition()));
    });
    assert_eq!(caller.unwrap().workload, task(1).workload());
    assert_eq!(begun.elapsed(), AHEAD, "at once");
}

/// Who may start containers on the instance can write any label: ECS knows where its tasks are.
#[test]
fn labels_of_a_task_of_another_instance_are_not_believed() {
    let elsewhere = Task { container_instance: Some(HERE.replace("here", "there")), ..task(1) };
    let on_fargate = Task { container_instance: None, ..task(1) };
    for task in [elsewhere, on_fargate] {
        let engine = engine(sidecar(&task.arn));
        let refused = judge(&engine, &seen(vec![task.clone()], definition()), &own(), PID).unwrap_err();
        assert_eq!(refused, ContainerRefused::Elsewhere(task.id));
    }
    let mut controller = here(99);
    controller.container_instance = None;
    let alone =
        Seen { listed: Some(Instant::now()), ..of(vec![here(1), controller], definition(), Vec::new()) };
    let refused = judge(&engine(sidecar(&task(1).arn)), &alone, &own(), PID).unwrap_err();
    assert_eq!(refused, ContainerRefused::NoInstance, "on Fargate nobody is beside it");
}
