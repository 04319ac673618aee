//! AWS Cloud Map: replicas without a sidecar, of the services whose `cloud-map` in the mesh file says where to look.

pub mod address;
pub mod client;
pub mod kept;
pub mod map;
pub mod record;
pub mod schedule;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::mesh::CloudMap;
use outrigger_model::{Mesh, ServiceKey};
use tokio::sync::watch as channel;

use crate::status;
use record::Seen;

/// What is known of services outside. Clones share.
#[derive(Clone)]
pub struct Outside {
    /// What its watcher publishes.
    pub seen: channel::Receiver<Seen>,
    /// Namespaces of the mesh: the names of its ECS clusters.
    pub namespaces: BTreeSet<String>,
}

impl Outside {
    /// What the mesh file looks up; none: the watcher has not heard of it yet, which takes it no time. A lookup that has just been
    /// written differently would otherwise take all replicas out of traffic.
    pub fn wanted(&self, seen: &Seen, mesh: &Mesh) -> Option<BTreeMap<ServiceKey, CloudMap>> {
        let wanted = mesh.cloud_map(&self.namespaces);
        let mut lookups = wanted.iter().map(|(key, said)| record::Lookup::of(key, said));
        (seen.begun && lookups.all(|lookup| seen.answers.contains_key(&lookup))).then_some(wanted)
    }

    /// How well it is known where the replicas of a service are.
    pub fn state(&self, mesh: &Mesh, key: &ServiceKey) -> Option<status::Outside> {
        let lookup =
            mesh.cloud_map(&self.namespaces).remove(key).map(|said| record::Lookup::of(key, &said))?;
        let seen = self.seen.borrow();
        let answer = seen.answers.get(&lookup);
        Some(status::Outside {
            registry: lookup.to_string(),
            instances: 0,
            age_s: answer.and_then(|answer| answer.asked).map(|asked| asked.elapsed().as_secs()),
            last_error: answer.and_then(|answer| answer.error.clone()),
        })
    }
}
