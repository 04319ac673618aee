//! What sidecars should hold, of the newest snapshot. Services and clusters are the same for all that look from the
//! same place, and are made once for each place: with thousands of sidecars nearly all of the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_compile::{CompileError, Outlook, compile, outlook, proxy};
use outrigger_model::{Snapshot, WorkloadId};
use outrigger_wire::{Common, Wanted};

/// Clones of what is made are given out; nothing is made twice for one snapshot.
#[derive(Debug, Default)]
pub(super) struct Worlds(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    of: Arc<Snapshot>,
    now: BTreeMap<Outlook, Arc<Common>>,
    /// Of the snapshot before: what is equal stays the same allocation, which is quick to compare.
    before: BTreeMap<Outlook, Arc<Common>>,
}

impl Worlds {
    /// What the sidecar of a workload should hold.
    pub(super) fn wanted(&self, snapshot: &Arc<Snapshot>, id: &WorkloadId) -> Result<Wanted, CompileError> {
        let Some(place) = snapshot.workloads.get(id).and_then(outlook) else {
            return compile(snapshot, id).map(|config| Wanted::of(&config));
        };
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.turn(snapshot);
        if let Some(common) = made.now.get(&place) {
            return Ok(Wanted::new(&proxy(snapshot, id)?, common.clone()));
        }
        let config = compile(snapshot, id)?;
        let common = Common::of(&config.services, &config.clusters);
        let same = made.before.get(&place).filter(|before| ***before == common).cloned();
        let common = same.unwrap_or_else(|| Arc::new(common));
        made.now.insert(place, common.clone());
        Ok(Wanted::new(&config.proxy, common))
    }
}

impl Made {
    fn turn(&mut self, snapshot: &Arc<Snapshot>) {
        if !Arc::ptr_eq(&self.of, snapshot) {
            self.of = snapshot.clone();
            self.before = std::mem::take(&mut self.now);
        }
    }
}
