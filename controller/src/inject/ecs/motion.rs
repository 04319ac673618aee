//! The one service in motion: where it is, from what ECS shows, and the next order. Pure.

use super::memory::{Motion, Stage};
use super::plan::{Action, Limits};
use super::view::{Breaker, Deployment, Rollout, Service, Wish, last_part};

/// What comes of one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Where it is now; none: it is over.
    pub motion: Option<Motion>,
    /// The next order.
    pub action: Option<Action>,
    /// It is not to be tried again, and why.
    pub failed: Option<String>,
}

/// One look at it. A service that is gone, or whose tag is off, is not touched any more: ECS's circuit breaker goes on
/// watching the deployment.
pub fn step(motion: Motion, service: Option<&Service>, limits: Limits, now: u64) -> Step {
    let ours = service.filter(|service| service.active && service.wish() == Wish::Mesh);
    let Some(service) = ours else { return Step::default() };
    let Some(primary) = &service.primary else { return wait(motion) };
    match motion.stage.clone() {
        Stage::Going => going(motion, service, primary, limits, now),
        Stage::Returning { why } => returning(motion, service, primary, why, limits, now),
        Stage::Settling => settle(motion, service, limits, now),
    }
}

fn going(mut motion: Motion, service: &Service, primary: &Deployment, limits: Limits, now: u64) -> Step {
    if primary.definition == motion.to {
        motion.ordered.get_or_insert(now);
        return match primary.rollout {
            Rollout::Completed => end(motion, service, limits, now),
            Rollout::Failed => {
                let why = words(&primary.reason, "ECS's circuit breaker stopped the deployment");
                back(motion, service, primary, why, limits, now)
            }
            Rollout::InProgress if stands_still(&mut motion, primary, limits, now) => {
                let minutes = limits.patience / 60;
                let why = format!("no further task became healthy in {minutes} minutes");
                back(motion, service, primary, why, limits, now)
            }
            Rollout::InProgress => wait(motion),
        };
    }
    let stopped = service.others.iter().find(|other| other.definition == motion.to);
    let broken = primary.reason.contains("circuit breaker");
    if primary.id == motion.earlier && stopped.is_none() && !broken {
        if motion.ordered.is_none() {
            return order(motion, |motion| (motion.to.clone(), Some(Breaker::ON)), limits, now);
        }
        if is_fresh(&motion, limits, now) {
            return wait(motion);
        }
    }
    // ECS returns to the very deployment that it had, or to a new one of its revision.
    if primary.definition == motion.from {
        let reason = stopped.map(|stopped| stopped.reason.as_str()).unwrap_or_default();
        let why = words(reason, "ECS's circuit breaker stopped the deployment");
        return back(motion, service, primary, why, limits, now);
    }
    // Somebody deployed another revision: theirs goes on.
    end(motion, service, limits, now)
}

/// Begins the way back.
fn back(
    mut motion: Motion,
    service: &Service,
    primary: &Deployment,
    why: String,
    limits: Limits,
    now: u64,
) -> Step {
    motion.stage = Stage::Returning { why: why.clone() };
    (motion.ordered, motion.best, motion.progress) = (None, 0, now);
    returning(motion, service, primary, why, limits, now)
}

fn returning(
    mut motion: Motion,
    service: &Service,
    primary: &Deployment,
    why: String,
    limits: Limits,
    now: u64,
) -> Step {
    let failed = |step: Step, why: String| Step { failed: Some(why), ..step };
    if primary.definition == motion.to {
        return order(motion, |motion| (motion.from.clone(), None), limits, now);
    }
    if primary.definition != motion.from {
        return failed(end(motion, service, limits, now), why);
    }
    match primary.rollout {
        Rollout::Completed => failed(end(motion, service, limits, now), why),
        Rollout::Failed => {
            let why =
                format!("{why}; the return to {} failed too: {}", last_part(&motion.from), primary.reason);
            failed(end(motion, service, limits, now), why)
        }
        Rollout::InProgress if stands_still(&mut motion, primary, limits, now) => {
            let why = format!("{why}; the return to {} stands still", last_part(&motion.from));
            failed(end(motion, service, limits, now), why)
        }
        Rollout::InProgress => wait(motion),
    }
}

/// It is over, but for the circuit breaker's setting.
fn end(mut motion: Motion, service: &Service, limits: Limits, now: u64) -> Step {
    motion.stage = Stage::Settling;
    motion.ordered = None;
    settle(motion, service, limits, now)
}

/// Puts the setting back, unless somebody has changed it since.
fn settle(motion: Motion, service: &Service, limits: Limits, now: u64) -> Step {
    match motion.before {
        Some(breaker) if breaker != Breaker::ON && service.breaker == Breaker::ON => {
            if is_fresh(&motion, limits, now) {
                return wait(motion);
            }
            let action = Action::Settle { service: motion.service.clone(), breaker };
            Step { motion: Some(motion), action: Some(action), failed: None }
        }
        _ => Step::default(),
    }
}

/// Orders, or waits until what was ordered can be seen: what ECS answers lags behind.
fn order(
    motion: Motion,
    what: impl FnOnce(&Motion) -> (String, Option<Breaker>),
    limits: Limits,
    now: u64,
) -> Step {
    if is_fresh(&motion, limits, now) {
        return wait(motion);
    }
    let (to, breaker) = what(&motion);
    let action = Action::Order { service: motion.service.clone(), to, breaker };
    Step { motion: Some(motion), action: Some(action), failed: None }
}

fn is_fresh(motion: &Motion, limits: Limits, now: u64) -> bool {
    motion.ordered.is_some_and(|at| now.saturating_sub(at) < limits.unseen)
}

/// Each further task that runs is progress, so that a service of many tasks has its time.
fn stands_still(motion: &mut Motion, primary: &Deployment, limits: Limits, now: u64) -> bool {
    if primary.running > motion.best {
        (motion.best, motion.progress) = (primary.running, now);
    }
    now.saturating_sub(motion.progress) >= limits.patience
}

fn wait(motion: Motion) -> Step {
    Step { motion: Some(motion), action: None, failed: None }
}

fn words(reason: &str, otherwise: &str) -> String {
    if reason.is_empty() { otherwise.to_owned() } else { reason.trim_end_matches('.').to_owned() }
}

/// For people.
pub fn describe(motion: &Motion) -> String {
    let (from, to) = (last_part(&motion.from), last_part(&motion.to));
    match &motion.stage {
        Stage::Going if motion.ordered.is_none() => format!("is about to move from {from} to {to}"),
        Stage::Going => format!("moves from {from} to {to}; tasks of it that run: {}", motion.best),
        Stage::Returning { why } => format!("goes back from {to} to {from}: {why}"),
        Stage::Settling => "its circuit breaker gets its setting back".into(),
    }
}
