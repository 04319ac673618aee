//! What the sidecar sees, for the controller.

use std::collections::BTreeSet;
use std::net::IpAddr;

use outrigger_wire::control::Report;
use tokio::sync::watch;

use crate::netns::{self, Listening};
use crate::telemetry::Telemetry;

/// Makes reports; clones are the same.
#[derive(Clone)]
pub struct Reporter {
    pub(crate) telemetry: Telemetry,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) listening: watch::Receiver<Listening>,
}

impl Reporter {
    /// What is seen now. Reads the table of connections: not for every request.
    pub fn report(&self) -> Report {
        let (certificate_issued, certificate_expires) = self.telemetry.certificate();
        // Where it cannot be read, nothing is known to pass by.
        let unmeshed = netns::established().map_or(0, |sockets| netns::unmeshed(&sockets));
        let listening = self.listening.borrow().clone();
        let ports = |of: fn(&BTreeSet<IpAddr>) -> bool| {
            listening.iter().filter(|(_, at)| of(at)).map(|(port, _)| u32::from(*port)).collect()
        };
        Report {
            ready: *self.ready.borrow(),
            listening: ports(|_| true),
            wildcard: ports(|at| at.iter().any(IpAddr::is_unspecified)),
            loopback: ports(|at| at.iter().all(IpAddr::is_loopback)),
            edges: self.telemetry.edges(),
            certificate_expires,
            unmeshed: u32::try_from(unmeshed).unwrap_or(u32::MAX),
            certificate_issued,
            outsiders: self.telemetry.outsiders(),
        }
    }

    /// Resolves when something changed that the controller should know at once: readiness, or where the application
    /// listens. Traffic alone is no such change.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.listening.changed() => changed,
            changed = self.ready.changed() => changed,
        };
        if changed.is_err() {
            // The sidecar has ended; there is nothing to tell any more.
            std::future::pending::<()>().await;
        }
    }
}
