//! How often the AWS API is called, for status and metrics. Clones share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    operations: BTreeMap<&'static str, Operation>,
    events: BTreeMap<&'static str, u64>,
    /// When the calls of the last minute were; bounded by the pace of the calls.
    recent: VecDeque<Instant>,
}

/// One operation, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Calls, each attempt by itself.
    pub calls: u64,
    /// Of these, refused because too many were made.
    pub throttled: u64,
    /// Of these, failed for another reason.
    pub failed: u64,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Calls {
    /// One attempt begins.
    pub fn begun(&self, operation: &'static str) {
        let now = Instant::now();
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.operations.entry(operation).or_default().calls += 1;
        counted.recent.push_back(now);
        counted.forget(now);
    }

    /// It was refused because too many were made.
    pub fn throttled(&self, operation: &'static str) {
        self.count(operation, |operation| operation.throttled += 1);
    }

    /// It failed.
    pub fn failed(&self, operation: &'static str) {
        self.count(operation, |operation| operation.failed += 1);
    }

    /// A message of the queue: `taken`, `old`, `service`, `other` or `unreadable`.
    pub fn event(&self, kind: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).events.entry(kind).or_default() += 1;
    }

    /// Messages of the queue by kind, since the start.
    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).events.clone()
    }

    fn count(&self, operation: &'static str, add: fn(&mut Operation)) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(counted.operations.entry(operation).or_default());
    }

    /// By operation (`ecs:DescribeTasks`), since the start.
    pub fn operations(&self) -> BTreeMap<&'static str, Operation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).operations.clone()
    }

    /// Calls of the last minute.
    pub fn last_minute(&self) -> usize {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.forget(Instant::now());
        counted.recent.len()
    }
}

impl Counted {
    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > MINUTE) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_by_operation_and_by_the_minute() {
        let calls = Calls::default();
        calls.begun("ecs:ListTasks");
        calls.throttled("ecs:ListTasks");
        tokio::time::advance(Duration::from_secs(40)).await;
        calls.begun("ecs:ListTasks");
        calls.begun("ecs:DescribeTasks");
        assert_eq!(calls.last_minute(), 3);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(calls.last_minute(), 2);
        assert_eq!(calls.operations()["ecs:ListTasks"], Operation { calls: 2, throttled: 1, failed: 0 });
    }
}
