//! Who must be started again, from what there is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::WorkloadId;
use outrigger_model::label::{MANAGED, MESH};

use crate::proxies::Proxy;
use crate::scope::Scope;
use crate::source::docker::holder::{Held, holders, is_orphan};
use crate::source::docker::record::{Container, Run};
use crate::source::docker::tracker::Containers;
use crate::status::Problem;

/// One container to start again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) again: Again,
    /// Seconds between being asked to stop and being killed; none: its own.
    pub(super) grace: Option<u64>,
}

/// How, and the state in which that is right: once it is done, another state asks anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It runs in a dead namespace: the holder's run, and its own.
    Restart { holder: String, own: String },
    /// The engine could not start it when the holder did not run: the holder's run.
    Start { holder: String },
}

/// What there is to do and to tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) steps: Vec<Step>,
    pub(super) problems: BTreeSet<Problem>,
}

impl Step {
    /// For the log and for problems.
    pub(super) fn why(&self) -> &'static str {
        match self.again {
            Again::Restart { .. } => {
                "it runs in the network namespace of its holder's earlier run, which is dead"
            }
            Again::Start { .. } => "the engine could not start it because its namespace holder did not run",
        }
    }
}

/// Sidecars at once; applications, and what else a user joined, when their sidecar is ready.
pub(super) fn plan(containers: &Containers, scope: &Scope, proxies: &BTreeMap<WorkloadId, Proxy>) -> Found {
    let mut found = Found { steps: Vec::new(), problems: orphans(containers, scope) };
    for held in holders(containers, scope).values() {
        if held.holder.stopping || !matches!(held.holder.run, Run::Running(_)) {
            continue;
        }
        // A stranded sidecar has nobody left to drain.
        found.steps.extend(held.sidecar.and_then(|sidecar| step(held, sidecar, Some(0))));
        if serves(held, proxies) {
            let all = held.app.iter().chain(&held.others);
            found.steps.extend(all.filter_map(|joined| step(held, joined, None)));
        }
    }
    found
}

fn serves(held: &Held<'_>, proxies: &BTreeMap<WorkloadId, Proxy>) -> bool {
    let Some(sidecar) = held.current_sidecar() else { return false };
    let proxy = proxies.get(&WorkloadId(held.holder.id.clone()));
    let proxy = proxy.filter(|proxy| proxy.connected && proxy.sidecar == sidecar.id);
    proxy.and_then(Proxy::observed).is_some_and(|observed| observed.ready)
}

fn step(held: &Held<'_>, joined: &Container, grace: Option<u64>) -> Option<Step> {
    let holder = held.holder.instance()?.started.clone();
    let again = match &joined.run {
        Run::Running(own) if !joined.stopping && !held.is_current(joined) => {
            Again::Restart { holder, own: own.started.clone() }
        }
        // One that ended, or was stopped, has no such error: that was somebody's will.
        Run::Created | Run::Stopped if could_not_join(joined) => Again::Start { holder },
        _ => return None,
    };
    Some(Step { id: joined.id.clone(), name: joined.name.clone(), again, grace })
}

/// The engine's words: `cannot join network of a non running container: <id>`; later engines: `joining network
/// namespace of container: ...`.
fn could_not_join(container: &Container) -> bool {
    container.start_error.contains("join network") || container.start_error.contains("joining network")
}

/// Compose 1.29 makes a new holder and leaves what was joined to the old one as it is.
fn orphans(containers: &Containers, scope: &Scope) -> BTreeSet<Problem> {
    let ours = containers.values().filter(|c| c.label(MANAGED) == Some("sidecar") && c.label(MESH).is_none());
    let orphaned = |sidecar: &&Container| scope.holds(&sidecar.labels) && is_orphan(sidecar, containers);
    let problem = |sidecar: &Container| {
        Problem {
        kind: "healing",
        subject: format!("container {}", sidecar.name),
        what: "the namespace holder that it and its application were joined to is gone, so that neither has a network: \
               run docker-compose up -d --force-recreate"
            .into(),
    }
    };
    ours.filter(orphaned).map(problem).collect()
}

