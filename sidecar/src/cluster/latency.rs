//! How long an endpoint took lately: rises at once with a slow answer, falls slowly ("peak EWMA", as in Finagle). A
//! value that fits into one atomic.

use std::time::Duration;

/// Half a slow answer is forgotten after about this many steps of 10 ms, all of it soon after: 10 s.
const WINDOW: u64 = 1000;
/// A failure counts as an answer that took at least this long: it must not draw requests by being quick.
const FAILURE: Duration = Duration::from_secs(1);

/// Zero: nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    us: u32,
    /// When it was last told, in steps of 10 ms.
    at: u32,
}

impl Latency {
    /// The state after an answer that took so long.
    pub fn step(self, took: Duration, failed: bool, now_ms: u64) -> Self {
        let took = if failed { took.max(FAILURE) } else { took };
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let at = u32::try_from(now_ms / 10).unwrap_or(u32::MAX);
        let old = self.us_at(now_ms);
        // A fast answer pulls it down by a tenth of the way.
        let us = if took >= old { took } else { (old - (old - took).div_ceil(10)).max(1) };
        Self { us, at }
    }

    /// Microseconds that it counts for at a moment; 0 where nothing is known, or nothing any more.
    pub fn us_at(self, now_ms: u64) -> u32 {
        let passed = (now_ms / 10).saturating_sub(u64::from(self.at)).min(WINDOW);
        u32::try_from(u64::from(self.us) * (WINDOW - passed) / WINDOW).unwrap_or(u32::MAX)
    }

    pub fn pack(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.us)
    }

    pub fn unpack(packed: u64) -> Self {
        Self { us: packed as u32, at: (packed >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_slowly_and_is_forgotten() {
        let slow = Latency::default().step(Duration::from_millis(100), false, 0);
        assert_eq!(slow.us_at(0), 100_000);
        let once = slow.step(Duration::from_millis(1), false, 0);
        assert!((89_000..91_000).contains(&once.us_at(0)), "{once:?}");
        assert_eq!(once.step(Duration::from_millis(200), false, 0).us_at(0), 200_000);
        assert!((49_000..51_000).contains(&slow.us_at(5_000)));
        assert_eq!(slow.us_at(10_000), 0, "it may be tried again");
        assert_eq!(Latency::default().step(Duration::ZERO, true, 0).us_at(0), 1_000_000);
    }

    #[test]
    fn whatever_comes_it_lies_between_what_was_seen() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut latency, mut now, mut most) = (Latency::default(), 0, 0);
            for _ in 0..300 {
                now += rng.u64(..50);
                let us = rng.u32(1..1_000_000);
                most = most.max(us);
                latency = latency.step(Duration::from_micros(us.into()), false, now);
                assert_eq!(Latency::unpack(latency.pack()), latency, "seed {seed}");
                let is = latency.us_at(now);
                assert!(is > 0 && is <= most && is + 1 >= us.min(most) / 10, "seed {seed}: {is}");
            }
        }
    }
}
