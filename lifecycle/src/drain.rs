//! A drain is a sequence with a deadline: told, waited for, cut. It ends at once when idle.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// The side that tells.
pub struct Drain {
    tell: watch::Sender<bool>,
    idle: mpsc::Receiver<()>,
}

/// The side that is told; clone it freely. A connection that must be waited for takes a [`DrainGuard`].
#[derive(Clone)]
pub struct Draining {
    told: watch::Receiver<bool>,
    busy: mpsc::WeakSender<()>,
}

/// Held while something must be waited for.
pub struct DrainGuard(#[allow(dead_code, reason = "only its drop matters")] Option<mpsc::Sender<()>>);

/// A new drain. The returned guard belongs to the owner of the accept loop.
pub fn drain() -> (Drain, Draining, DrainGuard) {
    let (tell, told) = watch::channel(false);
    let (busy, idle) = mpsc::channel(1);
    let draining = Draining { told, busy: busy.downgrade() };
    (Drain { tell, idle }, draining, DrainGuard(Some(busy)))
}

impl Drain {
    /// Tells everybody, then waits until the last guard is gone or `deadline` has passed.
    /// Returns true when all ended by themselves.
    pub async fn finish(mut self, deadline: Duration) -> bool {
        self.tell.send_replace(true);
        tokio::time::timeout(deadline, self.idle.recv()).await.is_ok()
    }
}

impl Draining {
    /// Resolves once the drain has begun (or its owner is gone).
    pub async fn begun(&mut self) {
        let _owner_gone = self.told.wait_for(|told| *told).await;
    }

    /// True once the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.told.borrow()
    }

    /// The same drain for a part that is told apart, and sooner: by `told`, which must be true once the drain has begun.
    /// Guards are those of the whole.
    pub fn told_by(&self, told: watch::Receiver<bool>) -> Self {
        Self { told, busy: self.busy.clone() }
    }

    /// Makes the drain wait for whoever holds the guard.
    pub fn guard(&self) -> DrainGuard {
        DrainGuard(self.busy.upgrade())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_at_once_when_idle_and_at_the_deadline_when_not() {
        let (drain_idle, _draining, guard) = drain();
        drop(guard);
        assert!(drain_idle.finish(Duration::from_secs(60)).await);

        let (drain_busy, draining, owner) = drain();
        let connection = draining.guard();
        drop(owner);
        let begun = tokio::time::Instant::now();
        assert!(!drain_busy.finish(Duration::from_secs(5)).await);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert!(draining.has_begun());
        drop(connection);
    }

    #[tokio::test]
    async fn waits_for_the_last_guard() {
        let (drain, mut draining, owner) = drain();
        let connection = draining.guard();
        drop(owner);
        let (done, ()) = tokio::join!(drain.finish(Duration::from_secs(60)), async {
            draining.begun().await;
            drop(connection);
        });
        assert!(done);
    }
}
