//! What the services of a project are to the mesh: to be meshed, meshed before, ours, or none of its business.

use std::collections::BTreeMap;

use outrigger_model::label::{APP, ENABLE, MANAGED};
use serde_yaml::{Mapping, Value};

use crate::Remark;
use crate::compose::controller::is_controller;
use crate::compose::part::Part;
use crate::compose::tree::{field, is_open, pairs};

/// One service of the project.
pub struct Service<'a> {
    /// Its name.
    pub name: &'a str,
    /// All that compose says of it.
    pub body: &'a Mapping,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whose network it has.
    pub network: Network,
}

/// Whose network a service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Its own, on networks of the project.
    Own,
    /// Its own, on one that `network_mode` names: `bridge` and the like.
    Mode(String),
    /// That of another service.
    Service(String),
    /// The host's, a foreign container's, or none at all.
    Foreign(String),
    /// A variable says.
    Open(String),
}

/// What a service is to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The mesh's own.
    Controller,
    /// Made by injection.
    Part(Part),
    /// An application that was meshed before.
    Done,
    /// To be meshed: its label says so, or that of the whole project.
    Wanted {
        /// Its own label says so.
        by_label: bool,
    },
    /// Left as it is.
    Plain,
}

/// What all services are.
pub struct Survey {
    kinds: BTreeMap<String, Kind>,
    networks: BTreeMap<String, Network>,
    /// Services meshed before: names of all replicas, in order, by the name of the first.
    pub done: BTreeMap<String, Vec<String>>,
    /// The controllers, by name.
    pub controllers: Vec<String>,
}

/// The services, in their order.
pub fn read(project: &Value) -> Result<Vec<Service<'_>>, Remark> {
    let services = project.get("services").and_then(Value::as_mapping).ok_or_else(|| {
        Remark::project(
            "not a compose project: it has no `services`; give the files that `docker compose up` takes",
        )
    })?;
    let mut found = Vec::new();
    for (name, body) in services {
        let (Some(name), Some(body)) = (name.as_str(), body.as_mapping()) else {
            let name = name.as_str().unwrap_or("?");
            return Err(Remark::of(
                name,
                "is not a mapping: render the project with `config` of compose first",
            ));
        };
        let labels = pairs(body.get("labels"));
        found.push(Service { name, body, labels, network: network(body) });
    }
    Ok(found)
}

/// How many replicas are asked for, as written, and the key that says it.
pub fn said_replicas(body: &Mapping) -> Option<(&'static str, String)> {
    let scale = || Some(("scale", field(body, "scale")?));
    let deploy = || Some(("deploy.replicas", field(body.get("deploy")?.as_mapping()?, "replicas")?));
    scale().or_else(deploy)
}

fn network(body: &Mapping) -> Network {
    let Some(mode) = field(body, "network_mode") else { return Network::Own };
    match mode.split_once(':') {
        _ if is_open(&mode) => Network::Open(mode),
        Some(("service", name)) => Network::Service(name.to_owned()),
        Some(("container", _)) => Network::Foreign(mode),
        _ if mode == "host" || mode == "none" => Network::Foreign(mode),
        _ => Network::Mode(mode),
    }
}

impl Survey {
    /// Looks at all services.
    pub fn of(services: &[Service<'_>]) -> Self {
        let controllers: Vec<String> = services
            .iter()
            .filter(|service| is_controller(service))
            .map(|service| service.name.to_owned())
            .collect();
        let whole = services.iter().any(|service| {
            controllers.iter().any(|name| name == service.name)
                && service.labels.get(ENABLE).is_some_and(|on| on == "true")
        });
        let apps = apps_of_holders(services);
        let mut survey =
            Self { kinds: BTreeMap::new(), networks: BTreeMap::new(), done: BTreeMap::new(), controllers };
        for service in services {
            let kind = survey.kind(service, whole, &apps);
            if let (Kind::Done, Network::Service(holder)) = (&kind, &service.network) {
                let first = apps.get(holder.as_str()).copied().unwrap_or(service.name);
                survey.done.entry(first.to_owned()).or_default().push(service.name.to_owned());
            }
            survey.kinds.insert(service.name.to_owned(), kind);
            survey.networks.insert(service.name.to_owned(), service.network.clone());
        }
        survey
    }

    fn kind(&self, service: &Service<'_>, whole: bool, apps: &BTreeMap<&str, &str>) -> Kind {
        if self.controllers.iter().any(|name| name == service.name) {
            return Kind::Controller;
        }
        if let Some(part) = part(service) {
            return Kind::Part(part);
        }
        if let Network::Service(holder) = &service.network
            && apps.contains_key(holder.as_str())
            && *holder == Part::Holder.beside(service.name)
        {
            return Kind::Done;
        }
        match service.labels.get(ENABLE).map(String::as_str) {
            Some("true") => Kind::Wanted { by_label: true },
            None if whole => Kind::Wanted { by_label: false },
            _ => Kind::Plain,
        }
    }

    /// What a service is; one that is not there is plain.
    pub fn kind_of(&self, service: &str) -> &Kind {
        self.kinds.get(service).unwrap_or(&Kind::Plain)
    }

    /// True for the name of a service of the project.
    pub fn has(&self, service: &str) -> bool {
        self.kinds.contains_key(service)
    }

    /// The service at the end of a chain of `network_mode: service:…`: whose namespace it really is.
    /// None: the chain bites its own tail.
    pub fn namespace_of(&self, service: &str) -> Option<String> {
        let mut at = service;
        for _ in 0..=self.networks.len() {
            match (self.kind_of(at), self.networks.get(at)) {
                (Kind::Done, _) => return Some(at.to_owned()),
                (_, Some(Network::Service(next))) => at = next,
                _ => return Some(at.to_owned()),
            }
        }
        None
    }
}

/// By the name of a holder: the application that it was made for.
fn apps_of_holders<'a>(services: &'a [Service<'_>]) -> BTreeMap<&'a str, &'a str> {
    let holders = services.iter().filter(|service| part(service) == Some(Part::Holder));
    holders.filter_map(|holder| Some((holder.name, holder.labels.get(APP)?.as_str()))).collect()
}

fn part(service: &Service<'_>) -> Option<Part> {
    let managed = service.labels.get(MANAGED)?;
    Part::ALL.into_iter().find(|part| part.as_str() == managed)
}
