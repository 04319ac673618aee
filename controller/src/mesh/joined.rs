//! Workloads as their source sees them, with what their sidecars say. Where neither changed, nothing is made anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_model::{View, Workload, WorkloadId};

use crate::abreast::Abreast;
use crate::proxies::{AllHeard, Heard};
use crate::source::Beside;

/// All of them, as they were last joined.
#[derive(Default)]
pub struct Joined(BTreeMap<WorkloadId, Part>);

struct Part {
    seen: Arc<Workload>,
    heard: Option<Arc<Heard>>,
    whole: Arc<Workload>,
}

impl Joined {
    /// Workloads that are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Joins what is seen and heard now. A workload that is as before is the same allocation as before.
    pub fn turn(&mut self, view: &View, sidecars: &BTreeMap<WorkloadId, Beside>, heard: &AllHeard) -> View {
        let last = std::mem::take(&mut self.0);
        let (mut last, mut sidecars) = (Abreast::of(&last), Abreast::of(sidecars));
        let mut all_heard = Abreast::of(heard);
        let mut whole = View::new();
        for (id, seen) in view {
            let sidecar = sidecars.get(id);
            // What is heard speaks for one sidecar container, never for the one that replaced it.
            let current = |heard: &&Arc<Heard>| sidecar.is_some_and(|beside| beside.id == heard.sidecar);
            let heard = all_heard.get(id).filter(current).cloned();
            let part = match last.get(id) {
                Some(last) if last.seen == *seen && last.heard == heard => last.whole.clone(),
                _ => join(seen, heard.as_deref()),
            };
            whole.insert(id.clone(), part.clone());
            self.0.insert(id.clone(), Part { seen: seen.clone(), heard, whole: part });
        }
        whole
    }
}

fn join(seen: &Arc<Workload>, heard: Option<&Heard>) -> Arc<Workload> {
    let Some(heard) = heard else { return seen.clone() };
    let mut workload = Workload::clone(seen);
    workload.observed.clone_from(&heard.observed);
    // In ECS bridge and host mode the platform does not say where a task is: its sidecar called from there.
    if let Some(address) = heard.address {
        let unknown = workload.networks.values_mut().filter(|network| network.addresses.is_empty());
        unknown.for_each(|network| network.addresses = vec![address]);
    }
    Arc::new(workload)
}

#[cfg(test)]
mod tests {
    use outrigger_model::{Mesh, Observed};

    use super::*;
    use crate::scope::Scope;
    use crate::source::docker::map::map;
    use crate::source::docker::samples::{composed, containers};

    /// Whatever changes, from turn to turn: the answer is that of one that joins everything anew, and what is as before is
    /// the same allocation.
    #[test]
    fn what_did_not_change_is_not_joined_again() {
        let scope = Scope { mesh: "shop".into(), ..Scope::default() };
        let names = ["auth", "cart", "pay", "web"];
        let all = names.map(|name| composed("shop", name, &[("outrigger.enable", "true")]));
        let view = map(&containers(all), &scope, &Mesh::default()).view;
        for seed in 0..100 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut view, mut sidecars, mut heard) = (view.clone(), BTreeMap::new(), AllHeard::new());
            let ids: Vec<WorkloadId> = view.keys().cloned().collect();
            let (mut joined, mut before) = (Joined::default(), View::new());
            for _ in 0..40 {
                let id = rng.choice(&ids).unwrap();
                let sidecar = format!("sidecar-{}", rng.u8(..2));
                match rng.u8(..6) {
                    0 => {
                        let beside = Beside { id: sidecar, name: String::new(), upgrading: false };
                        sidecars.insert(id.clone(), beside);
                    }
                    1 => drop(sidecars.remove(id)),
                    2 => drop(heard.remove(id)),
                    3 => {
                        if let Some(workload) = view.get_mut(id) {
                            Arc::make_mut(workload).zone = Some(format!("{}", rng.u8(..3)));
                        }
                    }
                    _ => {
                        let observed = Observed { ready: rng.bool(), ..Observed::default() };
                        let observed = Some(observed).filter(|_| rng.bool());
                        let address = rng.bool().then(|| [10, 0, 0, rng.u8(..2)].into());
                        let (connected, next) = (rng.bool(), None);
                        let said = Heard { sidecar, connected, address, observed, next };
                        heard.insert(id.clone(), Arc::new(said));
                    }
                }
                let quick = joined.turn(&view, &sidecars, &heard);
                assert_eq!(quick, Joined::default().turn(&view, &sidecars, &heard), "seed {seed}");
                let others = quick.iter().filter(|(other, _)| *other != id);
                for (other, workload) in others.filter(|_| !before.is_empty()) {
                    assert!(Arc::ptr_eq(workload, &before[other]), "seed {seed}");
                }
                before = quick;
            }
        }
    }
}
