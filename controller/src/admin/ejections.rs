//! Which replicas callers send nothing to for a while, as their sidecars report it.

use std::collections::BTreeMap;

use outrigger_model::{Snapshot, WorkloadId};
use outrigger_wire::control;

use crate::proxies::Proxy;
use crate::status::Ejection;

/// All that have not ended at `now` (Unix milliseconds): a sidecar whose stream is away cannot say that one has.
pub fn ejections(snapshot: &Snapshot, proxies: &BTreeMap<WorkloadId, Proxy>, now: u64) -> Vec<Ejection> {
    let mut ejections = Vec::new();
    for (id, proxy) in proxies {
        let Some(by) = snapshot.workloads.get(id) else { continue };
        let told = proxy.report.iter().flat_map(|(report, _)| &report.ejections);
        ejections.extend(told.filter(|told| told.until_ms > now).map(|told| ejection(told, &by.name)));
    }
    ejections.sort();
    ejections
}

fn ejection(told: &control::Ejection, by: &str) -> Ejection {
    let in_a_row = told.errors > 0;
    Ejection {
        endpoint: told.endpoint.clone(),
        port: u16::try_from(told.port).unwrap_or_default(),
        service: told.service.clone(),
        by: by.to_owned(),
        since_ms: told.since_ms,
        until_ms: told.until_ms,
        why: if in_a_row { "consecutive-errors" } else { "success-rate" },
        errors: in_a_row.then_some(told.errors),
        percent: (!in_a_row).then_some(told.percent),
        others_percent: (!in_a_row).then_some(told.others),
        overruled: told.overruled,
    }
}
