//! Sources: each looks at one outside system and publishes its whole view, never edits.

#[cfg(feature = "ecs")]
pub mod cloud_map;
pub mod docker;
#[cfg(feature = "ecs")]
pub mod ecs;
pub mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use outrigger_model::{Mesh, ServiceKey, View, WorkloadId};
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
        /// Replicas without a sidecar.
        outside: cloud_map::Outside,
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
    Ecs(ecs::record::Seen, cloud_map::record::Seen),
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
            Self::Ecs { seen, outside, .. } => tokio::select! {
                changed = seen.changed() => changed.is_ok(),
                changed = outside.seen.changed() => changed.is_ok(),
            },
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
                let mut mapped = map(&seen.containers, scope, mesh);
                mapped.problems.extend(unasked(mesh));
                let sidecars = beside(&seen.containers, scope);
                let sight = Sight { view: mapped.view, sidecars, problems: mapped.problems };
                (Of::Docker(seen.containers), sight)
            }
            #[cfg(feature = "ecs")]
            Self::Ecs { seen, outside, .. } => {
                let (seen, named) = (seen.borrow().clone(), outside.seen.borrow().clone());
                seen.listed?;
                let wanted = outside.wanted(&named, mesh)?;
                let known = known.and_then(|last| match &last.of {
                    Of::Ecs(known, named) => Some((known, named, &last.sight)),
                    Of::Docker(_) => None,
                });
                let same = |known: &ecs::record::Seen, before: &cloud_map::record::Seen| {
                    known.shows_what(&seen) && before.shows_what(&named)
                };
                if let Some((_, _, sight)) = known.filter(|(known, before, _)| same(known, before)) {
                    return Some(sight.clone());
                }
                let mut sight =
                    ecs::map::sight(&seen, mesh, known.map(|(known, _, sight)| (known, &**sight)));
                let before = known.map(|(_, _, sight)| &sight.view);
                let said = (&named, &seen, &outside.namespaces);
                cloud_map::map::add(said, (wanted, mesh), before, &mut sight);
                (Of::Ecs(seen, named), sight)
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

    /// What is known of the replicas of a service that have no sidecar; none where nobody said that there are any.
    pub fn outside(&self, mesh: &Mesh, key: &ServiceKey) -> Option<status::Outside> {
        match self {
            Self::Docker { .. } => {
                let _looks_nothing_up = (mesh, key);
                None
            }
            #[cfg(feature = "ecs")]
            Self::Ecs { outside, .. } => outside.state(mesh, key),
        }
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

/// Where the platform is not ECS nobody asks Cloud Map.
fn unasked(mesh: &Mesh) -> impl Iterator<Item = Problem> {
    let said = mesh.services().iter().filter(|(_, said)| said.cloud_map.is_some());
    said.map(|(name, _)| Problem {
        kind: "mesh-file",
        subject: "mesh.yaml".to_owned(),
        what: format!(
            "services.{name}.cloud-map: only a controller of ECS looks services up in Cloud Map (OUTRIGGER_PLATFORM=ecs); \
             remove it, or run {} in this mesh",
            name.service
        ),
    })
}

/// Whether a name that nobody wrote as a label may be the name of a service.
fn is_service_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(letters)
}
