//! What is known of the engine's containers, event by event. No I/O: events and inspections go in, what to
//! do next comes out.

use std::collections::BTreeMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::record::{Container, Instance, Run, signal_number};
use super::time;
use crate::scope::Scope;

/// Containers by id.
pub type Containers = BTreeMap<String, Container>;

/// Seconds beyond the stop timeout after which a container that still runs was not asked to stop after all
/// (it took the signal for something else).
const STOP_MARGIN: u64 = 20;
const NANOS: u64 = 1_000_000_000;

/// The containers of a scope.
#[derive(Debug, Default)]
pub struct Tracker {
    scope: Scope,
    containers: Containers,
    stopping: BTreeMap<String, Intent>,
    /// Runs that have died: an inspection that was under way meanwhile still tells of them.
    dead: BTreeMap<String, Instance>,
}

/// Somebody asked a container to stop. Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Intent {
    /// When. A run that began later is not meant; one that began before is, also if it becomes known later.
    at: u64,
    /// When it counts no longer.
    until: u64,
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changed.
    Nothing,
    /// The containers changed.
    Changed,
    /// Look at this container again.
    Inspect(String),
    /// This container's run is over: the containers changed, and it is to be looked at again.
    Ended(String),
    /// This container is gone; whatever an inspection that is under way says of it is out of date.
    Gone(String),
}

impl Tracker {
    /// Knows nothing yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// All containers in scope, with the intents to stop.
    pub fn containers(&self) -> Containers {
        let mut containers = self.containers.clone();
        for id in self.stopping.keys() {
            if let Some(container) = containers.get_mut(id) {
                container.stopping = matches!(container.run, Run::Running(_) | Run::Paused(_));
            }
        }
        containers
    }

    /// Takes one event of the engine.
    pub fn event(&mut self, event: EventMessage) -> Effect {
        let actor = event.actor.unwrap_or_default();
        let attributes: BTreeMap<String, String> = actor.attributes.unwrap_or_default().into_iter().collect();
        let action = event.action.unwrap_or_default();
        if event.typ == Some(EventMessageTypeEnum::NETWORK) {
            return match attributes.get("container") {
                Some(id) if self.containers.contains_key(id) => Effect::Inspect(id.clone()),
                _ => Effect::Nothing,
            };
        }
        let Some(id) = actor.id else { return Effect::Nothing };
        if !self.containers.contains_key(&id) && !self.scope.concerns(&attributes) {
            return Effect::Nothing;
        }
        match action.as_str() {
            "destroy" => {
                self.remove(&id);
                Effect::Gone(id)
            }
            "kill" => self.kill(&id, &attributes, event.time_nano),
            "die" => self.die(id, event.time_nano),
            _ => Effect::Inspect(id),
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        self.stopping.remove(id);
        self.dead.remove(id);
        self.containers.remove(id).is_some()
    }

    /// Known at once, not only from the inspection: what looks alive without its sidecar would be given another.
    fn die(&mut self, id: String, at: Option<i64>) -> Effect {
        let at = nanos(at);
        let Some(container) = self.containers.get_mut(&id) else { return Effect::Inspect(id) };
        let Some(instance) = container.instance().filter(|known| at >= known.started_nanos()).cloned() else {
            return Effect::Inspect(id);
        };
        container.end();
        self.dead.insert(id.clone(), instance);
        Effect::Ended(id)
    }

    /// What an inspection says of a run that has died is out of date.
    fn bury(&mut self, container: &mut Container) {
        let Some(dead) = self.dead.get(&container.id) else { return };
        match container.instance() {
            Some(instance) if instance == dead => container.end(),
            Some(_) => drop(self.dead.remove(&container.id)),
            None => {}
        }
    }

    /// SIGTERM, SIGINT, SIGKILL and the container's own stop signal ask it to stop; others do not.
    fn kill(&mut self, id: &str, attributes: &BTreeMap<String, String>, at: Option<i64>) -> Effect {
        let Some(container) = self.containers.get(id) else { return Effect::Inspect(id.to_owned()) };
        let signal = attributes.get("signal").and_then(|text| signal_number(text));
        let stops =
            |signal| [libc::SIGTERM, libc::SIGINT, libc::SIGKILL, container.stop_signal].contains(&signal);
        let at = nanos(at);
        // An event that is told again after a reconnect may be about an earlier run.
        let earlier_run = container.instance().is_some_and(|instance| at < instance.started_nanos());
        if earlier_run || !signal.is_some_and(stops) {
            return Effect::Nothing;
        }
        let until = at.saturating_add((container.stop_timeout + STOP_MARGIN) * NANOS);
        self.stopping.insert(id.to_owned(), Intent { at, until });
        Effect::Changed
    }

    /// Starts from what an earlier tracker knew: its intents to stop hold on.
    pub fn resume(&mut self, known: &Containers, now: u64) {
        for container in known.values().filter(|container| container.stopping) {
            let until = now.saturating_add((container.stop_timeout + STOP_MARGIN) * NANOS);
            // Of the run that is known, and of no other.
            self.stopping.insert(container.id.clone(), Intent { at: 0, until });
        }
        self.containers = known.clone();
        self.containers.values_mut().for_each(|container| container.stopping = false);
    }

    /// Takes an inspection; none: there is no such container any more. True when something changed.
    pub fn inspected(&mut self, id: &str, container: Option<Container>) -> bool {
        match container {
            None => self.remove(id),
            Some(container) if !self.scope.concerns(&container.labels) => false,
            Some(mut container) => {
                self.bury(&mut container);
                let known = self.containers.get(id);
                if known == Some(&container) {
                    return false;
                }
                if known.and_then(Container::instance) != container.instance() && !self.is_meant(&container) {
                    self.stopping.remove(id);
                }
                self.containers.insert(id.to_owned(), container);
                true
            }
        }
    }

    /// Whether the intent to stop a container is about the run that is now known of it.
    fn is_meant(&self, container: &Container) -> bool {
        let intent = self.stopping.get(&container.id);
        let run = container.instance();
        intent.zip(run).is_some_and(|(intent, run)| intent.at >= run.started_nanos())
    }

    /// Takes a whole listing. What it does not name is gone.
    pub fn listed(&mut self, mut containers: Containers, now: u64) {
        containers.values_mut().for_each(|container| self.bury(container));
        self.dead.retain(|id, _| containers.contains_key(id));
        let known = std::mem::replace(&mut self.containers, containers);
        self.containers.retain(|_, container| self.scope.concerns(&container.labels));
        let run =
            |containers: &Containers, id: &str| containers.get(id).and_then(Container::instance).cloned();
        let containers = &self.containers;
        self.stopping.retain(|id, intent| {
            let runs = run(containers, id);
            let meant = |instance: &Instance| intent.at >= instance.started_nanos();
            intent.until > now && runs.as_ref().is_some_and(|now| meant(now) || runs == run(&known, id))
        });
    }
}

fn nanos(at: Option<i64>) -> u64 {
    at.and_then(|at| u64::try_from(at).ok()).unwrap_or_else(time::now_nanos)
}

#[cfg(test)]
mod tests;
