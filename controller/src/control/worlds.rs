//! What sidecars should hold, of the newest snapshot. Services and clusters are the same for all that look from the
//! same place, and are made once for each place: with thousands of sidecars nearly all of the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_compile::{CompileError, Outlook, compile, outlook, proxy};
use outrigger_model::{Snapshot, Workload, WorkloadId};
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

/// What one sidecar should hold, and what that was made of.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) wanted: Wanted,
    of: Arc<Workload>,
}

impl Worlds {
    /// What the sidecar of a workload should hold; none: what it should hold before, `last`.
    pub(super) fn wish(
        &self,
        snapshot: &Arc<Snapshot>,
        id: &WorkloadId,
        last: Option<&Wish>,
    ) -> Result<Option<Wish>, CompileError> {
        let known = snapshot.workloads.get(id);
        let (Some(of), Some(place)) = (known, known.and_then(|workload| outlook(workload))) else {
            let wanted = Wanted::of(&compile(snapshot, id)?);
            return Ok(known.map(|of| Wish { wanted, of: of.clone() }));
        };
        let common = self.common(snapshot, id, place)?;
        // Where everything is redirected, its own part comes of itself alone.
        let wanted = match last.filter(|last| Arc::ptr_eq(&last.of, of)) {
            Some(last) if last.wanted.shares(&common) => return Ok(None),
            Some(last) => last.wanted.with(common),
            None => Wanted::new(&proxy(snapshot, id)?, common),
        };
        Ok(Some(Wish { wanted, of: of.clone() }))
    }

    fn common(
        &self,
        snapshot: &Arc<Snapshot>,
        id: &WorkloadId,
        place: Outlook,
    ) -> Result<Arc<Common>, CompileError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.turn(snapshot);
        if let Some(common) = made.now.get(&place) {
            return Ok(common.clone());
        }
        let config = compile(snapshot, id)?;
        let common = Common::of(&config.services, &config.clusters);
        let common = match made.before.get(&place) {
            Some(before) if **before == common => before.clone(),
            Some(before) => Arc::new(common.since(before)),
            None => Arc::new(common),
        };
        made.now.insert(place, common.clone());
        Ok(common)
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

#[cfg(test)]
mod tests;
