//! Which workloads run without capture rules although their sidecar is there: their capture step failed, or a
//! controller that ended early left it unclear.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::WorkloadId;

use crate::proxies::Proxy;
use crate::source::docker::record::{Container, Instance};
use crate::source::docker::tracker::Containers;

/// The missing ones, and which sidecars were looked at.
#[derive(Debug, Default)]
pub struct Captures {
    missing: BTreeMap<WorkloadId, Instance>,
    judged: BTreeMap<WorkloadId, String>,
}

impl Captures {
    /// The rules of this run are not set.
    pub fn missing(&mut self, app: WorkloadId, instance: Instance) {
        self.missing.insert(app, instance);
    }

    /// Judges sidecars that an earlier controller made by the first report that is known: one that was ready before
    /// has its rules; one that was not may have lost its capture step while nobody watched.
    pub fn look(
        &mut self,
        sidecars: &BTreeMap<WorkloadId, String>,
        proxies: &BTreeMap<WorkloadId, Proxy>,
        containers: &Containers,
        made_here: impl Fn(&str) -> bool,
    ) {
        let current = |app: &WorkloadId| containers.get(&app.0).and_then(Container::instance);
        self.missing.retain(|app, instance| current(app) == Some(instance));
        self.judged.retain(|app, sidecar| sidecars.get(app) == Some(sidecar));
        for (app, sidecar) in sidecars {
            if made_here(sidecar) || self.judged.contains_key(app) {
                continue;
            }
            let Some(ready) = observed_ready(proxies, app, sidecar) else { continue };
            self.judged.insert(app.clone(), sidecar.clone());
            if let Some(instance) = current(app).filter(|_| !ready) {
                self.missing.insert(app.clone(), instance.clone());
            }
        }
    }

    /// Those whose sidecar serves now; they are missing no longer.
    pub fn due(
        &mut self,
        sidecars: &BTreeMap<WorkloadId, String>,
        proxies: &BTreeMap<WorkloadId, Proxy>,
        busy: &BTreeSet<WorkloadId>,
    ) -> Vec<(WorkloadId, Instance)> {
        let serves = |app: &WorkloadId| {
            sidecars.get(app).and_then(|sidecar| observed_ready(proxies, app, sidecar)).unwrap_or_default()
        };
        let due = self.missing.keys().filter(|app| serves(app) && !busy.contains(*app));
        let due: Vec<WorkloadId> = due.cloned().collect();
        due.into_iter().filter_map(|app| self.missing.remove_entry(&app)).collect()
    }
}

/// What this very sidecar said of itself; none before its first report.
fn observed_ready(proxies: &BTreeMap<WorkloadId, Proxy>, app: &WorkloadId, sidecar: &str) -> Option<bool> {
    let proxy = proxies.get(app).filter(|proxy| proxy.sidecar == sidecar)?;
    proxy.observed().map(|observed| observed.ready)
}

#[cfg(test)]
mod tests {
    use outrigger_wire::control::Report;
    use tokio::time::Instant;

    use super::*;
    use crate::source::docker::samples::{composed, containers, sidecar_of};
    use crate::source::docker::sidecars::injected_of;

    #[test]
    fn rules_are_set_once_the_sidecar_serves() {
        let app = composed("shop", "cart", &[]);
        let (sidecar, id) = (sidecar_of(&app), WorkloadId(app.id.clone()));
        let instance = app.instance().unwrap().clone();
        let all = containers([app, sidecar.clone()]);
        let sidecars = injected_of(&all, "shop");
        let proxies = |ready| {
            let report = Some((Report { ready, ..Report::default() }, Instant::now()));
            BTreeMap::from([(id.clone(), Proxy { sidecar: sidecar.id.clone(), report, ..Proxy::default() })])
        };
        let idle = BTreeSet::new();

        let mut adopted = Captures::default();
        adopted.look(&sidecars, &proxies(true), &all, |_| false);
        adopted.look(&sidecars, &proxies(false), &all, |_| false);
        assert_eq!(
            adopted.due(&sidecars, &proxies(true), &idle),
            [],
            "it was ready before: it has its rules"
        );

        let mut unclear = Captures::default();
        unclear.look(&sidecars, &proxies(false), &all, |_| false);
        assert_eq!(unclear.due(&sidecars, &proxies(false), &idle), []);
        assert_eq!(unclear.due(&sidecars, &proxies(true), &BTreeSet::from([id.clone()])), []);
        assert_eq!(unclear.due(&sidecars, &proxies(true), &idle), [(id.clone(), instance.clone())]);
        assert_eq!(unclear.due(&sidecars, &proxies(true), &idle), [], "once");

        let mut failed = Captures::default();
        failed.look(&sidecars, &proxies(false), &all, |_| true);
        assert_eq!(failed.due(&sidecars, &proxies(true), &idle), [], "the one made here is still at work");
        failed.missing(id.clone(), instance.clone());
        assert_eq!(failed.due(&sidecars, &proxies(true), &idle), [(id.clone(), instance.clone())]);
        failed.missing(id.clone(), instance);
        failed.look(&sidecars, &proxies(true), &Containers::new(), |_| true);
        assert_eq!(failed.due(&sidecars, &proxies(true), &idle), [], "the run is over");
    }
}
