//! What the sidecar sees, for the controller.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_wire::control::{Checked, Ejection, Report, Verdict};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::netns::{self, Listening};
use crate::probe::Said;
use crate::runtime::Generation;
use crate::telemetry::Telemetry;

/// An application that opened no port by then has none, most likely.
const SETTLED: Duration = Duration::from_secs(10);

/// Makes reports; clones are the same.
#[derive(Clone)]
pub struct Reporter {
    pub(crate) telemetry: Telemetry,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) listening: watch::Receiver<Listening>,
    pub(crate) ejections: watch::Receiver<Vec<Ejection>>,
    /// Since when the application's ports are looked at; none: since a predecessor's time.
    pub(crate) since: Option<Instant>,
    /// Ports that the application took on every address, also while it restarts: it will want them again.
    pub(crate) wildcard: Arc<Mutex<BTreeSet<u16>>>,
    pub(crate) configured: watch::Receiver<Option<Arc<Generation>>>,
    pub(crate) checked: watch::Receiver<Said>,
    pub(crate) leaving: watch::Receiver<bool>,
    /// Why names are not in the hosts file; empty: they are, or are not to be.
    pub(crate) hosts: watch::Receiver<String>,
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
            wildcard: self.wildcard(&listening),
            loopback: ports(|at| at.iter().all(IpAddr::is_loopback)),
            edges: self.telemetry.edges(),
            certificate_expires,
            unmeshed: u32::try_from(unmeshed).unwrap_or(u32::MAX),
            certificate_issued,
            outsiders: self.telemetry.outsiders(),
            settled: self.since.is_none_or(|since| since.elapsed() >= SETTLED),
            check: self.check(),
            ejections: self.ejections.borrow().clone(),
            stopping: *self.leaving.borrow(),
            hosts: self.hosts.borrow().clone(),
        }
    }

    /// What the health check says. The configuration may have a check before anybody has looked at it: traffic waits for
    /// what it will say, unless a predecessor has let it through already.
    fn check(&self) -> Option<Checked> {
        self.configured.borrow().as_ref()?.config.proxy.check.as_ref()?;
        match &*self.checked.borrow() {
            Said::Checked(checked) => Some(checked.clone()),
            Said::NotStarted if self.since.is_some() => {
                Some(Checked { verdict: Verdict::Pending.into(), reason: String::new() })
            }
            Said::NotStarted | Said::Nothing => None,
        }
    }

    fn wildcard(&self, listening: &Listening) -> Vec<u32> {
        let mut wildcard = self.wildcard.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, at) in listening {
            if at.iter().any(IpAddr::is_unspecified) {
                wildcard.insert(*port);
            } else {
                wildcard.remove(port);
            }
        }
        wildcard.iter().map(|port| u32::from(*port)).collect()
    }

    /// Resolves when something changed that the controller should know at once: readiness, where the application listens,
    /// the verdict of its health check, what is ejected, or that the workload stops. Traffic alone is no such change.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.listening.changed() => changed,
            changed = self.ready.changed() => changed,
            changed = self.ejections.changed() => changed,
            changed = self.checked.changed() => changed,
            changed = self.leaving.changed() => changed,
        };
        if changed.is_err() {
            // The sidecar has ended; there is nothing to tell any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sidecar that took the port of a restarting application would keep it from starting.
    #[tokio::test(start_paused = true)]
    async fn a_port_stays_the_applications_while_it_restarts_until_it_is_seen_elsewhere() {
        let (listening, seen) = watch::channel(Listening::new());
        let (_ready, ready) = watch::channel(true);
        let (_ejections, ejections) = watch::channel(Vec::new());
        let (_leaving, leaving) = watch::channel(false);
        let reporter = Reporter {
            telemetry: Telemetry::default(),
            ready,
            listening: seen,
            ejections,
            since: Some(Instant::now()),
            wildcard: Arc::default(),
            configured: watch::channel(None).1,
            checked: watch::channel(Said::NotStarted).1,
            leaving,
            hosts: watch::channel("hosts: it is read-only".to_owned()).1,
        };
        let at = |address: &str| Listening::from([(8080, [address.parse().unwrap()].into())]);
        assert!(!reporter.report().settled);
        assert_eq!(reporter.report().hosts, "hosts: it is read-only");
        listening.send_replace(at("0.0.0.0"));
        assert_eq!(reporter.report().wildcard, [8080]);
        listening.send_replace(Listening::new());
        let report = reporter.report();
        assert_eq!((report.wildcard, report.listening), (vec![8080], vec![]));
        listening.send_replace(at("127.0.0.1"));
        let report = reporter.report();
        assert_eq!((report.wildcard, report.loopback), (vec![], vec![8080]));
        tokio::time::advance(SETTLED).await;
        assert!(reporter.report().settled);
    }
}
