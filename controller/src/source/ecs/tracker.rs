//! What is known of the tasks, from events and from whole answers of the API, in whatever order they come. No I/O.
//!
//! Both tell of a task with its version, which only grows: an older one changes nothing, and a stop, once told, holds
//! whatever is told later. So the order does not matter, a repeated event changes nothing, and an answer of the API that
//! is behind the events takes nothing back to life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::WorkloadId;
use tokio::time::Instant;

use super::record::{Stage, Task};

/// Tasks by ARN.
pub type Tasks = BTreeMap<WorkloadId, Arc<Task>>;

/// How long a task that is over is remembered, so that a late event or answer does not bring it back. ECS itself tells of
/// it for an hour.
const REMEMBERED: Duration = Duration::from_secs(2 * 3600);
/// Tasks that are over and remembered; the oldest is forgotten first.
const REMEMBERED_MOST: usize = 50_000;
/// Whole answers in a row, without a word of a task, after which it is not there.
const ABSENT: u8 = 2;

/// The tasks of all clusters.
#[derive(Debug, Default)]
pub struct Tracker {
    tasks: Tasks,
    /// Whole answers in a row that did not know the task.
    absent: BTreeMap<WorkloadId, u8>,
    /// Over, and since when.
    over: BTreeMap<WorkloadId, Instant>,
    turns: BTreeSet<(Instant, WorkloadId)>,
}

impl Tracker {
    /// Tasks that are not over.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// ARNs of those of one cluster.
    pub fn known(&self, cluster: &str) -> BTreeSet<String> {
        self.tasks.values().filter(|task| task.cluster == cluster).map(|task| task.arn.clone()).collect()
    }

    /// Takes what an event tells; true when something changed.
    pub fn event(&mut self, task: Task, now: Instant) -> bool {
        self.take(task, false, now)
    }

    /// Takes a whole answer of the API about one cluster: what it tells, and the tasks that it does not know. True when
    /// something changed.
    pub fn listed(&mut self, told: Vec<Task>, absent: &BTreeSet<String>, now: Instant) -> bool {
        let mut changed = false;
        for task in told {
            changed |= self.take(task, true, now);
        }
        for arn in absent {
            let id = WorkloadId(arn.clone());
            let times = self.absent.entry(id.clone()).or_default();
            *times = times.saturating_add(1);
            if *times >= ABSENT {
                // Not remembered as over: should an event tell of it after all, it counts.
                self.absent.remove(&id);
                changed |= self.tasks.remove(&id).is_some();
            }
        }
        self.forget(now);
        changed
    }

    /// Two records of one version may differ in what ECS does not count; there the API knows better.
    fn take(&mut self, mut task: Task, from_api: bool, now: Instant) -> bool {
        let id = task.workload();
        self.absent.remove(&id);
        if self.over.contains_key(&id) {
            return false;
        }
        if let Some(known) = self.tasks.get(&id) {
            if task.version < known.version || (task.version == known.version && !from_api) {
                return task.is_stopping() && !known.is_stopping() && self.stop(&id, &task, now);
            }
            task.last_status = task.last_status.max(known.last_status);
            task.desired_status = task.desired_status.max(known.desired_status);
            if **known == task {
                return false;
            }
        }
        if task.last_status == Stage::Stopped {
            return self.end(id, now);
        }
        self.tasks.insert(id, Arc::new(task));
        true
    }

    /// An older word of a stop, where the newer one had none: nobody takes a stop back.
    fn stop(&mut self, id: &WorkloadId, told: &Task, now: Instant) -> bool {
        let Some(known) = self.tasks.get_mut(id) else { return false };
        let task = Arc::make_mut(known);
        task.last_status = task.last_status.max(told.last_status);
        task.desired_status = task.desired_status.max(told.desired_status);
        if task.last_status == Stage::Stopped {
            return self.end(id.clone(), now);
        }
        true
    }

    fn end(&mut self, id: WorkloadId, now: Instant) -> bool {
        self.absent.remove(&id);
        let known = self.tasks.remove(&id).is_some();
        if self.over.insert(id.clone(), now).is_none() {
            self.turns.insert((now, id));
        }
        known
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, id)) = self.turns.first() {
            if now.saturating_duration_since(*at) < REMEMBERED && self.turns.len() <= REMEMBERED_MOST {
                break;
            }
            self.over.remove(id);
            self.turns.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
