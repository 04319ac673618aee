use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::{Workload, WorkloadId};

/// Workloads by id. One that did not change stays the same allocation from one to the next, which is quick to compare.
pub type View = BTreeMap<WorkloadId, Arc<Workload>>;

/// A service inside its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Compose project or ECS cluster.
    pub namespace: String,
    /// Its name there.
    pub service: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.namespace)
    }
}

/// The number from which a service's virtual addresses come; persisted, never reused while known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualIndex(u32);

impl VirtualIndex {
    /// How many indices 127.64.0.0/10 and 240.64.0.0/10 have room for; 0 is never given.
    pub const LIMIT: u32 = 1 << 22;

    /// An index in `1..LIMIT`; `None` outside.
    pub fn new(index: u32) -> Option<Self> {
        (1..Self::LIMIT).contains(&index).then_some(Self(index))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Its address in 127.64.0.0/10, for `transparent` and `names`.
    pub fn loopback(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + self.0)
    }

    /// Its address in 240.64.0.0/10, for `platform`: the platform's redirect leaves local addresses alone.
    pub fn beyond(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(240, 64, 0, 0)) + self.0)
    }
}

/// All sources together, ready to compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Every workload.
    pub workloads: View,
    /// Index of every service that has or had a workload.
    pub indices: BTreeMap<ServiceKey, VirtualIndex>,
}

/// Two sources claim the same thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "workload {workload} is claimed by {first} and {second}: both are ignored; let one controller's scope leave it out"
)]
pub struct Conflict {
    /// The workload's id.
    pub workload: String,
    /// One owner.
    pub first: String,
    /// The other.
    pub second: String,
}

/// Merges views, each with its owner's name. What two owners claim is left out and reported.
pub fn merge(views: &[(&str, &View)]) -> (View, Vec<Conflict>) {
    let mut merged: BTreeMap<WorkloadId, (&str, Option<Arc<Workload>>)> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for (owner, view) in views {
        for (id, workload) in *view {
            match merged.get_mut(id) {
                None => {
                    merged.insert(id.clone(), (owner, Some(workload.clone())));
                }
                Some((first, claimed)) => {
                    *claimed = None;
                    let (first, second) = ((*first).to_owned(), (*owner).to_owned());
                    conflicts.push(Conflict { workload: id.0.clone(), first, second });
                }
            }
        }
    }
    let view = merged.into_iter().filter_map(|(id, (_, w))| Some((id, w?))).collect();
    (view, conflicts)
}
