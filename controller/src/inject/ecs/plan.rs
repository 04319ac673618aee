//! What is to be done next: from services and revisions as they are, and what is remembered, to one action at most. Pure.
//!
//! Nothing is done to a service without the tag. One service at a time is in motion. A revision that somebody put back
//! is moved from again [`MOST_HEALS`] times, and then reported. A meshed revision that an injection of now would make otherwise (a
//! newer sidecar image) is moved from like one without a sidecar, after all of these; and not where that failed
//! in [`MOST_FAILED`] services already.

use super::memory::{Memory, Motion, Stage};
use super::motion;
pub use super::stand::{Standing, State};
use super::stand::{failed_rolls, stand};
use super::view::{Breaker, Service, View, Wish};

/// Times that drift is healed, for each service and revision.
pub const MOST_HEALS: u32 = 2;
/// Services that may fail with a newer sidecar before the others keep theirs.
pub const MOST_FAILED: usize = 2;

/// What the setting allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Only plan.
    Plan,
    /// Do it.
    Act,
}

/// How long is waited, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Without a further healthy task, before the service goes back.
    pub patience: u64,
    /// Until ECS must show what was ordered, before it is ordered again.
    pub unseen: u64,
}

/// One thing to do. Each names the service by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the meshed revision of `from`, unless there is one, and remember a motion to it.
    Prepare {
        /// The service.
        service: String,
        /// Its revision now.
        from: String,
    },
    /// Tell ECS to move it to another revision, with this setting of the circuit breaker.
    Order {
        /// The service.
        service: String,
        /// The revision.
        to: String,
        /// The circuit breaker; none: as it is.
        breaker: Option<Breaker>,
    },
    /// Put the setting of the circuit breaker back.
    Settle {
        /// The service.
        service: String,
        /// The setting.
        breaker: Breaker,
    },
}

impl Action {
    /// ARN of the service.
    pub fn service(&self) -> &str {
        match self {
            Self::Prepare { service, .. } | Self::Order { service, .. } | Self::Settle { service, .. } => {
                service
            }
        }
    }
}

/// What comes of it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What is to be remembered before anything is done.
    pub memory: Memory,
    /// The next thing to do.
    pub action: Option<Action>,
    /// All tagged services.
    pub standings: Vec<Standing>,
}

/// Plans. `now`: Unix seconds.
pub fn plan(view: &View, memory: &Memory, leave: Leave, limits: Limits, now: u64) -> Plan {
    let mut memory = memory.clone();
    forget(view, &mut memory);
    let mut action = None;
    if leave == Leave::Act {
        adopt(view, &mut memory, now);
        if let Some(moving) = memory.motion.take() {
            let found = view.services.get(&moving.service);
            let (service, from, wanted) =
                (moving.service.clone(), moving.from.clone(), moving.wanted.clone());
            let step = motion::step(moving, found, limits, now);
            if let Some(why) = step.failed {
                memory.tried_mut(&service, &from, &wanted).failed = Some(why);
            }
            memory.motion = step.motion;
            action = step.action;
        }
    }
    let failed = failed_rolls(view, &memory);
    let mut standings = Vec::new();
    let mut next = None;
    for service in view.services.values().filter(|service| service.active) {
        let Some(standing) = stand(service, view, &memory, leave, &failed) else { continue };
        if standing.state == State::Planned && service.wish() == Wish::Mesh {
            next = earlier(next, (standing.roll, service));
        }
        standings.push(standing);
    }
    let free = memory.motion.is_none() && action.is_none() && leave == Leave::Act;
    if let Some((_, service)) = next.filter(|_| free) {
        let from = service.primary.as_ref().map(|primary| primary.definition.clone()).unwrap_or_default();
        action = Some(Action::Prepare { service: service.arn.clone(), from });
    }
    standings.sort();
    Plan { memory, action, standings }
}

/// Which of two comes first: one without a sidecar waits for no roll of others.
fn earlier<'a>(one: Option<(bool, &'a Service)>, other: (bool, &'a Service)) -> Option<(bool, &'a Service)> {
    match one {
        Some(one) if one.0 <= other.0 => Some(one),
        _ => Some(other),
    }
}

/// A service whose tag is off, or which is gone, begins anew when the tag comes back: that is how one tries again.
fn forget(view: &View, memory: &mut Memory) {
    let moving = memory.motion.as_ref().map(|motion| motion.service.clone());
    memory.tries.retain(|arn, _| {
        let found = view.services.get(arn);
        moving.as_ref() == Some(arn) || found.is_some_and(|service| service.wish() != Wish::Nothing)
    });
}

/// A move that is under way and not remembered: the state was lost.
fn adopt(view: &View, memory: &mut Memory, now: u64) {
    if memory.motion.is_some() {
        return;
    }
    memory.motion =
        view.services.values().filter(|service| service.wish() == Wish::Mesh).find_map(|service| {
            let primary = service.primary.as_ref().filter(|_| !service.is_steady())?;
            let revision = view.revisions.get(&primary.definition).filter(|revision| revision.meshed)?;
            let from = revision.from.clone()?;
            let earlier = service.others.iter().find(|other| other.definition == from)?;
            Some(Motion {
                service: service.arn.clone(),
                label: service.label(),
                to: primary.definition.clone(),
                wanted: revision.wanted.clone(),
                earlier: earlier.id.clone(),
                before: None,
                stage: Stage::Going,
                ordered: Some(now),
                best: 0,
                progress: now,
                from,
            })
        });
}

/// Remembers that a service is about to be moved: before the order is given, so that a count is never lost. `wanted` names what was made
/// of `from` (`Revision::wanted`).
pub fn begin(memory: &mut Memory, service: &Service, from: &str, to: &str, wanted: &str, now: u64) {
    let tried = memory.tried_mut(&service.arn, from, wanted);
    tried.moves += 1;
    (tried.last, tried.to) = (now, to.to_owned());
    memory.motion = Some(Motion {
        service: service.arn.clone(),
        label: service.label(),
        from: from.to_owned(),
        to: to.to_owned(),
        wanted: wanted.to_owned(),
        earlier: service.primary.as_ref().map(|primary| primary.id.clone()).unwrap_or_default(),
        before: Some(service.breaker),
        stage: Stage::Going,
        ordered: None,
        best: 0,
        progress: now,
    });
}

/// ECS says no to an order, and will say no again: the motion is over, and the revision is not tried again.
pub fn refused(memory: &mut Memory, why: &str) {
    if let Some(motion) = memory.motion.take() {
        memory.tried_mut(&motion.service, &motion.from, &motion.wanted).failed = Some(why.to_owned());
    }
}

/// An order was not let through: nothing has happened, and it counts as nothing.
pub fn put_off(memory: &mut Memory) {
    if let Some(motion) = memory.motion.take() {
        let tried = memory.tried_mut(&motion.service, &motion.from, &motion.wanted);
        tried.moves = tried.moves.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
