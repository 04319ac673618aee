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
    /// Tasks of ECS clusters.
    #[cfg(feature = "ecs")]
    Ecs {
        /// What its watcher publishes.
        seen: watch::Receiver<ecs::record::Seen>,
        /// How often its API is called.
        calls: ecs::calls::Calls,
        /// Name of the mesh.
        mesh: String,
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

/// What was looked at last, and what it came to: what did not change is not made anew.
pub struct Last {
    mesh: Arc<Mesh>,
    of: Of,
    sight: Arc<Sight>,
}

enum Of {
    Docker(Arc<Containers>),
    #[cfg(feature = "ecs")]
    Ecs(ecs::record::Seen),
}

impl Source {
    /// As merges and problems name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Docker { .. } => "docker",
            #[cfg(feature = "ecs")]
            Self::Ecs { .. } => "ecs",
        }
    }

    /// Waits for a change of what is seen; false: the watcher has ended.
    pub async fn changed(&mut self) -> bool {
        match self {
            Self::Docker { seen, .. } => seen.changed().await.is_ok(),
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, .. } => seen.changed().await.is_ok(),
        }
    }

    /// What is seen now; none before the first whole view. `last` is what this said last, and becomes what it says.
    pub fn look(&self, mesh: &Arc<Mesh>, last: &mut Option<Last>) -> Option<Arc<Sight>> {
        let known = last.as_ref().filter(|last| Arc::ptr_eq(&last.mesh, mesh));
        let (of, sight) = match self {
            Self::Docker { seen, scope } => {
                let (seen, scope) = (seen.borrow().clone(), scope.get()?);
                seen.listed?;
                let is = |of: &Of| matches!(of, Of::Docker(known) if Arc::ptr_eq(known, &seen.containers));
                if let Some(last) = known.filter(|last| is(&last.of)) {
                    return Some(last.sight.clone());
                }
                let mapped = map(&seen.containers, scope, mesh);
                let sidecars = beside(&seen.containers, scope);
                let sight = Sight { view: mapped.view, sidecars, problems: mapped.problems };
                (Of::Docker(seen.containers), sight)
            }
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, .. } => {
                let seen = seen.borrow().clone();
                seen.listed?;
                let known = known.and_then(|last| match &last.of {
                    Of::Ecs(known) => Some((known, &last.sight)),
                    Of::Docker(_) => None,
                });
                if let Some((_, sight)) = known.filter(|(known, _)| known.shows_what(&seen)) {
                    return Some(sight.clone());
                }
                let sight = ecs::map::sight(&seen, mesh, known.map(|(known, sight)| (known, &**sight)));
                (Of::Ecs(seen), sight)
            }
        };
        let sight = Arc::new(sight);
        *last = Some(Last { mesh: mesh.clone(), of, sight: sight.clone() });
        Some(sight)
    }

    /// The sidecars alone.
    pub fn sidecars(&self) -> BTreeMap<WorkloadId, Beside> {
        match self {
            Self::Docker { seen, scope } => {
                scope.get().map(|scope| beside(&seen.borrow().containers, scope)).unwrap_or_default()
            }
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, .. } => ecs::map::sidecars(&seen.borrow()),
        }
    }

    /// What it shows is whole and current.
    pub fn is_current(&self) -> bool {
        match self {
            Self::Docker { seen, .. } => seen.borrow().current,
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, .. } => seen.borrow().current,
        }
    }

    /// How well it sees.
    pub fn state(&self) -> status::Source {
        let (current, listed, about, last_error) = match self {
            Self::Docker { seen, .. } => {
                let seen = seen.borrow();
                (seen.current, seen.listed, seen.about.clone(), seen.error.clone())
            }
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, calls, .. } => {
                let seen = seen.borrow();
                let minute = format!("{} API calls in the last minute", calls.last_minute());
                let about = [seen.about.as_str(), &minute].into_iter().filter(|part| !part.is_empty());
                (seen.current, seen.listed, about.collect::<Vec<_>>().join("; "), seen.error.clone())
            }
        };
        let age_s = listed.map(|listed| listed.elapsed().as_secs());
        status::Source { name: self.name().into(), current, age_s, about, last_error }
    }

    /// Name of the mesh; empty until it is known.
    pub fn mesh(&self) -> String {
        match self {
            Self::Docker { scope, .. } => scope.get().map(|scope| scope.mesh.clone()).unwrap_or_default(),
            #[cfg(feature = "ecs")]
            Self::Ecs { mesh, .. } => mesh.clone(),
        }
    }

    /// What is looked at, for people: `project shop`, `engine`; empty until it is known.
    pub fn scope(&self) -> String {
        match self {
            Self::Docker { scope, .. } => scope.get().map(Scope::describe).unwrap_or_default(),
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, .. } => seen.borrow().about.clone(),
        }
    }

    /// Containers that may call from outside the mesh; none where the platform shows none.
    pub fn containers(&self) -> Arc<Containers> {
        match self {
            Self::Docker { seen, .. } => seen.borrow().containers.clone(),
            #[cfg(feature = "ecs")]
            Self::Ecs { .. } => Arc::default(),
        }
    }
}

/// Whether a name that nobody wrote as a label may be the name of a service.
fn is_service_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(letters)
}
