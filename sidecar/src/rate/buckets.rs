//! The buckets of one limit: one for all requests, or one for each value of something.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pace::Pace;

/// Values that have a bucket of their own, at most.
const MOST: usize = 10_000;
/// Parts, each with a lock of its own, so that workers seldom meet.
const SHARDS: usize = 16;

/// Buckets, all of the same pace.
#[derive(Debug)]
pub(super) struct Buckets {
    pace: Pace,
    /// From when their moments count.
    since: Instant,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// All workers move one number: no lock.
    One(AtomicU64),
    Keyed(Box<Keyed>),
}

/// By a hash of the value that nobody outside can work out, in place of the value: equal size, nothing to read out, and
/// two of 10,000 values share one with a chance of one in 10^11.
#[derive(Debug)]
struct Keyed {
    hasher: RandomState,
    shards: [Mutex<HashMap<u64, u64>>; SHARDS],
    /// Values that one shard keeps.
    most: usize,
}

/// How a bucket is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Requests that it would let through at once.
    pub left: u64,
    /// Until there is one more; zero: it is full.
    pub next: Duration,
}

impl Buckets {
    pub fn new(pace: Pace, keyed: bool) -> Self {
        let kept = if keyed { Kept::Keyed(Box::new(Keyed::new(MOST))) } else { Kept::One(AtomicU64::new(0)) };
        Self { pace, since: Instant::now(), kept }
    }

    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes one request's worth out of the bucket of `key`.
    ///
    /// # Errors
    /// There is not enough in it: how long until there is.
    pub fn take(&self, key: &[u8], now: Instant) -> Result<Level, Duration> {
        let (pace, now) = (self.pace, self.at(now));
        let mut refused = Duration::ZERO;
        let step = |full_at| pace.take(full_at, now).inspect_err(|wait| refused = *wait).ok();
        let full_at = match &self.kept {
            Kept::One(bucket) => bucket
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
                .ok()
                .and_then(|before| pace.take(before, now).ok()),
            Kept::Keyed(keyed) => keyed.update(key, now, step),
        };
        full_at.map(|full_at| self.level_of(full_at, now)).ok_or(refused)
    }

    /// How the bucket of `key` stands.
    pub fn level(&self, key: &[u8], now: Instant) -> Level {
        let now = self.at(now);
        let full_at = match &self.kept {
            Kept::One(bucket) => bucket.load(Ordering::Relaxed),
            Kept::Keyed(keyed) => keyed.get(key),
        };
        self.level_of(full_at, now)
    }

    fn level_of(&self, full_at: u64, now: u64) -> Level {
        Level { left: self.pace.left(full_at, now), next: self.pace.next(full_at, now) }
    }
}

impl Keyed {
    fn new(most: usize) -> Self {
        Self { hasher: RandomState::new(), shards: Default::default(), most: most.div_ceil(SHARDS) }
    }

    fn shard(&self, key: &[u8]) -> (u64, MutexGuard<'_, HashMap<u64, u64>>) {
        let hash = self.hasher.hash_one(key);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        let shard = self.shards.get(shard).expect("a remainder is below its divisor");
        (hash, shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, key: &[u8]) -> u64 {
        let (hash, shard) = self.shard(key);
        shard.get(&hash).copied().unwrap_or_default()
    }

    fn update(&self, key: &[u8], now: u64, step: impl FnOnce(u64) -> Option<u64>) -> Option<u64> {
        let (hash, mut shard) = self.shard(key);
        let known = shard.get(&hash).copied();
        let after = step(known.unwrap_or_default())?;
        if known.is_none() && shard.len() >= self.most {
            make_room(&mut shard, now);
        }
        shard.insert(hash, after);
        Some(after)
    }
}

/// Forgets all that are full: they are as new ones would be. If none is, the one that will be full first: that gives the
/// least away, and who calls the most stays known.
fn make_room(shard: &mut HashMap<u64, u64>, now: u64) {
    let before = shard.len();
    shard.retain(|_, full_at| *full_at > now);
    let first = shard.iter().min_by_key(|(_, full_at)| **full_at).map(|(hash, _)| *hash);
    if let Some(first) = first.filter(|_| shard.len() == before) {
        shard.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(buckets: &Buckets, key: &[u8], now: Instant) -> usize {
        (0..1000).take_while(|_| buckets.take(key, now).is_ok()).count()
    }

    #[test]
    fn each_value_has_a_bucket_of_its_own() {
        let keyed = Buckets::new(Pace::new(10, Duration::from_secs(1), 5), true);
        let now = Instant::now();
        assert_eq!(
            (taken(&keyed, b"ann", now), taken(&keyed, b"bob", now), taken(&keyed, b"ann", now)),
            (5, 5, 0)
        );
        assert_eq!(keyed.take(b"ann", now), Err(Duration::from_millis(100)));
        assert_eq!(keyed.level(b"ann", now), Level { left: 0, next: Duration::from_millis(100) });
        assert_eq!(taken(&keyed, b"ann", now + Duration::from_millis(200)), 2);
        let one = Buckets::new(Pace::new(10, Duration::from_secs(1), 5), false);
        assert_eq!((taken(&one, b"ann", now), taken(&one, b"bob", now)), (5, 0));
    }

    #[test]
    fn threads_share_one_bucket_and_none_is_let_through_twice() {
        for keyed in [false, true] {
            let buckets = Buckets::new(Pace::new(1, Duration::from_secs(3600), 1000), keyed);
            let now = Instant::now();
            let taken: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&buckets, b"ann", now))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(taken, 1000);
        }
    }

    #[test]
    fn at_the_bound_full_ones_go_first_and_then_the_fullest() {
        let mut shard: HashMap<u64, u64> = [(1, 50), (2, 500), (3, 90), (4, 300)].into();
        make_room(&mut shard, 100);
        assert_eq!(shard, [(2, 500), (4, 300)].into());
        make_room(&mut shard, 100);
        assert_eq!(shard, [(2, 500)].into());
    }

    /// Whoever comes with ever new values keeps neither the one who calls most out of sight nor memory from being bounded.
    #[test]
    fn new_values_without_end_do_not_clear_who_calls_the_most() {
        let buckets = Buckets::new(Pace::new(1, Duration::from_secs(3600), 2), true);
        let now = Instant::now();
        assert_eq!(taken(&buckets, b"greedy", now), 2);
        for n in 0..3 * MOST {
            assert!(buckets.take(&n.to_le_bytes(), now).is_ok());
        }
        assert!(buckets.take(b"greedy", now).is_err());
        let Kept::Keyed(keyed) = &buckets.kept else { panic!() };
        let known: usize = keyed.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(known <= MOST, "{known}");
    }
}
