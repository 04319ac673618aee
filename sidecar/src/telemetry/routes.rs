//! Counters of routes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A route as metrics name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The service that was called: `<service>.<namespace>`.
    pub destination: String,
    /// The called port.
    pub port: u16,
    /// Its name.
    pub route: String,
}

/// Counters of one route. They outlive it: one of the same name goes on counting.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// By the first digit of the status, from 1.
    classes: [AtomicU64; 5],
    copies: AtomicU64,
    copies_left_out: AtomicU64,
}

impl RouteCounters {
    /// A request that it took was answered.
    pub fn request(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1).min(self.classes.len() - 1);
        if let Some(counter) = self.classes.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A copy was to be sent; was it?
    pub fn copy(&self, sent: bool) {
        let counter = if sent { &self.copies } else { &self.copies_left_out };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by class of their status.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.classes.iter().map(|counter| counter.load(Ordering::Relaxed));
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Copies by what became of them.
    pub(super) fn copies(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = [("sent", &self.copies), ("left-out", &self.copies_left_out)];
        counters
            .map(|(what, n)| (what, n.load(Ordering::Relaxed)))
            .into_iter()
            .filter(|(_, count)| *count > 0)
    }
}
