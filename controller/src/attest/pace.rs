use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Addresses that are remembered; forgotten all at once beyond.
const ADDRESSES: usize = 4096;

/// How often somebody at an address may try what mostly costs us and not them. A try is paid for before it is known what
/// becomes of it, and given back where it was good: who is good never waits, and many tries at once are none too many.
#[derive(Debug)]
pub struct Pace {
    burst: f64,
    per_second: f64,
    left: Mutex<BTreeMap<IpAddr, (f64, Instant)>>,
}

impl Pace {
    /// So many at once, and so many more in a second.
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second, left: Mutex::default() }
    }

    /// Takes a try of this address; false: it has none left.
    pub fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, left| self.refilled(*left, now) < self.burst);
            if all.len() >= ADDRESSES {
                all.clear();
            }
        }
        let left = all.entry(address).or_insert((self.burst, now));
        let tries = self.refilled(*left, now);
        let may = tries >= 1.0;
        *left = (if may { tries - 1.0 } else { tries }, now);
        may
    }

    /// The try was good.
    pub fn give_back(&self, address: IpAddr, now: Instant) {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = all.get_mut(&address) {
            *left = ((self.refilled(*left, now) + 1.0).min(self.burst), now);
        }
    }

    fn refilled(&self, (left, since): (f64, Instant), now: Instant) -> f64 {
        (left + now.saturating_duration_since(since).as_secs_f64() * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn addresses() -> [IpAddr; 2] {
        ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap())
    }

    #[test]
    fn who_is_refused_often_waits_and_others_do_not() {
        let (pace, now, [bad, good]) = (Pace::new(20.0, 1.0), Instant::now(), addresses());
        assert!((0..20).all(|_| pace.take(bad, now)));
        assert!(!pace.take(bad, now) && pace.take(good, now));
        let later = now + Duration::from_secs(1);
        assert!(pace.take(bad, later) && !pace.take(bad, later));
    }

    /// They were all let ask AWS, as long as none had been answered.
    #[test]
    fn many_at_once_are_heard_no_oftener_than_one_after_another() {
        let (pace, mut now, [bad, _]) = (Pace::new(20.0, 1.0), Instant::now(), addresses());
        let mut heard = 0;
        for _ in 0..10 {
            heard += (0..64).filter(|_| pace.take(bad, now)).count();
            now += Duration::from_secs(1);
        }
        assert_eq!(heard, 20 + 9);
    }

    #[test]
    fn who_is_good_never_waits() {
        let (pace, now, [_, good]) = (Pace::new(20.0, 1.0), Instant::now(), addresses());
        for _ in 0..1000 {
            assert!(pace.take(good, now));
            pace.give_back(good, now);
        }
        assert!((0..20).all(|_| pace.take(good, now)) && !pace.take(good, now), "and gains nothing");
    }

    #[test]
    fn a_crowd_of_addresses_takes_bounded_memory() {
        let (pace, now) = (Pace::new(20.0, 1.0), Instant::now());
        for n in 0..20_000_u32 {
            pace.take(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(pace.left.lock().unwrap().len() <= ADDRESSES);
    }
}
