//! Which workload a process on the other end of the control socket stands for: it must be the first process of a
//! sidecar container of this mesh. No secret is handed out and nothing the caller says is believed.

use outrigger_model::WorkloadId;
use tokio::sync::watch;

use super::{AHEAD, Caller};
use crate::scope::Scope;
use crate::source::docker::record::Container;
use crate::source::docker::sidecars::{is_next, standing};
use crate::source::docker::watch::Seen;

/// Knows the sidecars of one mesh by their process.
#[derive(Clone)]
pub struct Attestor {
    seen: watch::Receiver<Seen>,
    scope: Scope,
}

impl Attestor {
    /// Looks into what the Docker source sees.
    pub fn new(seen: watch::Receiver<Seen>, scope: Scope) -> Self {
        Self { seen, scope }
    }

    /// The sidecar that has this first process, in the host's numbering; waits at most 5 s for it to be
    /// seen. None: no sidecar of this mesh. The caller holds the pidfd or compares start times, so that the number
    /// still names the same process afterwards.
    pub async fn caller(&self, pid: u32) -> Option<Caller> {
        let mut seen = self.seen.clone();
        let found = seen.wait_for(|seen| sidecar_of(seen, &self.scope, pid).is_some());
        let seen = tokio::time::timeout(AHEAD, found).await.ok()?.ok()?;
        sidecar_of(&seen, &self.scope, pid)
    }
}

/// Only the sidecar of the workload's present run counts: one that is stranded in the namespace of an earlier run must
/// not speak for this one.
fn sidecar_of(seen: &Seen, scope: &Scope, pid: u32) -> Option<Caller> {
    let has_pid = |sidecar: &&&Container| sidecar.instance().is_some_and(|instance| instance.pid == pid);
    let caller = |(workload, standing): (WorkloadId, Vec<&Container>)| {
        let sidecar = standing.iter().find(has_pid)?;
        let (id, next) = (sidecar.id.clone(), is_next(sidecar, &standing));
        Some(Caller { workload, sidecar: id, next, address: None })
    };
    standing(&seen.containers, scope).into_iter().find_map(caller)
}
