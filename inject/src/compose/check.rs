//! Can it be meshed, and how: all refusals at once, or a plan that cannot fail.

mod between;
mod service;

use std::collections::BTreeMap;

use outrigger_model::Declared;
use outrigger_model::mesh::Fault;
use serde_yaml::Value;

use crate::compose::controller::{Control, control};
use crate::compose::part::{Part, replicas};
use crate::compose::port::Port;
use crate::compose::project::{Kind, Network, Service, Survey};
use crate::compose::template::Templates;
use crate::compose::tree::is_open;
use crate::compose::{Options, Remark};

/// What is to be done.
pub struct Checked {
    /// The services that are meshed now, in their order.
    pub plans: Vec<Plan>,
    /// All replicas of each meshed service, new or meshed before, by the name of the first.
    pub replicas: BTreeMap<String, Vec<String>>,
    /// Services that join the network namespace of a meshed one: theirs and that one's name.
    pub joined: BTreeMap<String, String>,
    /// What sidecars get from their controller.
    pub control: Control,
    /// What the added services look like.
    pub templates: Templates,
    /// What a user should know.
    pub warnings: Vec<Remark>,
}

/// One service to be meshed.
pub struct Plan {
    /// Its name.
    pub app: String,
    /// Names of its replicas; the first is its own.
    pub replicas: Vec<String>,
    /// What its labels say.
    pub declared: Declared,
}

/// A service to be meshed, and what was found out about it.
struct Candidate<'a> {
    service: &'a Service<'a>,
    declared: Declared,
    ports: Vec<Port>,
    replicas: u32,
    /// What of its labels the mesh file overrules.
    overruled: Vec<Fault>,
}

/// Checks everything.
///
/// # Errors
/// Every refusal, in the order of the services.
pub fn check(
    services: &[Service<'_>],
    survey: &Survey,
    project: &Value,
    options: &Options,
) -> Result<Checked, Vec<Remark>> {
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    let mut candidates = Vec::new();
    let mut joined = BTreeMap::new();
    let said = project.get("name").and_then(Value::as_str).filter(|name| !is_open(name));
    let namespace_name = options.namespace.as_deref().or(said).unwrap_or_default();
    for service in services {
        let Kind::Wanted { by_label } = *survey.kind_of(service.name) else {
            refusals.extend(service::labels(service, survey));
            continue;
        };
        match namespace(service, by_label, survey) {
            Ok(None) => {}
            Ok(Some(_)) => continue, // it comes behind the sidecar of the service that it joins
            Err(refusal) => refusals.push(refusal),
        }
        if service.body.contains_key("provider") && !by_label {
            warnings.push(Remark::of(service.name, "is not a container (`provider`): left as it is"));
            continue;
        }
        match service::candidate(service, &options.mesh, namespace_name) {
            Ok(candidate) if candidate.replicas == 0 => {}
            Ok(candidate) => {
                warnings.extend(service::warnings(&candidate));
                candidates.push(candidate);
            }
            Err(found) => refusals.extend(found),
        }
    }
    refusals.extend(between::clashes(&candidates, survey));
    let plans: Vec<Plan> = candidates.iter().map(Candidate::plan).collect();
    let replicas = all_replicas(&plans, survey);
    for service in services {
        let part = matches!(survey.kind_of(service.name), Kind::Part(_) | Kind::Done);
        if let (false, Network::Service(_)) = (part, &service.network)
            && let Some(root) = survey.namespace_of(service.name)
            && replicas.values().flatten().any(|name| *name == root)
        {
            refusals.extend(service::user(service.body).map(|what| Remark::of(service.name, what)));
            warnings.extend(service::powers(service));
            joined.insert(service.name.to_owned(), root);
        }
    }
    let needed = !plans.is_empty() || !refusals.is_empty();
    let control = match control(services, survey, project.get("volumes"), options) {
        Ok((control, found)) => {
            warnings.extend(if needed { found } else { Vec::new() });
            control
        }
        Err(refusal) if needed => {
            refusals.push(refusal);
            return Err(refusals);
        }
        Err(_) => Control::default(),
    };
    if plans.is_empty() && survey.done.is_empty() {
        warnings.push(Remark::project(NOTHING));
    }
    let templates = options.templates.clone();
    if refusals.is_empty() {
        Ok(Checked { plans, replicas, joined, control, templates, warnings })
    } else {
        Err(refusals)
    }
}

const NOTHING: &str = "no service asks for the mesh, so nothing was changed: label a service with outrigger.enable: \"true\", \
                       or the controller, for the whole project";

impl Candidate<'_> {
    fn plan(&self) -> Plan {
        let app = self.service.name.to_owned();
        Plan { replicas: replicas(&app, self.replicas), app, declared: self.declared.clone() }
    }
}

fn all_replicas(plans: &[Plan], survey: &Survey) -> BTreeMap<String, Vec<String>> {
    let new = plans.iter().map(|plan| (plan.app.clone(), plan.replicas.clone()));
    new.chain(survey.done.clone()).collect()
}

/// Some: the service is in the network namespace of that meshed one.
fn namespace(service: &Service<'_>, by_label: bool, survey: &Survey) -> Result<Option<String>, Remark> {
    let Network::Service(target) = &service.network else { return Ok(None) };
    let refuse = |what: String| Err(Remark::of(service.name, what));
    let Some(root) = survey.namespace_of(service.name) else {
        return refuse(format!("network_mode: service:{target} leads back to itself"));
    };
    let meshed = matches!(survey.kind_of(&root), Kind::Wanted { .. } | Kind::Done | Kind::Part(Part::Holder));
    match (meshed, by_label) {
        (true, false) => Ok(Some(root)),
        (true, true) => refuse(format!(
            "is in the network namespace of {root} (network_mode: service:{target}), which has a sidecar already, and one \
             namespace has one: take its label outrigger.enable off; what it sends and receives goes through {root}'s sidecar"
        )),
        (false, _) => refuse(format!(
            "is in the network namespace of {root} (network_mode: service:{target}), which is not meshed: set outrigger.enable \
             to \"true\" on {root} and take it off here, or set it to \"false\" here"
        )),
    }
}

/// The service's name in the mesh unless a label says another.
fn service_name(service: &Service<'_>) -> String {
    service.name.to_ascii_lowercase()
}
