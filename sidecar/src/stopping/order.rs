//! What follows from a task's metadata for its sidecar. Pure.

use crate::task::{Container, Task};

const STOPPED: &str = "STOPPED";
const RUNNING: &str = "RUNNING";

/// What a sidecar is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Take nothing new from peers, and carry what the application calls.
    Leave,
    /// End: the application has ended.
    End,
}

/// What the sidecar `own` of a task is to do; `told`: it was sent SIGTERM.
pub fn order(task: &Task, own: &Container, told: bool) -> Order {
    let stops = told || task.is_stopping();
    // One that is yet to come may not be in the list.
    let all_came = task.known_status == RUNNING && start(own).is_some();
    let mut applications = applications(task, own).peekable();
    let there = applications.peek().is_some();
    let ended = applications.all(|container| container.known_status == STOPPED);
    match (ended, stops) {
        (true, _) if told || there && (stops || all_came) => Order::End,
        (_, true) => Order::Leave,
        (_, false) => Order::Serve,
    }
}

/// The containers that the sidecar stands beside: not what ran before it was started, which it depends on (a log router,
/// the capture step) and which ECS stops after it.
fn applications<'a>(task: &'a Task, own: &'a Container) -> impl Iterator<Item = &'a Container> {
    let own_start = start(own);
    task.containers.iter().filter(move |container| {
        let ours = container.id == own.id && container.name == own.name;
        let before = matches!((start(container), own_start), (Some(start), Some(own)) if start < own);
        !ours && !container.is_agents() && !before
    })
}

/// When its first run began: of one that was started again it is known when it was made, which ECS does when its turn has
/// come. Compares as times do: without the `Z`, a time with fewer digits is the beginning of a later one.
fn start(container: &Container) -> Option<&str> {
    let again = container.created_at.as_deref().filter(|_| container.restarts > 0);
    again.or(container.started_at.as_deref()).map(|time| time.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "2026-11-23T10:00:02.2Z";

    fn container(name: &str, status: &str, started: Option<&str>) -> Container {
        Container {
            id: format!("id-{name}"),
            name: name.into(),
            kind: "NORMAL".into(),
            known_status: status.into(),
            started_at: started.map(Into::into),
            ..Container::default()
        }
    }

    fn ordered(desired: &str, others: &[Container], told: bool) -> Order {
        let own = container("outrigger-sidecar", "RUNNING", Some(OWN));
        let pause = Container { kind: "CNI_PAUSE".into(), ..container("~pause", "RUNNING", None) };
        let mut containers = vec![own.clone(), pause];
        containers.extend_from_slice(others);
        let (desired_status, known_status) = (desired.into(), RUNNING.into());
        order(&Task { desired_status, known_status, containers, ..Task::default() }, &own, told)
    }

    #[test]
    fn it_leaves_at_the_order_and_ends_after_the_application() {
        let later = Some("2026-11-23T10:00:02.25Z");
        let running = container("app", "RUNNING", later);
        let stopped = container("app", "STOPPED", later);
        let coming = container("app", "CREATED", None);
        let table = [
            ("RUNNING", vec![running.clone()], false, Order::Serve),
            ("RUNNING", vec![coming.clone()], false, Order::Serve),
            // Nobody but the sidecar: there is nothing to end after.
            ("RUNNING", vec![], false, Order::Serve),
            ("STOPPED", vec![running.clone()], false, Order::Leave),
            ("STOPPED", vec![coming], false, Order::Leave),
            ("STOPPED", vec![stopped.clone()], false, Order::End),
            // SIGTERM first, as in a task where nobody depends on the sidecar.
            ("RUNNING", vec![running.clone()], true, Order::Leave),
            ("RUNNING", vec![], true, Order::End),
            // A batch task.
            ("RUNNING", vec![stopped.clone()], false, Order::End),
            ("RUNNING", vec![stopped, running], false, Order::Serve),
        ];
        for (desired, others, told, expected) in table {
            assert_eq!(ordered(desired, &others, told), expected, "{desired} {others:?} {told}");
        }
    }

    /// A container that the application waits for has ended, and the application's image is still being pulled.
    #[test]
    fn a_task_that_is_still_starting_is_not_over() {
        let own = container("outrigger-sidecar", RUNNING, Some(OWN));
        let step = container("migrate", STOPPED, Some("2026-11-23T10:00:07Z"));
        let task = |known: &str, own: &Container| Task {
            desired_status: RUNNING.into(),
            known_status: known.into(),
            containers: vec![own.clone(), step.clone()],
            ..Task::default()
        };
        assert_eq!(order(&task("CREATED", &own), &own, false), Order::Serve);
        assert_eq!(order(&task(RUNNING, &own), &own, false), Order::End);
        let unknown = Container { started_at: None, ..own };
        assert_eq!(order(&task(RUNNING, &unknown), &unknown, false), Order::Serve);
    }

    /// ECS stops them after the sidecar: waiting for them would be waiting for each other.
    #[test]
    fn what_ran_before_the_sidecar_is_not_waited_for() {
        let router = container("log", "RUNNING", Some("2026-11-23T10:00:02Z"));
        let step = container("outrigger-capture", "STOPPED", Some("2026-11-23T10:00:01.999Z"));
        let app = |status| container("app", status, Some("2026-11-23T10:00:09.1Z"));
        assert_eq!(ordered("RUNNING", &[router.clone(), step.clone()], false), Order::Serve);
        assert_eq!(ordered("RUNNING", &[router.clone(), step.clone(), app("RUNNING")], true), Order::Leave);
        assert_eq!(ordered("STOPPED", &[router, step, app("STOPPED")], true), Order::End);
    }
    /// Else a sidecar that died once would never end with a batch task, and would wait for a log router that did.
    #[test]
    fn who_was_started_again_comes_where_it_came_first() {
        let again = |name: &str, created: &str| Container {
            created_at: Some(created.into()),
            restarts: 1,
            ..container(name, RUNNING, Some("2026-11-23T10:30:00Z"))
        };
        let own = again("outrigger-sidecar", "2026-11-23T10:00:02.1Z");
        let router = again("log", "2026-11-23T10:00:01Z");
        let app = |status| container("app", status, Some("2026-11-23T10:00:09.1Z"));
        let of = |app| Task {
            desired_status: RUNNING.into(),
            known_status: RUNNING.into(),
            containers: vec![router.clone(), own.clone(), app],
            ..Task::default()
        };
        assert_eq!(order(&of(app(RUNNING)), &own, true), Order::Leave, "it is waited for");
        assert_eq!(order(&of(app(STOPPED)), &own, false), Order::End);
    }
}
