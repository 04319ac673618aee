//! Tries in a row, and what follows from them. Pure: it counts, and decides nothing of the replica; that is the
//! controller's, which knows more.

use outrigger_wire::control::Verdict;

/// What the tries so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    /// None: not enough of them yet, of an application that served before it was asked.
    pub verdict: Option<Verdict>,
    /// How the last try ended, and how many ended so in a row.
    row: (bool, u32),
}

impl Streak {
    /// The application has just started: it takes no traffic until it passes.
    pub const STARTED: Self = Self { verdict: Some(Verdict::Pending), row: (false, 0) };
    /// The application serves already: it does until it fails.
    pub const SERVING: Self = Self { verdict: None, row: (false, 0) };

    /// A try ended. `healthy` and `unhealthy` are how many in a row it takes, at least 1.
    pub fn tried(self, passed: bool, healthy: u32, unhealthy: u32) -> Self {
        let times = if self.row.0 == passed { self.row.1.saturating_add(1) } else { 1 };
        let verdict = match (self.verdict, passed) {
            (_, true) if times >= healthy => Some(Verdict::Passing),
            // One that has not passed yet is out anyway.
            (None | Some(Verdict::Passing), false) if times >= unhealthy => Some(Verdict::Failing),
            (verdict, _) => verdict,
        };
        Self { verdict, row: (passed, times) }
    }

    /// The same verdict for another question: what was counted is forgotten.
    pub fn asked_otherwise(self) -> Self {
        Self { row: (false, 0), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that keeps every try, to compare with one that counts.
    fn expected(start: Streak, tries: &[bool], healthy: usize, unhealthy: usize) -> Option<Verdict> {
        let mut verdict = start.verdict;
        for n in 1..=tries.len() {
            let last = |count: usize, passed: bool| {
                n >= count && tries[n - count..n].iter().all(|one| *one == passed)
            };
            if last(healthy, true) {
                verdict = Some(Verdict::Passing);
            } else if verdict != Some(Verdict::Pending) && last(unhealthy, false) {
                verdict = Some(Verdict::Failing);
            }
        }
        verdict
    }

    #[test]
    fn so_many_in_a_row_and_no_fewer() {
        for seed in 0..3_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (healthy, unhealthy) = (rng.u32(1..5), rng.u32(1..5));
            let start = *rng.choice(&[Streak::STARTED, Streak::SERVING]).unwrap();
            let mut tries = Vec::new();
            let mut streak = start;
            for _ in 0..rng.usize(..40) {
                tries.push(rng.u8(..10) < 6);
                streak = streak.tried(tries[tries.len() - 1], healthy, unhealthy);
                let expected = expected(start, &tries, healthy as usize, unhealthy as usize);
                assert_eq!(streak.verdict, expected, "seed {seed}: {tries:?}, {healthy}, {unhealthy}");
            }
        }
    }

    /// Rows that are shorter than asked for change nothing, however many there are.
    #[test]
    fn nothing_flaps_below_the_thresholds() {
        for seed in 0..1_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (healthy, unhealthy) = (rng.u32(2..6), rng.u32(2..6));
            let mut streak = Streak::STARTED;
            for _ in 0..healthy {
                streak = streak.tried(true, healthy, unhealthy);
            }
            for _ in 0..30 {
                for _ in 0..rng.u32(1..unhealthy) {
                    streak = streak.tried(false, healthy, unhealthy);
                }
                assert_eq!(streak.verdict, Some(Verdict::Passing), "seed {seed}");
                streak = streak.tried(true, healthy, unhealthy);
            }
            for _ in 0..unhealthy {
                streak = streak.tried(false, healthy, unhealthy);
            }
            for _ in 0..30 {
                for _ in 0..rng.u32(1..healthy) {
                    streak = streak.tried(true, healthy, unhealthy);
                }
                assert_eq!(streak.verdict, Some(Verdict::Failing), "seed {seed}");
                streak = streak.tried(false, healthy, unhealthy);
            }
        }
    }
}
