//! What is to be done next: from services and revisions as they are, and what is remembered, to one action at most. Pure.
//!
//! Nothing is done to a service without the tag. One service at a time is in motion. A revision that somebody put back
//! is moved from again [`MOST_HEALS`] times, and then reported.

use super::memory::{Memory, Motion, Stage};
use super::motion;
use super::refuse;
use super::view::{Breaker, Service, View, Wish, last_part};

/// Times that drift is healed, for each service and revision.
pub const MOST_HEALS: u32 = 2;

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

/// How a tagged service stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// `cart.shop`.
    pub service: String,
    /// In one word.
    pub state: State,
    /// `cart:7`.
    pub revision: String,
    /// What is done, awaited, or to be done.
    pub what: String,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its revision has a sidecar.
    Meshed,
    /// It will be moved, or would be.
    Planned,
    /// It is in motion.
    Moving,
    /// Something else must end first.
    Waiting,
    /// It cannot be, or is not to be any more: a problem.
    Refused,
}

impl State {
    /// As status and log have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meshed => "meshed",
            Self::Planned => "planned",
            Self::Moving => "moving",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
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
            let (service, from) = (moving.service.clone(), moving.from.clone());
            let step = motion::step(moving, found, limits, now);
            if let Some(why) = step.failed {
                memory.tried_mut(&service, &from).failed = Some(why);
            }
            memory.motion = step.motion;
            action = step.action;
        }
    }
    let mut standings = Vec::new();
    for service in view.services.values().filter(|service| service.active) {
        let Some(standing) = stand(service, view, &memory, leave) else { continue };
        let free = memory.motion.is_none() && action.is_none() && leave == Leave::Act;
        if free && standing.state == State::Planned && service.wish() == Wish::Mesh {
            let from = service.primary.as_ref().map(|primary| primary.definition.clone()).unwrap_or_default();
            action = Some(Action::Prepare { service: service.arn.clone(), from });
        }
        standings.push(standing);
    }
    standings.sort();
    Plan { memory, action, standings }
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
            let from = view.revisions.get(&primary.definition)?.from.clone()?;
            let earlier = service.others.iter().find(|other| other.definition == from)?;
            Some(Motion {
                service: service.arn.clone(),
                label: service.label(),
                to: primary.definition.clone(),
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

/// How a service stands; none without a tag.
fn stand(service: &Service, view: &View, memory: &Memory, leave: Leave) -> Option<Standing> {
    let wish = service.wish();
    if wish == Wish::Nothing {
        return None;
    }
    let primary = service.primary.as_ref();
    let of = |state, what: String| {
        let revision = primary.map(|primary| last_part(&primary.definition)).unwrap_or_default().to_owned();
        Some(Standing { service: service.label(), state, revision, what })
    };
    if let Some(motion) = memory.motion.as_ref().filter(|motion| motion.service == service.arn) {
        return of(State::Moving, motion::describe(motion));
    }
    if let Some(reason) = refuse::service(service) {
        return of(State::Refused, reason);
    }
    let Some(primary) = primary else { return of(State::Waiting, "it has no deployment yet".into()) };
    let Some(revision) = view.revisions.get(&primary.definition) else {
        return of(State::Waiting, "its task definition is being read".into());
    };
    if revision.meshed {
        let from = revision.from.as_deref().map(|from| format!(", made of {}", last_part(from)));
        return of(State::Meshed, format!("capture {}{}", revision.capture, from.unwrap_or_default()));
    }
    if !revision.refused.is_empty() {
        return of(State::Refused, format!("it cannot be meshed: {}", revision.refused.join("; ")));
    }
    let tried = memory.tried(&service.arn, &primary.definition).cloned().unwrap_or_default();
    if let Some(why) = tried.failed {
        return of(State::Refused, refuse::failed(&primary.definition, &why));
    }
    if tried.moves > MOST_HEALS {
        return of(State::Refused, refuse::drift(&primary.definition));
    }
    if !service.is_steady() {
        return of(State::Waiting, "a deployment is under way: it comes first".into());
    }
    if service.desired == 0 {
        return of(State::Waiting, "it is to have no task: it is moved once it has one".into());
    }
    let would = leave == Leave::Plan || wish == Wish::Plan;
    let drift =
        if tried.moves > 0 { format!(" (again: {} of {MOST_HEALS})", tried.moves) } else { String::new() };
    of(
        State::Planned,
        format!(
            "{} a meshed revision, capture {}{drift}",
            if would { "would get" } else { "gets" },
            revision.capture
        ),
    )
}

/// Remembers that a service is about to be moved: before the order is given, so that a count is never lost.
pub fn begin(memory: &mut Memory, service: &Service, from: &str, to: &str, now: u64) {
    let tried = memory.tried_mut(&service.arn, from);
    tried.moves += 1;
    tried.last = now;
    memory.motion = Some(Motion {
        service: service.arn.clone(),
        label: service.label(),
        from: from.to_owned(),
        to: to.to_owned(),
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
        memory.tried_mut(&motion.service, &motion.from).failed = Some(why.to_owned());
    }
}

#[cfg(test)]
mod tests;
