//! Whether a replica takes traffic on a port: the one place that decides it.
//!
//! Several sources speak of a replica, each of its own matter: the platform of its life and of its own check, the sidecar
//! of itself, of where the application listens and of what the application answers. Each says what holds now, so that in
//! whichever order they speak the state is the same. A replica is ready when none objects; of several objections that of
//! its life goes first: whatever else says that it is well, one that stops takes no traffic.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::Arc;

use outrigger_model::{Checked, Health, Lifecycle, ServiceKey, Snapshot, Workload, WorkloadId};

use crate::{ports_of, service_key};

/// What each source says of one replica, as far as one port is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// A `compose run` container, which only calls.
    pub one_off: bool,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// What the platform's own check says.
    pub platform: Health,
    /// Its sidecar is ready; none: it has not reported.
    pub sidecar: Option<bool>,
    /// The application listens on the port.
    pub listening: bool,
    /// What the sidecar's health check says; none where none is wanted, or the sidecar does not know of it yet.
    pub checked: Option<Checked>,
    /// Its user gave it a weight of 0.
    pub weightless: bool,
    /// It has no sidecar: the registry that names it says all that is known of it.
    pub outside: bool,
}

/// Why a replica takes no traffic on a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// It stands for a service outside the mesh whose registry names nobody.
    #[error("its registry names no instance of it")]
    Unregistered,
    /// Its sidecar has not reported.
    #[error("no sidecar has reported yet")]
    NoSidecar,
    /// Its sidecar is not ready.
    #[error("its sidecar is not ready yet")]
    SidecarNotReady,
    /// The platform's check has not passed yet.
    #[error("its container's health check has not passed yet")]
    HealthStarting,
    /// The platform's check fails.
    #[error("its container's health check fails")]
    Unhealthy,
    /// Nothing listens there.
    #[error("nothing listens on port {0} there: start it, or correct outrigger.port or EXPOSE")]
    NotListening(u16),
    /// The sidecar's check has not passed since the application started.
    #[error("its health check has not passed yet{}", because(.0))]
    CheckPending(String),
    /// The sidecar's check fails.
    #[error("its health check fails{}", because(.0))]
    CheckFails(String),
    /// It was given no share.
    #[error("its weight is 0 (outrigger.weight): it is called by its own name only")]
    NoWeight,
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Ready, or why not.
pub type State = Result<(), NotReady>;

impl Facts {
    /// What is known of a replica.
    pub fn of(workload: &Workload, port: u16) -> Self {
        let observed = workload.observed.as_ref();
        let wanted = workload.declared.policy.check.as_ref().is_some_and(|check| check.is_on());
        // On ECS its sidecar may know it before the source does.
        let stops =
            observed.is_some_and(|observed| observed.stopping) && workload.lifecycle == Lifecycle::Running;
        Self {
            one_off: workload.one_off,
            lifecycle: if stops { Lifecycle::Stopping } else { workload.lifecycle },
            platform: workload.health,
            sidecar: observed.map(|observed| observed.ready),
            listening: observed.is_some_and(|observed| observed.listening.contains(&port)),
            checked: observed.filter(|_| wanted).and_then(|observed| observed.checked.clone()),
            weightless: workload.declared.weight == Some(0),
            outside: workload.outside.is_some(),
        }
    }

    /// The state of the replica on `port`.
    ///
    /// # Errors
    /// The first objection. The order is that of what must come first: its life, its sidecar, its platform's check, a
    /// listening port where the platform checks nothing, its own check, its weight.
    pub fn state(&self, port: u16) -> State {
        if self.one_off {
            return Err(NotReady::OneOff);
        }
        match self.lifecycle {
            Lifecycle::Running => {}
            Lifecycle::Stopping => return Err(NotReady::Stopping),
            Lifecycle::Paused => return Err(NotReady::Paused),
            Lifecycle::Stopped if self.outside => return Err(NotReady::Unregistered),
            Lifecycle::Stopped => return Err(NotReady::Stopped),
        }
        match self.sidecar {
            Some(true) => {}
            _ if self.outside => {}
            Some(false) => return Err(NotReady::SidecarNotReady),
            None => return Err(NotReady::NoSidecar),
        }
        match self.platform {
            Health::Healthy => {}
            Health::Starting => return Err(NotReady::HealthStarting),
            Health::Unhealthy => return Err(NotReady::Unhealthy),
            Health::Unchecked if self.listening || self.outside => {}
            Health::Unchecked => return Err(NotReady::NotListening(port)),
        }
        match &self.checked {
            None | Some(Checked::Passing) if self.weightless => Err(NotReady::NoWeight),
            None | Some(Checked::Passing) => Ok(()),
            Some(Checked::Pending(reason)) => Err(NotReady::CheckPending(reason.clone())),
            Some(Checked::Failing(reason)) => Err(NotReady::CheckFails(reason.clone())),
        }
    }
}

