//! What a cluster with a policy counts, over all workers; carried from generation to generation by the cluster's key.
//! Atomics alone on the way of a request.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use outrigger_wire::policy::{Outlier, Retries};

use super::budget::{self, Budget};
use super::outlier::{self, Standing};
use super::{Cluster, Endpoint};

/// Counters and gauges of one cluster.
#[derive(Debug)]
pub struct State {
    since: Instant,
    budget: AtomicU64,
    /// Only who is about to eject an endpoint takes it, so that two together do not eject more than may be out.
    ejecting: Mutex<()>,
    under_way: [AtomicU32; Bound::ALL.len()],
    refused: [AtomicU64; Bound::ALL.len()],
    retries: [AtomicU64; RetryOutcome::ALL.len()],
    ejections: AtomicU64,
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
            ejecting: Mutex::new(()),
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

impl Cluster {
    /// Takes note of how an attempt at an endpoint went.
    pub(crate) fn observe(&self, endpoint: &Endpoint, failed: bool) {
        let Some(policy) = &self.policy.outlier else { return };
        let standing = endpoint.standing();
        if !failed {
            if !standing.is_clean() {
                endpoint.step(outlier::Event::Succeeded, policy);
            }
            return;
        }
        if !standing.is_due(policy) {
            endpoint.step(outlier::Event::Failed { may_eject: false }, policy);
            return;
        }
        let _one_at_a_time = self.state.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_out = endpoint.is_out();
        let may_eject = self.may_eject(policy);
        endpoint.step(outlier::Event::Failed { may_eject }, policy);
        if endpoint.is_out() && !was_out {
            self.state.ejections.fetch_add(1, Ordering::Relaxed);
            let (cluster, workload) = (&self.key, &endpoint.workload);
            tracing::warn!(cluster, workload, "endpoint ejected: it failed too often in a row");
        }
    }

    fn may_eject(&self, policy: &Outlier) -> bool {
        let (ready, out) = self.ready_and_out();
        (out + 1) * 100 <= ready * policy.most_percent as usize
    }

    /// Endpoints in balancing, and how many of them are ejected.
    pub fn ready_and_out(&self) -> (usize, usize) {
        let ready = self.members.iter().filter(|member| member.ready);
        ready.fold((0, 0), |(ready, out), member| (ready + 1, out + usize::from(member.endpoint.is_out())))
    }

    /// True where ejections count: somebody asked for them, and enough endpoints are in.
    pub(super) fn ejects(&self) -> bool {
        self.policy.outlier.as_ref().is_some_and(|policy| {
            let (ready, out) = self.ready_and_out();
            (ready - out) * 100 >= ready * policy.panic_percent as usize
        })
    }
}

impl Endpoint {
    fn standing(&self) -> Standing {
        Standing::unpack(self.standing.load(Ordering::Relaxed))
    }

    fn step(&self, event: outlier::Event, policy: &Outlier) {
        let now = self.age_ms();
        let step = |packed| Some(Standing::unpack(packed).step(event, now, policy).pack());
        let _always = self.standing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// True while it is ejected.
    pub fn is_out(&self) -> bool {
        let standing = self.standing.load(Ordering::Relaxed);
        standing != 0 && Standing::unpack(standing).is_out(self.age_ms())
    }
}
