//! How many requests may be sent again: a share of those that are sent at all, so that a storm cannot feed itself.

use outrigger_wire::policy::Retries;

/// Retries in thousandths: what one request earns has to be counted.
const ONE: u32 = 1000;
/// Time goes in steps of 100 ms; what was saved up is gone after about this many: 10 s.
const WINDOW: u32 = 100;
/// Steps per second.
const STEPS: u32 = 10;

/// What is saved up. One value that fits into an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Thousandths of a retry.
    saved: u32,
    /// When that was, in steps.
    at: u32,
}

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request, sent for the first time: earns a share.
    Request,
    /// One that wants to be sent again: costs one.
    Retry,
}

impl Budget {
    /// As after a long rest: ten seconds' worth of the least.
    pub fn new(policy: &Retries) -> Self {
        Self { saved: at_rest(policy), at: 0 }
    }

    /// The state after an event, and whether it may be. Time only ever adds the least and takes away of what is old.
    pub fn step(self, event: Event, now: u32, policy: &Retries) -> (Self, bool) {
        let passed = now.saturating_sub(self.at).min(WINDOW);
        let kept = u64::from(self.saved) * u64::from(WINDOW - passed) / u64::from(WINDOW);
        let earned = u64::from(passed) * u64::from(policy.budget_least) * u64::from(ONE / STEPS);
        let saved = u32::try_from(kept + earned).unwrap_or(u32::MAX);
        let at = self.at.max(now);
        match event {
            Event::Request => {
                let share = policy.budget_percent.saturating_mul(ONE / 100);
                (Self { saved: saved.saturating_add(share), at }, true)
            }
            Event::Retry => match saved.checked_sub(ONE) {
                Some(saved) => (Self { saved, at }, true),
                None => (Self { saved, at }, false),
            },
        }
    }

    pub fn pack(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.saved)
    }

    pub fn unpack(packed: u64) -> Self {
        Self { saved: packed as u32, at: (packed >> 32) as u32 }
    }

    /// The step that a moment falls into.
    pub fn step_of(since_start: std::time::Duration) -> u32 {
        u32::try_from(since_start.as_millis() / u128::from(1000 / STEPS)).unwrap_or(u32::MAX)
    }
}

fn at_rest(policy: &Retries) -> u32 {
    policy.budget_least.saturating_mul(ONE * (WINDOW / STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(budget_percent: u32, budget_least: u32) -> Retries {
        Retries { budget_percent, budget_least, ..Retries::default() }
    }

    /// Every request fails and wants to be repeated for ever: a fifth more is sent, and not a request beyond.
    #[test]
    fn a_storm_does_not_feed_itself() {
        let policy = policy(20, 0);
        let (mut budget, mut sent) = (Budget::new(&policy), 0);
        for n in 0..10_000 {
            (budget, _) = budget.step(Event::Request, n / 100, &policy);
            let (after, may) = budget.step(Event::Retry, n / 100, &policy);
            budget = after;
            sent += u32::from(may);
        }
        assert!((1900..=2000).contains(&sent), "{sent}");
    }

    #[test]
    fn who_sends_little_may_repeat_the_least_each_second() {
        let policy = policy(0, 2);
        let mut budget = Budget::new(&policy);
        let mut grant = |now| {
            let mut times = 0;
            while let (after, true) = budget.step(Event::Retry, now, &policy) {
                budget = after;
                times += 1;
            }
            times
        };
        assert_eq!([grant(0), grant(10), grant(20), grant(5000)], [20, 2, 2, 20]);
    }

    /// Whatever comes when: never more than the share of the requests, the least per second, and what a rest saves up.
    #[test]
    fn never_more_than_earned() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let policy = policy(rng.u32(..=100), rng.u32(..5));
            let (mut budget, mut now, mut requests, mut retries) =
                (Budget::new(&policy), 0_u32, 0_u64, 0_u64);
            for _ in 0..2000 {
                now += if rng.u8(..20) == 0 { rng.u32(..300) } else { 0 };
                // Another worker's clock may be a step behind.
                let at = now.saturating_sub(rng.u32(..2));
                if rng.bool() {
                    (budget, _) = budget.step(Event::Request, at, &policy);
                    requests += 1;
                } else {
                    let (after, may) = budget.step(Event::Retry, at, &policy);
                    (budget, retries) = (after, retries + u64::from(may));
                }
                assert_eq!(Budget::unpack(budget.pack()), budget, "seed {seed}");
                let earned = requests * u64::from(policy.budget_percent) * 10
                    + u64::from(now * policy.budget_least) * 100
                    + u64::from(at_rest(&policy));
                assert!(retries * 1000 <= earned, "seed {seed}: {retries} of {earned}");
            }
        }
    }
}
