//! When a connection must end although both of its sides would go on: the process drains, the workload leaves the mesh
//! and a peer is at the other end, or the configuration does not allow it any more.

use std::future::pending;
use std::time::Duration;

use outrigger_lifecycle::{DrainGuard, Draining};

use super::Worker;
use crate::downstream::Downstream;

/// Requests under way when strict is switched on have so long to be answered. A byte stream has no such end: it is
/// reset at once.
const GRACE: Duration = Duration::from_secs(5);

/// Told when one connection must end; clones are told the same.
#[derive(Clone)]
pub(crate) struct Ending {
    draining: Draining,
    /// Came from outside the mesh in plaintext, to this port.
    plaintext: Option<(Worker, u16)>,
}

impl Ending {
    pub(super) fn new(worker: &Worker, downstream: &Downstream) -> Self {
        let plaintext = downstream.plaintext_port().map(|port| (worker.clone(), port));
        let draining = if downstream.is_mesh() { worker.leaving() } else { worker.draining() };
        Self { draining, plaintext }
    }

    /// Resolves once the connection should take nothing new.
    pub async fn begun(&mut self) {
        let Self { draining, plaintext } = self;
        tokio::select! {
            biased;
            () = draining.begun() => {}
            () = forbidden(plaintext.as_ref()) => {}
        }
    }

    /// True once the connection should take nothing new.
    pub fn has_begun(&self) -> bool {
        self.draining.has_begun() || self.is_forbidden()
    }

    /// Resolves once the configuration does not allow the connection.
    pub async fn forbidden(&self) {
        forbidden(self.plaintext.as_ref()).await;
    }

    /// Resolves once the connection must not live on, whatever it is at.
    pub async fn cut(&self) {
        loop {
            self.forbidden().await;
            tokio::time::sleep(GRACE).await;
            // It may be allowed again by now.
            if self.is_forbidden() {
                return;
            }
        }
    }

    /// Makes the drain wait for whoever holds the guard.
    pub fn guard(&self) -> DrainGuard {
        self.draining.guard()
    }

    /// True while the configuration does not allow the connection.
    pub fn is_forbidden(&self) -> bool {
        self.plaintext.as_ref().is_some_and(is_forbidden)
    }
}

fn is_forbidden((worker, port): &(Worker, u16)) -> bool {
    !worker.generation().accepts_plaintext(*port)
}

async fn forbidden(plaintext: Option<&(Worker, u16)>) {
    let Some(plaintext) = plaintext else { return pending().await };
    let mut changes = plaintext.0.changes();
    while !is_forbidden(plaintext) {
        if changes.changed().await.is_err() {
            return pending().await;
        }
    }
}
