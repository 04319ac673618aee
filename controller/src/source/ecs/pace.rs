//! How fast the API may be called. A value: time goes in, the pause before the next call comes out.

use std::time::Duration;

use tokio::time::Instant;

/// Calls of one category, in the words of "Request throttling for the Amazon ECS API" (Amazon ECS API Reference). An
/// account has one bucket for each in each region, and everybody who calls takes from it; half of it is left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `DescribeClusters`: 50 at once, 20 a second.
    Cluster,
    /// `ListTasks`, `DescribeTasks`: 100 at once, 20 a second.
    Resource,
    /// `ListServices`, `DescribeServices`: 100 at once, 20 a second.
    Service,
    /// `DescribeTaskDefinition`: 50 at once, 20 a second.
    Definition,
}

/// Calls a second that are taken of every bucket, where ECS refills 20.
pub const SUSTAINED: f64 = 10.0;

impl Category {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Resource, Self::Service, Self::Definition];

    /// Calls at once after a quiet time: half of what ECS's bucket holds.
    pub fn burst(self) -> f64 {
        match self {
            Self::Cluster | Self::Definition => 25.0,
            Self::Resource | Self::Service => 50.0,
        }
    }
}

/// One token bucket of our own.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Full.
    pub fn new(category: Category, now: Instant) -> Self {
        Self { burst: category.burst(), tokens: category.burst(), at: now }
    }

    /// Takes a token, also one that is still to come; how long the call waits for it.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        Duration::from_secs_f64((-self.tokens / SUSTAINED).max(0.0))
    }

    /// ECS's bucket is empty: others call too. Ours has no burst left either.
    pub fn throttled(&mut self, now: Instant) {
        self.fill(now);
        self.tokens = self.tokens.min(0.0);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * SUSTAINED).min(self.burst);
        self.at = now;
    }
}

/// First pause of a back-off, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// The pause after the `n`th failure in a row, 1 for the first: doubled each time, and anywhere between nothing and that
/// (`chance`, 0 to 1), so that callers do not come back together.
pub fn backoff(n: u32, chance: f64) -> Duration {
    let longest = BACKOFF.0.saturating_mul(1 << n.saturating_sub(1).min(16)).min(BACKOFF.1);
    longest.mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_ten_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Category::Resource, start);
        assert!((0..50).all(|_| bucket.take(start).is_zero()));
        assert_eq!(bucket.take(start), Duration::from_millis(100));
        assert_eq!(bucket.take(start), Duration::from_millis(200), "each has its own turn");
        assert!(bucket.take(start + Duration::from_secs(1)).is_zero());
    }

    /// Whoever asks when, no minute has more calls than the burst and sixty times the rate: half of what ECS allows.
    #[test]
    fn no_minute_has_more_calls_than_half_of_what_ecs_allows() {
        let start = Instant::now();
        for category in Category::ALL {
            let mut bucket = Bucket::new(category, start);
            let mut random = fastrand::Rng::with_seed(7);
            let mut at = start;
            let mut calls: Vec<Instant> = Vec::new();
            for _ in 0..3_000 {
                at += Duration::from_millis(random.u64(0..60));
                calls.push(at + bucket.take(at));
            }
            for (n, first) in calls.iter().enumerate() {
                let minute =
                    calls[n..].iter().filter(|call| **call < *first + Duration::from_secs(60)).count();
                assert!(minute <= 600 + category.burst() as usize + 1, "{category:?}: {minute}");
            }
        }
    }

    #[test]
    fn after_a_refusal_there_is_no_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Category::Resource, start);
        bucket.throttled(start);
        assert_eq!(bucket.take(start), Duration::from_millis(100));
    }

    #[test]
    fn a_back_off_doubles_up_to_its_end() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(40, 1.0), Duration::from_secs(20));
        assert_eq!(backoff(40, 0.0), Duration::ZERO);
    }
}
