//! Sources: each looks at one outside system and publishes its whole view, never edits.

pub mod docker;
#[cfg(feature = "ecs")]
pub mod ecs;
pub mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use outrigger_model::{Mesh, View, WorkloadId};
use tokio::sync::watch;

use crate::scope::Scope;
use crate::status::{self, Problem};
use docker::map::map;
use docker::sidecars::beside;
use docker::tracker::Containers;
use docker::watch::Seen;

/// The platform whose workloads are meshed. Clones share.
#[derive(Clone)]
pub enum Source {
    /// Containers of one Docker engine.
    Docker {
        /// What its watcher publishes.
        seen: watch::Receiver<Seen>,
        /// What is looked at; empty until the own container was found.
        scope: Arc<OnceLock<Scope>>,
    },
}

/// What a platform shows, read together with the mesh file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The workloads.
    pub view: View,
    /// The sidecar that speaks for each.
    pub sidecars: BTreeMap<WorkloadId, Beside>,
    /// What was left alone, and why.
    pub problems: BTreeSet<Problem>,
}

/// The sidecar beside a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its id, as the control socket attests it.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Another one is taking its place.
    pub upgrading: bool,
}

impl Source {
    /// As merges and problems name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Docker { .. } => "docker",
        }
    }

    /// Waits for a change of what is seen; false: the watcher has ended.
    pub async fn changed(&mut self) -> bool {
        match self {
            Self::Docker { seen, .. } => seen.changed().await.is_ok(),
        }
    }

    /// What is seen now; none before the first whole view.
    pub fn sight(&self, mesh: &Mesh) -> Option<Sight> {
        match self {
            Self::Docker { seen, scope } => {
                let (seen, scope) = (seen.borrow().clone(), scope.get()?);
                seen.listed?;
                let mapped = map(&seen.containers, scope, mesh);
                let sidecars = beside(&seen.containers, scope);
                Some(Sight { view: mapped.view, sidecars, problems: mapped.problems })
            }
        }
    }

    /// The sidecars alone.
    pub fn sidecars(&self) -> BTreeMap<WorkloadId, Beside> {
        match self {
            Self::Docker { seen, scope } => {
                scope.get().map(|scope| beside(&seen.borrow().containers, scope)).unwrap_or_default()
            }
        }
    }

    /// How well it sees.
    pub fn state(&self) -> status::Source {
        match self {
            Self::Docker { seen, .. } => {
                let seen = seen.borrow();
                status::Source {
                    name: self.name().into(),
                    current: seen.current,
                    age_s: seen.listed.map(|listed| listed.elapsed().as_secs()),
                    about: seen.about.clone(),
                    last_error: seen.error.clone(),
                }
            }
        }
    }

    /// Name of the mesh; empty until it is known.
    pub fn mesh(&self) -> String {
        match self {
            Self::Docker { scope, .. } => scope.get().map(|scope| scope.mesh.clone()).unwrap_or_default(),
        }
    }

    /// What is looked at, for people: `project shop`, `engine`; empty until it is known.
    pub fn scope(&self) -> String {
        match self {
            Self::Docker { scope, .. } => scope.get().map(Scope::describe).unwrap_or_default(),
        }
    }

    /// Containers that may call from outside the mesh; none where the platform shows none.
    pub fn containers(&self) -> Arc<Containers> {
        match self {
            Self::Docker { seen, .. } => seen.borrow().containers.clone(),
        }
    }
}
