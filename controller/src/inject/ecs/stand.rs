//! How a tagged service stands, in one word and a sentence. Pure.

use super::memory::Memory;
use super::motion;
use super::plan::{Leave, MOST_FAILED, MOST_HEALS};
use super::refuse;
use super::view::{Deployment, Revision, Service, View, Wish, last_part};

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
    /// It has a sidecar, and is about to get another.
    pub roll: bool,
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
    /// It keeps its sidecar, since the newer one failed in other services.
    Kept,
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
            Self::Kept => "kept",
            Self::Refused => "refused",
        }
    }
}

/// Names of services that are back from what an injection of now makes of them, with the sidecar that they had.
pub fn failed_rolls(view: &View, memory: &Memory) -> Vec<String> {
    let asked = view.services.values().filter(|service| service.active && service.wish() == Wish::Mesh);
    let failed = asked.filter(|service| {
        let Some(primary) = &service.primary else { return false };
        let Some(revision) = view.revisions.get(&primary.definition) else { return false };
        let tried = memory.tried(&service.arn, &primary.definition, &revision.wanted);
        rolls(service, primary, revision, memory) && tried.is_some_and(|tried| tried.failed.is_some())
    });
    failed.map(Service::label).collect()
}

/// It is meshed, and would be meshed otherwise now.
fn rolls(service: &Service, primary: &Deployment, revision: &Revision, memory: &Memory) -> bool {
    let news = !revision.news.is_empty() || !revision.refused.is_empty();
    revision.meshed && news && !memory.made(&service.arn, &primary.definition, &revision.wanted)
}

/// How a service stands; none without a tag. `failed`: of [`failed_rolls`].
pub fn stand(
    service: &Service,
    view: &View,
    memory: &Memory,
    leave: Leave,
    failed: &[String],
) -> Option<Standing> {
    let wish = service.wish();
    if wish == Wish::Nothing {
        return None;
    }
    let primary = service.primary.as_ref();
    let (state, what, roll) =
        if let Some(motion) = memory.motion.as_ref().filter(|m| m.service == service.arn) {
            (State::Moving, motion::describe(motion), false)
        } else if let Some(reason) = refuse::service(service) {
            (State::Refused, reason, false)
        } else if let Some(primary) = primary {
            match view.revisions.get(&primary.definition) {
                Some(revision) if !revision.meshed || rolls(service, primary, revision, memory) => {
                    let would = leave == Leave::Plan || wish == Wish::Plan;
                    let (state, what) = turn(service, primary, revision, memory, would, failed);
                    match view.denied.get(&service.arn).filter(|_| state == State::Planned && !would) {
                        Some(why) => (State::Refused, refuse::denied(why), revision.meshed),
                        None => (state, what, revision.meshed),
                    }
                }
                Some(revision) => {
                    let from = revision.from.as_deref().map(|from| format!(", made of {}", last_part(from)));
                    let what = format!("capture {}{}", revision.capture, from.unwrap_or_default());
                    (State::Meshed, what, false)
                }
                None => (State::Waiting, "its task definition is being read".into(), false),
            }
        } else {
            (State::Waiting, "it has no deployment yet".into(), false)
        };
    let revision = primary.map(|primary| last_part(&primary.definition)).unwrap_or_default().to_owned();
    Some(Standing { service: service.label(), state, revision, what, roll })
}

/// Whether it is the turn of a service that is to get another revision.
fn turn(
    service: &Service,
    primary: &Deployment,
    revision: &Revision,
    memory: &Memory,
    would: bool,
    failed: &[String],
) -> (State, String) {
    let definition = &primary.definition;
    if !revision.refused.is_empty() {
        return (State::Refused, refuse::unmeshable(revision));
    }
    let tried = memory.tried(&service.arn, definition, &revision.wanted).cloned().unwrap_or_default();
    if let Some(why) = tried.failed {
        return (State::Refused, refuse::failed(definition, revision, &why));
    }
    if tried.moves > MOST_HEALS {
        return (State::Refused, refuse::drift(definition));
    }
    if revision.meshed && !would && failed.len() >= MOST_FAILED {
        return (State::Kept, refuse::kept(revision, failed));
    }
    if !service.is_steady() {
        return (State::Waiting, "a deployment is under way: it comes first".into());
    }
    if service.desired == 0 {
        return (State::Waiting, "it is to have no task: it is moved once it has one".into());
    }
    let gets = if would { "would get" } else { "gets" };
    let what = if revision.meshed {
        format!("{gets} a new revision: {}", revision.news.join("; "))
    } else {
        format!("{gets} a meshed revision, capture {}", revision.capture)
    };
    let again =
        if tried.moves > 0 { format!(" (again: {} of {MOST_HEALS})", tried.moves) } else { String::new() };
    (State::Planned, what + &again)
}
