use std::time::Duration;

/// The first pause; each that follows is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest while nobody listens: asking costs one system call or one packet, and a controller that comes back
/// should find its sidecars within a second.
const LONGEST_ABSENT: Duration = Duration::from_secs(1);

/// Pauses between attempts.
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait now: between half of the pause and the whole, by `spread` in 0..1, so that many sidecars do
    /// not come at once.
    pub fn pause(&mut self, absent: bool, spread: f64) -> Duration {
        let longest = if absent { LONGEST_ABSENT } else { LONGEST };
        let pause = self.next.min(longest);
        self.next = (self.next * 2).min(LONGEST);
        pause.mul_f64(0.5 + 0.5 * spread.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.pause(false, 1.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.pause(true, 1.0).as_millis(), 1000);
        assert_eq!(backoff.pause(false, 0.0).as_millis(), 2500);
    }
}
