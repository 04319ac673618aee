//! Pure: a snapshot and a workload in, that workload's configuration out. No clock, no async, no I/O;
//! equal input gives equal bytes.

mod check;
mod clusters;
pub mod health;
mod inbound;
mod listeners;
mod policy;
mod ports;
mod reach;
mod routes;
mod services;

pub use health::{NotReady, readiness};
pub use ports::{ports_of, protocol};
pub use reach::Unreachable;
pub use routes::{DeadEnd, dead_ends};
pub use services::virtual_address;

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_model::{Capture, Mode, ServiceKey, Snapshot, Workload, WorkloadId};
use outrigger_wire::{InvalidSpiffeId, Proxy, ProxyConfig, SpiffeId};

use reach::Reach;

/// Why a workload has no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The snapshot does not know the workload.
    #[error("workload {0} is not in the snapshot: it left the mesh, or its source has not seen it yet")]
    UnknownWorkload(String),
    /// It has no sidecar.
    #[error("workload {0} is outside the mesh: it has no sidecar, and is only called")]
    Outside(String),
    /// A name in it cannot be part of an identity.
    #[error("workload {workload}: {source}")]
    Identity {
        /// The workload's name.
        workload: String,
        /// Which text.
        source: InvalidSpiffeId,
    },
    /// Strict where it could be gone around.
    #[error(
        "workload {workload}: strict cannot be enforced with capture {capture}: connections from outside reach the application \
         without its sidecar; take capture transparent, or let the application listen on 127.0.0.1 only (and say so with \
         outrigger.app-address=127.0.0.1), or take mode permissive"
    )]
    Bypassable {
        /// The workload's name.
        workload: String,
        /// How its traffic is captured.
        capture: &'static str,
    },
}

/// The configuration of one workload's sidecar.
///
/// # Errors
/// The workload is not in the snapshot, is outside the mesh, has no valid identity, or is strict where that could be gone around. Other
/// services never make it fail: one whose identity is not valid is left out.
pub fn compile(snapshot: &Snapshot, id: &WorkloadId) -> Result<ProxyConfig, CompileError> {
    let (workload, identity) = subject(snapshot, id)?;
    let reach = Reach::of(workload, snapshot);
    Ok(ProxyConfig {
        services: services::services(workload, snapshot, &reach),
        clusters: clusters::clusters(workload, snapshot, &reach.visible),
        proxy: listeners::proxy(workload, identity, reach.listeners),
    })
}

/// From where a workload looks at the mesh: workloads that look from the same place have the same services and
/// clusters, and only the `proxy` of each is its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outlook {
    namespace: String,
    networks: BTreeSet<String>,
    /// Services have other addresses where the platform redirects.
    platform: bool,
}

/// From where a workload looks. None: nothing redirects its calls, so that what it reaches depends on its own ports.
pub fn outlook(workload: &Workload) -> Option<Outlook> {
    let networks = || workload.networks.keys().cloned().collect();
    let namespace = || workload.namespace.clone();
    let platform = workload.declared.capture == Capture::Platform;
    reach::redirects(workload).then(|| Outlook { namespace: namespace(), networks: networks(), platform })
}

/// Only the own part of [`compile`]'s answer.
///
/// # Errors
/// As [`compile`].
pub fn proxy(snapshot: &Snapshot, id: &WorkloadId) -> Result<Proxy, CompileError> {
    let (workload, identity) = subject(snapshot, id)?;
    let listeners = match reach::redirects(workload) {
        true => reach::redirected(),
        false => Reach::of(workload, snapshot).listeners,
    };
    Ok(listeners::proxy(workload, identity, listeners))
}

/// The workload and its identity, if it can have a configuration.
fn subject<'a>(snapshot: &'a Snapshot, id: &WorkloadId) -> Result<(&'a Workload, SpiffeId), CompileError> {
    let found = snapshot.workloads.get(id);
    let workload: &Workload = found.ok_or_else(|| CompileError::UnknownWorkload(id.0.clone()))?;
    if workload.outside.is_some() {
        return Err(CompileError::Outside(workload.name.clone()));
    }
    let identity = identity(&snapshot.trust_domain, &service_key(workload))
        .map_err(|source| CompileError::Identity { workload: workload.name.clone(), source })?;
    if workload.declared.mode == Mode::Strict && workload.bypassable() {
        let (workload, capture) = (workload.name.clone(), workload.declared.capture.as_str());
        return Err(CompileError::Bypassable { workload, capture });
    }
    Ok((workload, identity))
}

/// What a workload cannot call through its sidecar although it is there or is asked for; empty for a workload that is
/// not in the snapshot, and wherever the platform redirects.
pub fn unreachable(snapshot: &Snapshot, id: &WorkloadId) -> Vec<Unreachable> {
    let calls =
        |workload: &&Arc<Workload>| workload.outside.is_none() && !workload.declared.capture.takes_inbound();
    let workload = snapshot.workloads.get(id).filter(calls);
    workload.map_or_else(Vec::new, |workload| Reach::of(workload, snapshot).unreachable)
}

/// The service a workload belongs to.
pub fn service_key(workload: &Workload) -> ServiceKey {
    ServiceKey { namespace: workload.namespace.clone(), service: workload.declared.service.clone() }
}

/// The identity of a service.
///
/// # Errors
/// A part that cannot stand in a SPIFFE id.
pub fn identity(trust_domain: &str, service: &ServiceKey) -> Result<SpiffeId, InvalidSpiffeId> {
    SpiffeId::new(trust_domain, &service.namespace, &service.service)
}