#[cfg(test)]
mod tests {
    use outrigger_model::label::{APP, HOLDER, REPLICA};
    use outrigger_wire::control::Report;
    use tokio::time::Instant;

    use super::*;
    use crate::source::docker::samples::{composed, containers, instance};

    const FIRST: &str = "2026-11-23T10:00:00Z";
    const SECOND: &str = "2026-11-23T10:00:05Z";
    const THIRD: &str = "2026-11-23T10:00:06Z";

    fn scope() -> Scope {
        Scope { mesh: "shop".into(), ..Scope::default() }
    }

    fn holder(started: &str) -> Container {
        let mut holder = composed("shop", "cart-holder", &[(MANAGED, HOLDER), (APP, "cart"), (REPLICA, "1")]);
        holder.run = Run::Running(instance(started, 1));
        holder
    }

    fn joined(service: &str, labels: &[(&str, &str)], started: &str) -> Container {
        let mut container = composed("shop", service, labels);
        container.network_mode = format!("container:{}", holder(FIRST).id);
        container.run = Run::Running(instance(started, 2));
        container
    }

    fn sidecar(started: &str) -> Container {
        joined("cart-sidecar", &[(MANAGED, "sidecar")], started)
    }

    fn steps(all: &[&Container], ready: bool) -> Vec<(String, Again)> {
        let report = Some((Report { ready, ..Report::default() }, Instant::now()));
        let proxy = Proxy { sidecar: sidecar(FIRST).id, connected: true, report, ..Proxy::default() };
        let proxies = BTreeMap::from([(WorkloadId(holder(FIRST).id), proxy)]);
        let found = plan(&containers(all.iter().copied().cloned()), &scope(), &proxies);
        found.steps.into_iter().map(|step| (step.name, step.again)).collect()
    }

    fn restart(name: &str) -> (String, Again) {
        (name.into(), Again::Restart { holder: SECOND.into(), own: FIRST.into() })
    }

    #[test]
    fn after_the_holder_the_sidecar_then_the_application() {
        let app = joined("cart", &[], FIRST);
        assert_eq!(steps(&[&holder(FIRST), &sidecar(FIRST), &app], true), []);
        let moved = holder(SECOND);
        assert_eq!(steps(&[&moved, &sidecar(FIRST), &app], true), [restart("shop-cart-sidecar-1")]);
        assert_eq!(steps(&[&moved, &sidecar(THIRD), &app], false), [], "not ready yet");
        assert_eq!(steps(&[&moved, &sidecar(THIRD), &app], true), [restart("shop-cart-1")]);
        let stopped = Container { run: Run::Stopped, ..moved.clone() };
        assert_eq!(steps(&[&stopped, &sidecar(FIRST), &app], true), [], "nothing to join");
        let leaving = Container { stopping: true, ..moved };
        assert_eq!(steps(&[&leaving, &sidecar(FIRST), &app], true), []);
    }

    #[test]
    fn who_was_stopped_stays_so_and_who_could_not_join_is_started() {
        let stopped = Container { run: Run::Stopped, ..joined("cart", &[], FIRST) };
        let (moved, sidecar) = (holder(SECOND), sidecar(THIRD));
        assert_eq!(steps(&[&moved, &sidecar, &stopped], true), []);
        let stopping = Container { stopping: true, ..joined("cart", &[], FIRST) };
        assert_eq!(steps(&[&moved, &sidecar, &stopping], true), [], "somebody is at it");
        let start_error = "cannot join network of a non running container: e006bd0038b1".into();
        let failed = Container { start_error, ..stopped };
        let start = ("shop-cart-1".into(), Again::Start { holder: SECOND.into() });
        assert_eq!(steps(&[&moved, &sidecar, &failed], true), [start]);
    }

    #[test]
    fn one_without_a_holder_is_told_with_the_way_out() {
        let found = plan(&containers([sidecar(FIRST)]), &scope(), &BTreeMap::new());
        assert_eq!(found.steps, []);
        let problem = found.problems.first().unwrap();
        assert!(problem.what.contains("--force-recreate"), "{problem:?}");
    }
}
