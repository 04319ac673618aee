//! What is known of definitions and services. A definition never changes, so it is asked for once; a service does, so it is
//! asked for again now and then. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::record::{Definition, Service, Task};

/// Definitions without a task that are kept; the others are asked for again when they are needed.
const UNUSED: usize = 1_000;
/// How old what is known of a service may be.
const AGE: Duration = Duration::from_secs(60);
/// Services that are asked for again in one go, the longest known first: 20 calls.
const AGAIN: usize = 200;
/// Listings in a row without a service, after which it is not there.
const ABSENT: u8 = 2;

/// Definitions and services of all clusters.
#[derive(Debug, Default)]
pub struct Book {
    /// By ARN; none: ECS does not tell of it any more.
    definitions: BTreeMap<String, Option<Arc<Definition>>>,
    /// By ARN of the cluster and name.
    services: BTreeMap<Name, Known>,
}

/// ARN of a cluster, and name of a service there.
pub type Name = (String, String);

#[derive(Debug)]
struct Known {
    /// None: ECS does not tell of it.
    service: Option<Arc<Service>>,
    read: Instant,
    unlisted: u8,
}

impl Book {
    /// Nothing more must be asked for before a task can be told of.
    pub fn covers(&self, task: &Task) -> bool {
        self.definitions.contains_key(&task.definition)
            && service_of(task).is_none_or(|name| self.services.contains_key(&name))
    }

    /// It was asked for.
    pub fn knows(&self, name: &Name) -> bool {
        self.services.contains_key(name)
    }

    /// The service with this ARN, if it is one of ours.
    pub fn name_of(&self, arn: &str) -> Option<Name> {
        let is = |known: &Known| known.service.as_ref().is_some_and(|service| service.arn == arn);
        self.services.iter().find(|(_, known)| is(known)).map(|(name, _)| name.clone())
    }

    /// Definitions that tasks have and that are not known; also those that ECS did not tell of, should it do so yet.
    pub fn unknown_definitions<'a>(&self, tasks: impl Iterator<Item = &'a Task>) -> BTreeSet<String> {
        let unknown = |task: &&Task| !matches!(self.definitions.get(&task.definition), Some(Some(_)));
        tasks.filter(unknown).map(|task| task.definition.clone()).collect()
    }

    /// Services to ask for: those that are not known, and some of those that were last read long ago.
    pub fn wanted_services(&self, mut listed: BTreeSet<Name>, now: Instant) -> BTreeSet<Name> {
        let old = |known: &Known| now.saturating_duration_since(known.read) >= AGE;
        let mut again: Vec<(Instant, &Name)> = self
            .services
            .iter()
            .filter(|(name, known)| listed.contains(*name) && old(known))
            .map(|(name, known)| (known.read, name))
            .collect();
        again.sort();
        let again: Vec<Name> = again.into_iter().take(AGAIN).map(|(_, name)| name.clone()).collect();
        listed.retain(|name| !self.services.contains_key(name));
        listed.extend(again);
        listed
    }

    /// Takes definitions that were asked for.
    pub fn defined(&mut self, told: Vec<(String, Option<Definition>)>) {
        self.definitions.extend(told.into_iter().map(|(arn, definition)| (arn, definition.map(Arc::new))));
    }

    /// Takes services that were asked for. One that ECS did not tell of keeps what was known.
    pub fn served(&mut self, asked: BTreeSet<Name>, told: Vec<Service>, now: Instant) {
        for service in told {
            let name = (service.cluster.clone(), service.name.clone());
            let known = self.services.get(&name).and_then(|known| known.service.clone());
            let service = known.filter(|known| **known == service).unwrap_or_else(|| Arc::new(service));
            self.services.insert(name, Known { service: Some(service), read: now, unlisted: 0 });
        }
        for name in asked {
            self.services.entry(name).or_insert(Known { service: None, read: now, unlisted: 0 });
        }
    }

    /// Takes a whole listing of services. What no task has and two listings do not name is forgotten.
    pub fn listed(&mut self, listed: &BTreeSet<Name>, tasks: &BTreeSet<Name>) {
        self.services.retain(|name, known| {
            let named = listed.contains(name) || tasks.contains(name);
            known.unlisted = if named { 0 } else { known.unlisted + 1 };
            known.unlisted < ABSENT
        });
    }

    /// Forgets definitions that no task has, when there are many.
    pub fn tidy<'a>(&mut self, tasks: impl Iterator<Item = &'a Task>) {
        let used: BTreeSet<&str> = tasks.map(|task| task.definition.as_str()).collect();
        if self.definitions.len() > used.len() + UNUSED {
            self.definitions.retain(|arn, _| used.contains(arn.as_str()));
        }
    }

    /// Those of some tasks.
    pub fn definitions<'a>(
        &self,
        tasks: impl Iterator<Item = &'a Task>,
    ) -> BTreeMap<String, Arc<Definition>> {
        let arns: BTreeSet<&String> = tasks.map(|task| &task.definition).collect();
        let known = |arn: &String| Some((arn.clone(), self.definitions.get(arn)?.clone()?));
        arns.into_iter().filter_map(known).collect()
    }

    /// All services, by ARN.
    pub fn services(&self) -> BTreeMap<String, Arc<Service>> {
        let all = self.services.values().filter_map(|known| known.service.clone());
        all.map(|service| (service.arn.clone(), service)).collect()
    }
}

/// The service that a task belongs to.
pub fn service_of(task: &Task) -> Option<Name> {
    Some((task.cluster.clone(), task.service.clone()?))
}

#[cfg(test)]
mod tests;
