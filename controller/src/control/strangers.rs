use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that have proved nothing yet, counted by whence they come (an address, a user).
pub(super) struct Strangers<K> {
    all: usize,
    of_one: usize,
    now: Mutex<BTreeMap<K, usize>>,
}

/// One of them; counted until it is dropped.
pub(super) struct Stranger<K: Ord> {
    of: Arc<Strangers<K>>,
    /// Whence.
    pub from: K,
}

impl<K: Ord + Copy> Strangers<K> {
    /// So many of all together, and so many of one.
    pub(super) fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { all, of_one, now: Mutex::default() })
    }

    /// Counts a connection, if it may be there.
    pub(super) fn admit(self: &Arc<Self>, from: K) -> Option<Stranger<K>> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = now.values().sum();
        let of_one = now.get(&from).copied().unwrap_or_default();
        if all >= self.all || of_one >= self.of_one {
            return None;
        }
        now.insert(from, of_one + 1);
        Some(Stranger { of: self.clone(), from })
    }
}

impl<K: Ord> Drop for Stranger<K> {
    fn drop(&mut self) {
        let mut now = self.of.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = now.get_mut(&self.from) {
            *of_one -= 1;
            if *of_one == 0 {
                now.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_keep_the_others_out() {
        let strangers = Strangers::new(5, 3);
        let mut bad: Vec<_> = (0..9).filter_map(|_| strangers.admit("bad")).collect();
        assert_eq!(bad.len(), 3);
        let good: Vec<_> = (0..9).filter_map(|_| strangers.admit("good")).collect();
        assert_eq!(good.len(), 2, "there is an end to all together");
        drop(good);
        bad.pop();
        assert!(strangers.admit("bad").is_some());
        bad.clear();
        assert!(strangers.now.lock().unwrap().is_empty());
    }
}
