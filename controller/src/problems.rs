//! What is wrong now, by who found it. Each problem is logged once when it appears and once when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::Problem;

/// Clones share.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<BTreeMap<&'static str, BTreeSet<Problem>>>>);

impl Problems {
    /// Replaces all that `finder` has found.
    pub fn set(&self, finder: &'static str, found: BTreeSet<Problem>) {
        let before = self.lock().insert(finder, found.clone()).unwrap_or_default();
        for problem in found.difference(&before) {
            tracing::warn!(kind = problem.kind, "{}: {}", problem.subject, problem.what);
        }
        for problem in before.difference(&found) {
            tracing::info!(kind = problem.kind, "no longer: {}: {}", problem.subject, problem.what);
        }
    }

    /// All, ordered.
    pub fn all(&self) -> Vec<Problem> {
        let all: BTreeSet<Problem> = self.lock().values().flatten().cloned().collect();
        all.into_iter().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, BTreeSet<Problem>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
