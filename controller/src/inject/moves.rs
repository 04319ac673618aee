//! How services that ask for injection stand, for status. Clones share.

use std::sync::{Arc, Mutex, PoisonError};

use crate::status::Injection;

/// Clones share.
#[derive(Clone, Debug, Default)]
pub struct Moves(Arc<Mutex<Vec<Injection>>>);

impl Moves {
    /// Replaces all; what is new is logged.
    pub fn set(&self, found: Vec<Injection>) {
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), found.clone());
        for injection in found.iter().filter(|injection| !before.contains(injection)) {
            let Injection { service, state, revision, what } = injection;
            tracing::info!(service, state, revision, "injection: {what}");
        }
    }

    /// All, by service.
    pub fn all(&self) -> Vec<Injection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
