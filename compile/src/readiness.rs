//! Whether a replica takes traffic on a port, and if not, why.

use outrigger_model::{Health, Lifecycle, Workload};

/// Why a replica takes no traffic on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// A `compose run` container.
    #[error("a one-off container is never an endpoint")]
    OneOff,
    /// Frozen.
    #[error("paused")]
    Paused,
    /// Asked to stop.
    #[error("stopping")]
    Stopping,
    /// Not running.
    #[error("not running")]
    Stopped,
    /// Its sidecar has not reported.
    #[error("no sidecar has reported yet")]
    NoSidecar,
    /// Its sidecar is not ready.
    #[error("its sidecar is not ready yet")]
    SidecarNotReady,
    /// Its health check has not passed yet.
    #[error("its health check has not passed yet")]
    HealthStarting,
    /// Its health check fails.
    #[error("its health check fails")]
    Unhealthy,
    /// Nothing listens there.
    #[error("nothing listens on port {0} there: start it, or correct outrigger.port or EXPOSE")]
    NotListening(u16),
}

/// Whether `workload` takes traffic on `port`: it runs, its sidecar is ready, and its health check passes
/// or, where it has none, something listens.
///
/// # Errors
/// The first reason why not.
pub fn readiness(workload: &Workload, port: u16) -> Result<(), NotReady> {
    if workload.one_off {
        return Err(NotReady::OneOff);
    }
    match workload.lifecycle {
        Lifecycle::Running => {}
        Lifecycle::Paused => return Err(NotReady::Paused),
        Lifecycle::Stopping => return Err(NotReady::Stopping),
        Lifecycle::Stopped => return Err(NotReady::Stopped),
    }
    let observed = workload.observed.as_ref().ok_or(NotReady::NoSidecar)?;
    if !observed.ready {
        return Err(NotReady::SidecarNotReady);
    }
    match workload.health {
        Health::Healthy => Ok(()),
        Health::Starting => Err(NotReady::HealthStarting),
        Health::Unhealthy => Err(NotReady::Unhealthy),
        Health::Unchecked if observed.listening.contains(&port) => Ok(()),
        Health::Unchecked => Err(NotReady::NotListening(port)),
    }
}
