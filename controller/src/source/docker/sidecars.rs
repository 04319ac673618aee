//! Which sidecar containers stand beside which workloads.

use std::collections::BTreeMap;

use outrigger_model::WorkloadId;
use outrigger_model::label::{MANAGED, MESH};

use super::holder::holders;
use super::record::{Container, Run};
use super::tracker::Containers;
use crate::scope::{INSTANCE, REPLACES, Scope, WORKLOAD};
use crate::source::Beside;

/// The running sidecar containers of each workload, injected live or statically: joined to the network namespace that the
/// workload has now. There are two while one takes the other's place.
pub fn standing<'a>(containers: &'a Containers, scope: &Scope) -> BTreeMap<WorkloadId, Vec<&'a Container>> {
    let held = holders(containers, scope).into_values();
    let held =
        held.filter_map(|held| Some((WorkloadId(held.holder.id.clone()), vec![held.current_sidecar()?])));
    injected(containers, &scope.mesh).into_iter().chain(held).collect()
}

/// Those injected live: of this mesh, and joined to the run the workload is in now.
pub fn injected<'a>(containers: &'a Containers, mesh: &str) -> BTreeMap<WorkloadId, Vec<&'a Container>> {
    let ours = containers.values().filter(|container| {
        container.label(MANAGED) == Some("sidecar")
            && container.label(MESH) == Some(mesh)
            && matches!(container.run, Run::Running(_) | Run::Paused(_))
    });
    let joined = ours.filter_map(|sidecar| {
        let workload = sidecar.label(WORKLOAD)?;
        let instance = containers.get(workload)?.instance()?;
        let current = sidecar.label(INSTANCE) == Some(instance.started.as_str());
        current.then(|| (WorkloadId(workload.to_owned()), sidecar))
    });
    let mut standing: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (workload, sidecar) in joined {
        standing.entry(workload).or_default().push(sidecar);
    }
    standing
}

/// True if `sidecar` is to take the place of one of `standing`.
pub fn is_next(sidecar: &Container, standing: &[&Container]) -> bool {
    let replaced = sidecar.label(REPLACES);
    replaced.is_some_and(|replaced| standing.iter().any(|other| other.id == replaced))
}

/// The sidecar container of each workload that speaks for it: one that is to take another's place does once that one
/// has ended.
pub fn beside(containers: &Containers, scope: &Scope) -> BTreeMap<WorkloadId, Beside> {
    let standing = standing(containers, scope);
    let upgrading = |workload: &WorkloadId| standing.get(workload).is_some_and(|standing| standing.len() > 1);
    let name = |id: &String| containers.get(id).map(|found| found.name.clone()).unwrap_or_default();
    let present = present(standing.clone()).into_iter();
    present
        .map(|(workload, id)| {
            let (name, upgrading) = (name(&id), upgrading(&workload));
            (workload, Beside { id, name, upgrading })
        })
        .collect()
}

/// The ids of those injected live.
pub fn injected_of(containers: &Containers, mesh: &str) -> BTreeMap<WorkloadId, String> {
    present(injected(containers, mesh))
}

fn present(standing: BTreeMap<WorkloadId, Vec<&Container>>) -> BTreeMap<WorkloadId, String> {
    let present = |(workload, standing): (WorkloadId, Vec<&Container>)| {
        let mut present = standing.iter().filter(|sidecar| !is_next(sidecar, &standing));
        present.next_back().map(|sidecar| (workload, sidecar.id.clone()))
    };
    standing.into_iter().filter_map(present).collect()
}
