//! What is to be done, from what there is. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_model::label::{MANAGED, MESH};
use outrigger_model::{Capture, Lifecycle, View, Workload, WorkloadId};

use crate::scope::{INSTANCE, REPLACES, WORKLOAD};
use crate::source::docker::holder::is_holder;
use crate::source::docker::record::{Container, Instance, Run};
use crate::source::docker::tracker::Containers;

/// One step towards every workload having exactly one sidecar, joined to its current run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give this workload a sidecar.
    Inject {
        /// The application's container.
        app: WorkloadId,
        /// The run to join.
        instance: Instance,
        /// How its traffic is captured.
        capture: Capture,
    },
    /// Take this container of ours away.
    Remove {
        /// Its id.
        id: String,
        /// Its name, for the log.
        name: String,
        /// Why, for the log.
        why: &'static str,
    },
    /// This container of ours belongs to one that is not in scope: away with it unless that one still runs.
    RemoveOrphan {
        /// Its id.
        id: String,
        /// The application's id.
        app: String,
    },
    /// The application has a new name.
    Rename {
        /// The sidecar's id.
        id: String,
        /// The sidecar's new name.
        name: String,
    },
}

/// What is already on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Workloads that are being given a sidecar, or must wait after a failure.
    pub injecting: BTreeSet<WorkloadId>,
    /// Containers that are being removed, or were found to be left alone.
    pub touched: BTreeSet<String>,
    /// Names that were given already, by container.
    pub renamed: BTreeMap<String, String>,
    /// Containers of ours that were started, although the engine's event may not have said so yet.
    pub started: BTreeSet<String>,
}

/// Name of a workload's sidecar.
pub fn sidecar_name(app: &str) -> String {
    format!("{app}-outrigger")
}

/// Name of a sidecar that is to take another's place, until it has.
pub fn next_name(app: &str) -> String {
    format!("{}-next", sidecar_name(app))
}

/// Everything that can be done now.
pub fn plan(containers: &Containers, view: &View, mesh: &str, busy: &Busy) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut joined: BTreeMap<&str, &Container> = BTreeMap::new();
    let ours = containers.values().filter(|c| c.label(MESH) == Some(mesh) && c.label(MANAGED).is_some());
    for container in ours {
        let Some(app) = container.label(WORKLOAD) else { continue };
        let injecting = busy.injecting.contains(&WorkloadId(app.to_owned()));
        let touched = busy.touched.contains(&container.id);
        match fate(container, containers.get(app), injecting || busy.started.contains(&container.id)) {
            Fate::Remove(_) | Fate::Orphan if touched => {}
            Fate::Remove(why) => actions.push(removal(container, why)),
            Fate::Orphan => {
                actions.push(Action::RemoveOrphan { id: container.id.clone(), app: app.to_owned() });
            }
            Fate::Joined if container.label(MANAGED) == Some("sidecar") => {
                let first = *joined.entry(app).or_insert(container);
                let pair = replaces(first, container) || replaces(container, first);
                if first.id != container.id && !pair && !touched {
                    actions.push(removal(container, "a second sidecar of the same workload"));
                }
            }
            Fate::Joined | Fate::Wait => {}
        }
    }
    for (app, sidecar) in &joined {
        let app = containers.get(*app).map(|app| app.name.as_str()).unwrap_or_default();
        let (name, given) = (sidecar_name(app), busy.renamed.get(&sidecar.id));
        // The place is taken when the one before is gone, and with it the name.
        let taken = sidecar.name == next_name(app) && containers.values().all(|other| other.name != name);
        let stale = (taken || !sidecar.name.starts_with(&name)) && given != Some(&name);
        let stale = Some(name).filter(|_| stale);
        actions.extend(stale.map(|name| Action::Rename { id: sidecar.id.clone(), name }));
    }
    // Beside a holder compose starts the sidecar.
    let live = |w: &&Arc<Workload>| !containers.get(&w.id.0).is_some_and(is_holder);
    let wanting = view
        .values()
        .filter(|w| w.lifecycle == Lifecycle::Running && !busy.injecting.contains(&w.id))
        .filter(live);
    for workload in wanting.filter(|w| !joined.contains_key(w.id.0.as_str())) {
        let instance = containers.get(&workload.id.0).and_then(Container::instance).cloned();
        let app = workload.id.clone();
        let capture = workload.declared.capture;
        actions.extend(instance.map(|instance| Action::Inject { app, instance, capture }));
    }
    actions
}

fn replaces(one: &Container, other: &Container) -> bool {
    one.label(REPLACES) == Some(other.id.as_str())
}

enum Fate {
    Joined,
    Wait,
    Remove(&'static str),
    Orphan,
}

/// A sidecar stays as long as the run that it joined, also when the workload is no longer one (its rules would
/// refuse every connection without it).
fn fate(container: &Container, app: Option<&Container>, starting: bool) -> Fate {
    let Some(app) = app else { return Fate::Orphan };
    let Some(instance) = app.instance() else { return Fate::Remove("its application does not run") };
    if container.label(INSTANCE) != Some(instance.started.as_str()) {
        return Fate::Remove("its application has started anew");
    }
    match container.run {
        Run::Running(_) | Run::Paused(_) => Fate::Joined,
        // An upgrade starts it; if the controller ended in between, the next upgrade clears it away.
        Run::Created if container.label(REPLACES).is_some() => Fate::Wait,
        Run::Created if !starting => Fate::Remove("it was never started"),
        // The engine removes what has ended by itself.
        Run::Created | Run::Stopped => Fate::Wait,
    }
}

fn removal(container: &Container, why: &'static str) -> Action {
    Action::Remove { id: container.id.clone(), name: container.name.clone(), why }
}

#[cfg(test)]
mod tests;
