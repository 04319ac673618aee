//! What a cluster with a policy counts, over all workers; carried from generation to generation by the cluster's key.
//! Atomics alone on the way of a request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outrigger_wire::policy::Retries;

use super::budget::{self, Budget};
use super::ejection::Ejection;

/// Counters and gauges of one cluster.
#[derive(Debug)]
pub struct State {
    since: Instant,
    budget: AtomicU64,
    /// Only who is about to eject an endpoint takes it, and who tells of it.
    pub(super) ejected: Mutex<Vec<Ejection>>,
    /// Milliseconds since `since` of the last comparison of success rates.
    judged_ms: AtomicU64,
    under_way: [AtomicU32; Bound::ALL.len()],
    refused: [AtomicU64; Bound::ALL.len()],
    retries: [AtomicU64; RetryOutcome::ALL.len()],
    pub(super) ejections: AtomicU64,
    /// Whose turn it is.
    pub(super) turn: AtomicUsize,
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Requests under way.
    Requests,
    /// Byte streams.
    Streams,
    /// Waiting for an endpoint to appear.
    Held,
    /// Requests that are being sent again.
    Retries,
}

impl Bound {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Streams, Self::Held, Self::Retries];

    /// As in the mesh file and in labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Streams => "streams",
            Self::Held => "held",
            Self::Retries => "retries",
        }
    }
}

/// What became of a request that was worth sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It was sent again.
    Sent,
    /// It was sent again, and answered well then.
    Recovered,
    /// It had been sent as often as may be.
    OutOfAttempts,
    /// The budget was used up.
    OutOfBudget,
    /// As many as may be were being sent again.
    OverLimit,
    /// Its time was up.
    OutOfTime,
}

impl RetryOutcome {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Sent,
        Self::Recovered,
        Self::OutOfAttempts,
        Self::OutOfBudget,
        Self::OverLimit,
        Self::OutOfTime,
    ];

    /// As labels of metrics say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Recovered => "recovered",
            Self::OutOfAttempts => "out-of-attempts",
            Self::OutOfBudget => "out-of-budget",
            Self::OverLimit => "over-limit",
            Self::OutOfTime => "out-of-time",
        }
    }
}

impl State {
    pub(crate) fn new(policy: &outrigger_wire::Policy) -> Self {
        let budget = policy.retries.as_ref().map_or(0, |retries| Budget::new(retries).pack());
        Self {
            since: Instant::now(),
            budget: AtomicU64::new(budget),
            ejected: Mutex::default(),
            judged_ms: AtomicU64::new(0),
            under_way: Default::default(),
            refused: Default::default(),
            retries: Default::default(),
            ejections: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// A request is sent for the first time.
    pub(crate) fn earn(&self, policy: &Retries) {
        self.spend(budget::Event::Request, policy);
    }

    /// True if a request may be sent again; that is paid for then.
    pub(crate) fn pay(&self, policy: &Retries) -> bool {
        self.spend(budget::Event::Retry, policy)
    }

    fn spend(&self, event: budget::Event, policy: &Retries) -> bool {
        let now = Budget::step_of(self.since.elapsed());
        let mut granted = false;
        let step = |packed| {
            let (after, may) = Budget::unpack(packed).step(event, now, policy);
            granted = may;
            Some(after.pack())
        };
        let _always = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        granted
    }

    /// True, and a new interval begins, if one has passed. One caller at a time.
    pub(super) fn is_judged(&self, interval: Duration) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let passed = now.saturating_sub(self.judged_ms.load(Ordering::Relaxed));
        let due = u128::from(passed) >= interval.as_millis();
        if due {
            self.judged_ms.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Counts one more under way; false, and nothing counted, where there are `most` already. 0: no bound.
    pub(crate) fn enter(&self, bound: Bound, most: u32) -> bool {
        let Some(under_way) = self.under_way.get(bound as usize) else { return true };
        let before = under_way.fetch_add(1, Ordering::Relaxed);
        if most == 0 || before < most {
            return true;
        }
        under_way.fetch_sub(1, Ordering::Relaxed);
        if let Some(refused) = self.refused.get(bound as usize) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        false
    }

    /// Undoes [`State::enter`].
    pub(crate) fn leave(&self, bound: Bound) {
        if let Some(under_way) = self.under_way.get(bound as usize) {
            under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn retried(&self, outcome: RetryOutcome) {
        if let Some(times) = self.retries.get(outcome as usize) {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often something was refused for a bound.
    pub fn refusals(&self) -> impl Iterator<Item = (Bound, u64)> {
        Bound::ALL.into_iter().zip(self.refused.iter().map(|times| times.load(Ordering::Relaxed)))
    }

    /// What became of requests that were worth sending again.
    pub fn retries(&self) -> impl Iterator<Item = (RetryOutcome, u64)> {
        RetryOutcome::ALL.into_iter().zip(self.retries.iter().map(|times| times.load(Ordering::Relaxed)))
    }

    /// How often an endpoint was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }
}
