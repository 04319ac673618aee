//! Tasks whose applications do not find services by their names.

use std::collections::BTreeMap;

use outrigger_model::{Snapshot, WorkloadId};

use crate::proxies::Proxy;
use crate::status::Problem;

/// One for each sidecar that says that it cannot keep the hosts file.
pub fn problems(snapshot: &Snapshot, proxies: &BTreeMap<WorkloadId, Proxy>) -> Vec<Problem> {
    let known = proxies.iter().filter_map(|(id, proxy)| Some((snapshot.workloads.get(id)?, proxy)));
    let told = known.filter_map(|(workload, proxy)| {
        let (report, _) = proxy.report.as_ref()?;
        (!report.hosts.is_empty()).then(|| Problem {
            kind: "names",
            subject: workload.name.clone(),
            what: format!(
                "the names of services are not in its hosts file ({}): its application finds them without the mesh, if at all. Let the \
                 sidecar write the file (readonlyRootFilesystem: false, user 0:0, as its template has it), or have the names in a \
                 private hosted zone (OUTRIGGER_NAMES_ZONE of the controller, and inject with names from the zone)",
                report.hosts
            ),
        })
    });
    told.collect()
}
