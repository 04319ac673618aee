//! The injection gap: milliseconds from an application's start to its serving sidecar.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_model::WorkloadId;

use crate::status::Gap;

/// How many are kept.
const KEPT: usize = 100;

/// Measured gaps. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    recent: VecDeque<u64>,
    by_workload: BTreeMap<WorkloadId, u64>,
    total: u64,
    sum_ms: u64,
    buckets: [u64; BUCKETS_MS.len()],
}

/// Upper bounds of the histogram, milliseconds.
const BUCKETS_MS: [u64; 8] = [50, 100, 200, 400, 800, 1_600, 5_000, 30_000];

/// The histogram since the start, for metrics: (upper bound in milliseconds, count up to it), count, sum.
pub type Histogram = (Vec<(u64, u64)>, u64, u64);

impl Gaps {
    /// One more.
    pub fn measured(&self, workload: &WorkloadId, gap_ms: u64) {
        let mut measured = self.lock();
        if measured.recent.len() == KEPT {
            measured.recent.pop_front();
        }
        measured.recent.push_back(gap_ms);
        measured.by_workload.insert(workload.clone(), gap_ms);
        measured.total += 1;
        measured.sum_ms += gap_ms;
        for (count, bound) in measured.buckets.iter_mut().zip(BUCKETS_MS) {
            *count += u64::from(gap_ms <= bound);
        }
    }

    /// Forgets workloads that are gone.
    pub fn retain(&self, known: impl Fn(&WorkloadId) -> bool) {
        self.lock().by_workload.retain(|workload, _| known(workload));
    }

    /// Of one workload.
    pub fn of(&self, workload: &WorkloadId) -> Option<u64> {
        self.lock().by_workload.get(workload).copied()
    }

    /// For status.
    pub fn summary(&self) -> Gap {
        let recent: Vec<u64> = self.lock().recent.iter().copied().collect();
        let mut sorted = recent.clone();
        sorted.sort_unstable();
        let share = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Gap {
            count: recent.len(),
            median_ms: share(50),
            p99_ms: share(99),
            max_ms: share(100),
            recent_ms: recent,
        }
    }

    /// For metrics.
    pub fn histogram(&self) -> Histogram {
        let measured = self.lock();
        let buckets = BUCKETS_MS.into_iter().zip(measured.buckets).collect();
        (buckets, measured.total, measured.sum_ms)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last_hundred() {
        let gaps = Gaps::default();
        assert_eq!(gaps.summary().median_ms, None);
        for gap in (0..50).map(|_| 9_999).chain(1..=100) {
            gaps.measured(&WorkloadId("a".into()), gap);
        }
        let summary = gaps.summary();
        assert_eq!(
            (summary.count, summary.median_ms, summary.p99_ms, summary.max_ms),
            (100, Some(50), Some(99), Some(100))
        );
        assert_eq!(gaps.of(&WorkloadId("a".into())), Some(100));
        let (buckets, total, _) = gaps.histogram();
        assert_eq!((buckets[0], buckets[1], total), ((50, 50), (100, 100), 150));
    }
}
