//! Success rates of endpoints, compared with each other. An endpoint is measured against the mean of the others, not
//! of all: among n, one alone is never more than √(n-1) standard deviations off a mean it is part of, so that a bound
//! in these (1.9 by default in Envoy) is out of reach of fewer than five.

use outrigger_wire::policy::SuccessRate;

/// Requests of one endpoint since the last look, and how many of them failed. One value that fits into an atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub requests: u32,
    pub failed: u32,
}

/// An endpoint that fails more often than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Percent of its requests that succeeded, rounded.
    pub percent: u32,
    /// On the average of the others, rounded.
    pub others: u32,
}

impl Tally {
    /// What one request adds to the packed form.
    pub fn one(failed: bool) -> u64 {
        u64::from(failed) << 32 | 1
    }

    pub fn unpack(packed: u64) -> Self {
        Self { requests: packed as u32, failed: (packed >> 32) as u32 }
    }

    fn percent(self) -> f64 {
        f64::from(self.requests.saturating_sub(self.failed)) * 100.0 / f64::from(self.requests.max(1))
    }
}

/// Which of them are to be ejected, the worst first, by their place in `tallies`.
pub(super) fn behind(tallies: &[Tally], policy: &SuccessRate) -> Vec<(usize, Behind)> {
    let judged = tallies.iter().enumerate().filter(|(_, tally)| tally.requests >= policy.requests.max(1));
    let judged: Vec<(usize, f64)> = judged.map(|(index, tally)| (index, tally.percent())).collect();
    if judged.len() < policy.endpoints.max(2) as usize {
        return Vec::new();
    }
    let sum: f64 = judged.iter().map(|(_, percent)| percent).sum();
    let mean_without = |percent: f64| (sum - percent) / (judged.len() - 1) as f64;
    let is_behind = |percent: f64| mean_without(percent) - percent >= f64::from(policy.below_percent.max(1));
    let mut behind: Vec<_> = judged.iter().filter(|(_, percent)| is_behind(*percent)).copied().collect();
    behind.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let described = behind.into_iter().map(|(index, percent)| {
        let others = mean_without(percent).round() as u32;
        (index, Behind { percent: percent.round() as u32, others })
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u32, failed: u32) -> Tally {
        let packed = (0..requests).map(|n| Tally::one(n < failed)).sum();
        let tally = Tally::unpack(packed);
        assert_eq!(tally, Tally { requests, failed });
        tally
    }

    fn places(tallies: &[Tally]) -> Vec<usize> {
        behind(tallies, &SuccessRate::default()).into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn who_fails_more_often_than_the_others_is_behind_the_worst_first() {
        assert_eq!(places(&[tally(200, 50), tally(200, 2)]), [0], "of two, too");
        assert_eq!(places(&[tally(100, 50), tally(100, 0), tally(100, 90), tally(100, 0)]), [2, 0]);
        let said = behind(&[tally(300, 117), tally(100, 1), tally(100, 2)], &SuccessRate::default());
        assert_eq!(said, [(0, Behind { percent: 61, others: 99 })]);
    }

    #[test]
    fn who_fails_as_often_as_the_others_is_not() {
        assert_eq!(places(&[tally(100, 90), tally(100, 95), tally(100, 100)]), [0_usize; 0]);
        assert_eq!(places(&[tally(100, 19), tally(100, 0)]), [0_usize; 0]);
    }

    #[test]
    fn few_requests_say_nothing() {
        assert_eq!(places(&[tally(99, 99), tally(500, 0), tally(500, 0)]), [0_usize; 0]);
        assert_eq!(places(&[tally(500, 500), tally(99, 0)]), [0_usize; 0], "nobody to compare with");
        let three = SuccessRate { endpoints: 3, ..SuccessRate::default() };
        assert!(behind(&[tally(500, 500), tally(500, 0)], &three).is_empty());
    }

    /// Whatever is counted: who is ejected is worse than each that is not, at least one is not, and equal rates
    /// eject nobody.
    #[test]
    fn never_all_and_never_a_better_one() {
        for seed in 0..1000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let policy = SuccessRate { below_percent: rng.u32(1..=100), ..SuccessRate::default() };
            let tallies: Vec<Tally> = (0..rng.usize(0..12))
                .map(|_| {
                    let requests = rng.u32(..400);
                    Tally { requests, failed: rng.u32(..=requests) }
                })
                .collect();
            let judged = |place: usize| tallies[place].requests >= policy.requests;
            let out = behind(&tallies, &policy);
            let is_out = |place: usize| out.iter().any(|(index, _)| *index == place);
            let stays: Vec<usize> = (0..tallies.len()).filter(|n| judged(*n) && !is_out(*n)).collect();
            assert!(out.is_empty() || !stays.is_empty(), "seed {seed}");
            for (index, behind) in &out {
                assert!(judged(*index) && behind.percent <= behind.others, "seed {seed}");
                let worse = |stay: &usize| tallies[*index].percent() < tallies[*stay].percent();
                assert!(stays.iter().all(worse), "seed {seed}");
            }
            let same = vec![Tally { requests: 200, failed: rng.u32(..=200) }; 5];
            assert!(behind(&same, &policy).is_empty(), "seed {seed}");
        }
    }
}
