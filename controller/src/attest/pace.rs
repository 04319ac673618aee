use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Refusals in a row that an address may have: on a host in bridge mode, all tasks call from one.
const BURST: f64 = 20.0;
/// So many more in a second.
const PER_SECOND: f64 = 1.0;
/// Addresses that are remembered; forgotten all at once beyond.
const ADDRESSES: usize = 4096;

/// Lets addresses that were refused again and again wait: what they send costs a look into this, and no question to AWS.
#[derive(Debug, Default)]
pub struct Pace(Mutex<BTreeMap<IpAddr, (f64, Instant)>>);

impl Pace {
    /// Whether somebody at this address may try.
    pub fn may(&self, address: IpAddr, now: Instant) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.get(&address).is_none_or(|left| refilled(*left, now) >= 1.0)
    }

    /// Somebody at this address was refused.
    pub fn refused(&self, address: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES {
            all.retain(|_, left| refilled(*left, now) < BURST);
        }
        if all.len() >= ADDRESSES {
            all.clear();
        }
        let left = all.entry(address).or_insert((BURST, now));
        *left = ((refilled(*left, now) - 1.0).max(0.0), now);
    }
}

fn refilled((left, since): (f64, Instant), now: Instant) -> f64 {
    (left + now.saturating_duration_since(since).as_secs_f64() * PER_SECOND).min(BURST)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_refused_often_waits_and_others_do_not() {
        let (pace, now) = (Pace::default(), Instant::now());
        let [bad, good]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        for _ in 0..20 {
            assert!(pace.may(bad, now));
            pace.refused(bad, now);
        }
        assert!(!pace.may(bad, now) && pace.may(good, now));
        let later = now + Duration::from_secs(1);
        assert!(pace.may(bad, later));
        pace.refused(bad, later);
        assert!(!pace.may(bad, later));
    }

    #[test]
    fn a_crowd_of_addresses_takes_bounded_memory() {
        let (pace, now) = (Pace::default(), Instant::now());
        for n in 0..20_000_u32 {
            pace.refused(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(pace.0.lock().unwrap().len() <= ADDRESSES);
    }
}
