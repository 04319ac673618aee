//! A token bucket as one number, the moment at which it will be full: GCRA, the "virtual scheduling algorithm" of ITU-T
//! I.371, annex A. Pure: moments are nanoseconds since whenever the owner began to count.

use std::time::Duration;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Nanoseconds for one request; rounded up, so that no more come than were said.
    one: u64,
    /// Nanoseconds to fill it.
    whole: u64,
}

impl Pace {
    /// `requests` in `window`, `burst` at once; zeros count as one.
    pub fn new(requests: u32, window: Duration, burst: u32) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let one = window.div_ceil(requests.max(1).into()).max(1);
        Self { one, whole: one.saturating_mul(burst.max(1).into()) }
    }

    /// Takes one request's worth out of a bucket that is full at `full_at`; when it is full then.
    ///
    /// # Errors
    /// There is not enough in it: how long until there is.
    pub fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let after = full_at.max(now).saturating_add(self.one);
        match (after - now).checked_sub(self.whole) {
            None | Some(0) => Ok(after),
            Some(missing) => Err(Duration::from_nanos(missing)),
        }
    }

    /// How many requests are in it.
    pub fn left(self, full_at: u64, now: u64) -> u64 {
        self.whole.saturating_sub(full_at.saturating_sub(now)) / self.one
    }

    /// How long until there is one more; zero: it is full.
    pub fn next(self, full_at: u64, now: u64) -> Duration {
        let missing = full_at.saturating_sub(now);
        Duration::from_nanos(missing.checked_sub(1).map_or(0, |rest| rest % self.one + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_one_by_one() {
        let pace = Pace::new(10, Duration::from_secs(1), 3);
        let mut full_at = 0;
        let now = 5 * SECOND;
        for left in [2, 1, 0] {
            full_at = pace.take(full_at, now).unwrap();
            assert_eq!(
                (pace.left(full_at, now), pace.next(full_at, now)),
                (left, Duration::from_millis(100))
            );
        }
        assert_eq!(pace.take(full_at, now), Err(Duration::from_millis(100)));
        assert_eq!(pace.take(full_at, now + SECOND / 10 - 1), Err(Duration::from_nanos(1)));
        full_at = pace.take(full_at, now + SECOND / 10).unwrap();
        assert_eq!(pace.take(full_at, now + SECOND / 10), Err(Duration::from_millis(100)));
        // Rest fills it, and no further.
        assert_eq!((pace.left(full_at, 100 * SECOND), pace.next(full_at, 100 * SECOND)), (3, Duration::ZERO));
    }

    /// Whatever comes when: in any time no more than the burst and what the rate brings.
    #[test]
    fn never_more_than_burst_and_rate() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (requests, burst) = (rng.u32(1..2000), rng.u32(1..100));
            let window = Duration::from_secs([1, 60, 3600][rng.usize(..3)]);
            let pace = Pace::new(requests, window, burst);
            let (mut now, mut full_at) = (rng.u64(..SECOND), 0);
            let mut admitted: Vec<u64> = Vec::new();
            for _ in 0..400 {
                now +=
                    [0, rng.u64(..pace.one), rng.u64(..pace.one * 3), rng.u64(..pace.whole)][rng.usize(..4)];
                let before = pace.left(full_at, now);
                let taken = pace.take(full_at, now);
                assert_eq!(taken.is_ok(), before > 0, "seed {seed}");
                match taken {
                    Ok(after) => {
                        full_at = after;
                        admitted.push(now);
                    }
                    // What it says is when it is let in, and not sooner.
                    Err(wait) => {
                        let then = now + u64::try_from(wait.as_nanos()).unwrap();
                        assert!(pace.take(full_at, then).is_ok() && pace.take(full_at, then - 1).is_err());
                    }
                }
            }
            for (n, from) in admitted.iter().enumerate() {
                for (m, until) in admitted.iter().enumerate().skip(n) {
                    let time = u128::from(until - from);
                    let most = u128::from(burst) + time * u128::from(requests) / window.as_nanos();
                    assert!((m - n + 1) as u128 <= most, "seed {seed}: {} in {time} ns", m - n + 1);
                }
            }
        }
    }

    #[test]
    fn the_largest_and_the_smallest_do_not_overflow() {
        let most = Pace::new(1, Duration::from_secs(3600), 1_000_000);
        let now = u64::MAX / 4;
        assert_eq!(most.left(most.take(0, now).unwrap(), now), 999_999);
        let fast = Pace::new(1_000_000, Duration::from_secs(1), 1);
        assert_eq!(fast.take(now + 1000, now), Err(Duration::from_micros(1)));
        assert!(Pace::new(0, Duration::ZERO, 0).take(0, now).is_ok());
    }
}
