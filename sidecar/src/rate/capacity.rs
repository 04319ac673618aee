//! How much is under way to the own application, over all workers, whoever called. Atomics alone where there is room;
//! requests wait only where there is none.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use outrigger_wire as wire;
use tokio::sync::Notify;

/// Longest wait for a place.
const LONGEST: Duration = Duration::from_secs(10);

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Requests under way.
    Requests,
    /// Requests that wait for one of those to end.
    Pending,
    /// Connections of HTTP.
    Connections,
    /// Byte streams.
    Streams,
}

impl Bound {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Pending, Self::Connections, Self::Streams];

    /// As in the mesh file and in labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Pending => "pending",
            Self::Connections => "connections",
            Self::Streams => "streams",
        }
    }
}

/// What is under way; one for the life of the sidecar, whatever the configurations say.
#[derive(Debug, Default)]
pub struct Capacity {
    under_way: [AtomicU32; Bound::ALL.len()],
    refused: [AtomicU64; Bound::ALL.len()],
    freed: Notify,
}

/// One under way; counted until dropped.
#[derive(Debug)]
pub struct Place {
    capacity: Arc<Capacity>,
    bound: Bound,
}

/// Whether a connection of HTTP may be served.
#[derive(Debug)]
pub enum Admission {
    /// It is not counted: the own application opened it, or it carries bytes.
    Free,
    /// It is counted, until this is dropped.
    In(Place),
    /// As many are open as may be: it is told so, and closed.
    Full,
}

impl Admission {
    /// True where there was no place.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.capacity.under_way(self.bound).fetch_sub(1, Ordering::SeqCst);
        if self.bound == Bound::Requests && self.capacity.under_way(Bound::Pending).load(Ordering::SeqCst) > 0
        {
            self.capacity.freed.notify_one();
        }
    }
}

impl Capacity {
    fn under_way(&self, bound: Bound) -> &AtomicU32 {
        self.under_way.get(bound as usize).expect("there is a counter for each bound")
    }

    /// A place, if there are less than `most`. 0: no bound.
    pub fn enter(self: &Arc<Self>, bound: Bound, most: u32) -> Option<Place> {
        // Not added and taken back: meanwhile another one would be refused, or go on waiting, for nothing.
        let one_more = |count: u32| (most == 0 || count < most).then_some(count + 1);
        let entered = self.under_way(bound).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        entered.is_ok().then(|| Place { capacity: self.clone(), bound })
    }

    /// A place for a connection of HTTP. Counted where nothing bounds them, too: a bound that comes later holds for those
    /// that are open. `most` 0: no bound.
    pub fn connection(self: &Arc<Self>, most: u32) -> Admission {
        self.enter(Bound::Connections, most).map_or(Admission::Full, Admission::In)
    }

    /// A place for a request at once; none where it has to wait, or to be refused.
    pub fn request(self: &Arc<Self>, said: &wire::Capacity) -> Option<Place> {
        // Who came before goes before.
        let others = said.pending > 0 && self.under_way(Bound::Pending).load(Ordering::SeqCst) > 0;
        if others { None } else { self.enter(Bound::Requests, said.requests) }
    }

    /// A place for a request as soon as there is one. `most` is what the configuration says at the time.
    ///
    /// # Errors
    /// What there is too much of.
    pub async fn wait(self: &Arc<Self>, pending: u32, most: impl Fn() -> u32) -> Result<Place, Bound> {
        let refused = |bound| {
            self.count_refused(bound);
            bound
        };
        if pending == 0 {
            return Err(refused(Bound::Requests));
        }
        let _waiting = self.enter(Bound::Pending, pending).ok_or_else(|| refused(Bound::Pending))?;
        let waited = tokio::time::timeout(LONGEST, async {
            loop {
                let mut freed = pin!(self.freed.notified());
                // Before the look: what ends between look and wait is heard of.
                freed.as_mut().enable();
                if let Some(place) = self.enter(Bound::Requests, most()) {
                    return place;
                }
                freed.await;
            }
        });
        waited.await.map_err(|_| refused(Bound::Requests))
    }

    /// Takes note of what was refused.
    pub fn count_refused(&self, bound: Bound) {
        if let Some(times) = self.refused.get(bound as usize) {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often something was refused for a bound.
    pub fn refusals(&self) -> impl Iterator<Item = (Bound, u64)> {
        Bound::ALL.into_iter().zip(self.refused.iter().map(|times| times.load(Ordering::Relaxed)))
    }

    /// How much is under way.
    pub fn counts(&self) -> impl Iterator<Item = (Bound, u32)> {
        Bound::ALL.into_iter().zip(self.under_way.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
