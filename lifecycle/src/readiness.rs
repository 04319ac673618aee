//! Readiness is named guards: only an explicit `done` counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

/// What must happen before a process is ready.
#[derive(Clone)]
pub struct Readiness {
    pending: Arc<Mutex<Vec<(&'static str, Instant)>>>,
    ready: watch::Sender<bool>,
}

/// One thing that must happen. Dropping it without [`Pending::done`] leaves it pending for ever.
pub struct Pending {
    name: &'static str,
    of: Readiness,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { pending: Arc::default(), ready: watch::Sender::new(true) }
    }
}

impl Readiness {
    /// Registers something that must happen first.
    pub fn pending(&self, name: &'static str) -> Pending {
        self.lock().push((name, Instant::now()));
        self.ready.send_replace(false);
        Pending { name, of: self.clone() }
    }

    /// What is still awaited, and for how many seconds.
    pub fn awaited(&self) -> Vec<(&'static str, f64)> {
        self.lock().iter().map(|(name, since)| (*name, since.elapsed().as_secs_f64())).collect()
    }

    /// True when nothing is awaited.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when nothing is awaited any more.
    pub async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        let _always_open = ready.wait_for(|ready| *ready).await;
    }

    /// True when nothing is awaited, now and at every change.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, Instant)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// It has happened.
    pub fn done(self) {
        let mut pending = self.of.lock();
        if let Some(at) = pending.iter().position(|(name, _)| *name == self.name) {
            let (name, since) = pending.swap_remove(at);
            tracing::debug!(name, after_ms = since.elapsed().as_millis() as u64, "ready");
        }
        let all = pending.is_empty();
        drop(pending);
        if all {
            self.of.ready.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_done_counts() {
        let readiness = Readiness::default();
        let a = readiness.pending("a");
        drop(readiness.pending("b"));
        a.done();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.awaited().first().map(|(name, _)| *name), Some("b"));
    }
}