/// Whether `workload` takes traffic on `port`.
///
/// # Errors
/// The first reason why not.
pub fn readiness(workload: &Workload, port: u16) -> State {
    Facts::of(workload, port).state(port)
}

/// The states of all replicas as they were last told, so that each change is told once.
#[derive(Clone, Debug, Default)]
pub struct Ledger(BTreeMap<ServiceKey, Told>);

/// What was told of one service.
#[derive(Clone, Debug)]
struct Told {
    replicas: Vec<Arc<Workload>>,
    states: States,
}

type States = BTreeMap<(WorkloadId, u16), State>;

/// A replica came into balancing on a port, left it, or stays out for another reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The replica.
    pub workload: WorkloadId,
    /// Its name.
    pub name: String,
    /// The port.
    pub port: u16,
    /// What was told before; none: nothing.
    pub before: Option<State>,
    /// What holds now.
    pub now: State,
}

impl Transition {
    /// It took traffic before or takes it now.
    pub fn is_edge(&self) -> bool {
        self.now.is_ok() || self.before == Some(Ok(()))
    }
}

impl Ledger {
    /// Takes what is known now and gives what changed, ordered by workload and port. Another wording of the same reason is
    /// no change. What is not there any more is forgotten. A service whose replicas are the same allocations is not looked at.
    pub fn turn(&mut self, snapshot: &Snapshot) -> Vec<Transition> {
        let mut services: BTreeMap<ServiceKey, Vec<Arc<Workload>>> = BTreeMap::new();
        for workload in snapshot.workloads.values().filter(|workload| !workload.one_off) {
            services.entry(service_key(workload)).or_default().push(workload.clone());
        }
        // A replica may have come from one service to another.
        let (mut before, mut now) = (States::new(), States::new());
        let mut told = std::mem::take(&mut self.0);
        for (key, replicas) in services {
            let known = match told.remove(&key) {
                Some(known) if is_same_set(&known.replicas, &replicas) => known,
                known => {
                    before.extend(known.into_iter().flat_map(|known| known.states));
                    let states = states(&replicas);
                    now.extend(states.clone());
                    Told { replicas, states }
                }
            };
            self.0.insert(key, known);
        }
        before.extend(told.into_values().flat_map(|gone| gone.states));
        let changed = now.into_iter().filter_map(|(key, now)| {
            let before = before.remove(&key);
            let same = before.as_ref().is_some_and(|before| is_same(before, &now));
            let (workload, port) = key;
            let name = snapshot.workloads.get(&workload)?.name.clone();
            (!same).then_some(Transition { workload, name, port, before, now })
        });
        changed.collect()
    }
}

/// Of all replicas of one service.
fn states(replicas: &[Arc<Workload>]) -> States {
    let borrowed: Vec<&Workload> = replicas.iter().map(AsRef::as_ref).collect();
    let ports = ports_of(&borrowed);
    let of = |workload: &Arc<Workload>, port| ((workload.id.clone(), port), readiness(workload, port));
    ports.keys().flat_map(|port| replicas.iter().map(move |workload| of(workload, *port))).collect()
}

/// The very same workloads.
fn is_same_set(one: &[Arc<Workload>], other: &[Arc<Workload>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// Whether two states are the same, whatever their words.
fn is_same(before: &State, now: &State) -> bool {
    match (before, now) {
        (Ok(()), Ok(())) => true,
        (Err(before), Err(now)) => discriminant(before) == discriminant(now),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
