//! Namespace holders, which static injection writes: who is joined to which, and what the replica as a whole is. Pure.

use std::collections::BTreeMap;

use outrigger_model::label::{APP, HOLDER, MANAGED, MESH, REPLICA};
use outrigger_model::{Health, Lifecycle};

use super::record::{Container, Run};
use super::tracker::Containers;
use crate::scope::{COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE, Scope};

/// A holder of the scope and what is joined to it.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// Owns the network namespace; its id is the workload's.
    pub holder: &'a Container,
    /// The application, once it is created.
    pub app: Option<&'a Container>,
    /// Its sidecar.
    pub sidecar: Option<&'a Container>,
    /// Further processes that a user joined: they share namespace, sidecar and identity.
    pub others: Vec<&'a Container>,
}

/// All holders of the scope, by container id.
pub fn holders<'a>(containers: &'a Containers, scope: &Scope) -> BTreeMap<&'a str, Held<'a>> {
    let ours = containers.values().filter(|c| is_holder(c) && scope.holds(&c.labels));
    let mut held: BTreeMap<&str, Held<'_>> = ours
        .map(|holder| (holder.id.as_str(), Held { holder, app: None, sidecar: None, others: Vec::new() }))
        .collect();
    for container in containers.values() {
        let Some(holder) = holder_of(container, containers) else { continue };
        let Some(held) = held.get_mut(holder.id.as_str()) else { continue };
        match container.label(MANAGED) {
            None => held.join(container),
            Some("sidecar") if container.label(MESH).is_none() => {
                let first = held.sidecar.filter(|first| first.created >= container.created);
                held.sidecar = Some(first.unwrap_or(container));
            }
            Some(_) => {}
        }
    }
    held
}

/// Whether static injection wrote this container as a namespace holder.
pub fn is_holder(container: &Container) -> bool {
    container.label(MANAGED) == Some(HOLDER)
}

/// The holder whose namespace a container is joined to, of any scope.
pub fn holder_of<'a>(container: &Container, containers: &'a Containers) -> Option<&'a Container> {
    let target = owner(container)?;
    let by_name = || containers.values().find(|candidate| candidate.name == target);
    containers.get(target).or_else(by_name).filter(|found| is_holder(found))
}

/// Whether the holder that a container was joined to is gone: a sidecar of ours is joined to the same one.
pub fn is_orphan(container: &Container, containers: &Containers) -> bool {
    let Some(target) = owner(container).filter(|_| holder_of(container, containers).is_none()) else {
        return false;
    };
    let ours = |c: &Container| c.label(MANAGED) == Some("sidecar") && c.label(MESH).is_none();
    !containers.contains_key(target) && containers.values().any(|c| ours(c) && owner(c) == Some(target))
}

/// Id or name of the container whose namespace this one is joined to.
pub fn owner(container: &Container) -> Option<&str> {
    container.network_mode.strip_prefix("container:")
}

impl<'a> Held<'a> {
    /// The application is the container of the service that was injected; `compose run` makes others of it, and compose
    /// keeps an old one for a moment when it makes a new one.
    fn join(&mut self, container: &'a Container) {
        let rank = |candidate: &Container| {
            let service = candidate.label(COMPOSE_SERVICE);
            let one_off = is_one_off(candidate);
            let named = service.is_some() && service == self.service().as_deref();
            (named, !one_off, candidate.instance().is_some(), candidate.created)
        };
        match self.app {
            Some(app) if rank(app) >= rank(container) => self.others.push(container),
            Some(app) => {
                self.app = Some(container);
                self.others.push(app);
            }
            None => self.app = Some(container),
        }
    }

    /// Compose service of the application: `cart`, or `cart-2` for the second replica.
    fn service(&self) -> Option<String> {
        let app = self.holder.label(APP)?;
        Some(match self.holder.label(REPLICA) {
            None | Some("1") => app.to_owned(),
            Some(replica) => format!("{app}-{replica}"),
        })
    }

    /// `shop-cart-2`: as compose would have called the replica.
    pub fn name(&self) -> String {
        let Some(app) = self.holder.label(APP) else { return self.holder.name.clone() };
        let replica = self.holder.label(REPLICA).unwrap_or("1");
        match self.holder.label(COMPOSE_PROJECT) {
            Some(project) => format!("{project}-{app}-{replica}"),
            None => format!("{app}-{replica}"),
        }
    }

    /// Whether a joined container runs in the namespace that the holder owns now: one that is older than the holder's
    /// run is stranded in the namespace of an earlier one, which is dead.
    pub fn is_current(&self, joined: &Container) -> bool {
        let (Some(joined), Some(holder)) = (joined.instance(), self.holder.instance()) else { return false };
        joined.started_nanos() >= holder.started_nanos()
    }

    /// The sidecar, where it runs in the present namespace.
    pub fn current_sidecar(&self) -> Option<&'a Container> {
        self.sidecar.filter(|sidecar| self.is_current(sidecar))
    }

    /// Where the replica is in its life: the application's, as long as the namespace is there.
    pub fn lifecycle(&self) -> Lifecycle {
        let Some(app) = self.app.filter(|app| self.is_current(app)) else { return Lifecycle::Stopped };
        let paused = |container: &Container| matches!(container.run, Run::Paused(_));
        match (app.stopping || self.holder.stopping, paused(app) || paused(self.holder)) {
            (true, _) => Lifecycle::Stopping,
            (false, true) => Lifecycle::Paused,
            (false, false) => Lifecycle::Running,
        }
    }

    /// What the application's health check says.
    pub fn health(&self) -> Health {
        self.app.map_or(Health::Unchecked, |app| app.health)
    }
}

/// `compose run`.
pub fn is_one_off(container: &Container) -> bool {
    container.label(COMPOSE_ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests;
