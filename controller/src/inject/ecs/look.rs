//! Reads what the planner is to see: services that are tagged or remembered, and their revisions.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::ServiceField;
use outrigger_inject::ecs::{Injected, Options, differences, fingerprint, inject, is_meshed};
use outrigger_model::mesh::Mesh;
use serde_yaml::Value;

use super::raw::{self, Raw};
use super::view::{FROM, Revision, Service, View, last_part};
use crate::source::ecs::client::{Api, CallError, Fault};
use crate::source::ecs::pace::Category;

/// Services of one `DescribeServices`; ECS's limit.
const BATCH: usize = 10;
const SERVICES: &str = "ecs:DescribeServices";
/// The controller's own image, without registry and tag.
const CONTROLLER: &str = "outrigger-controller";

/// Reads, and remembers revisions, which never change.
#[derive(Debug, Default)]
pub struct Looker {
    revisions: BTreeMap<String, Raw>,
    /// Services that the look before asked for in vain.
    missing: BTreeSet<String>,
}

impl Looker {
    /// Services by ARN of the cluster, as they are now, with what injection makes of their revisions.
    ///
    /// # Errors
    /// A call fails, or a service is missing for the first time; then nothing is known.
    pub async fn look(
        &mut self,
        api: &Api,
        wanted: &BTreeMap<String, BTreeSet<String>>,
        options: &Options,
        mesh: &Mesh,
    ) -> Result<View, CallError> {
        let mut view = View::default();
        for (cluster, arns) in wanted {
            let arns: Vec<String> = arns.iter().cloned().collect();
            for batch in arns.chunks(BATCH) {
                let request = || {
                    let request = api.ecs.describe_services().cluster(cluster).include(ServiceField::Tags);
                    request.set_services(Some(batch.to_vec())).send()
                };
                let answer = api.call(Category::Service, SERVICES, request).await?;
                let found = answer.services().iter().filter_map(Service::of);
                view.services.extend(found.map(|service| (service.arn.clone(), service)));
            }
        }
        let asked: BTreeSet<&String> = wanted.values().flatten().collect();
        self.missed(asked.into_iter().filter(|arn| !view.services.contains_key(*arn)).cloned().collect())?;
        let mut used = BTreeSet::new();
        for service in view.services.values().filter(|service| service.active) {
            let Some(primary) = &service.primary else { continue };
            used.insert(primary.definition.clone());
            let revision = match self.revision(api, &primary.definition).await {
                Ok(raw) => {
                    let namespace = last_part(&service.cluster).to_owned();
                    let options = Options { namespace, mesh: mesh.clone(), ..options.clone() };
                    revision(raw, &options)
                }
                // It stands in nobody else's way.
                Err(error) if error.refused => {
                    Revision { refused: vec![error.to_string()], ..Revision::default() }
                }
                Err(error) => return Err(error),
            };
            view.revisions.insert(primary.definition.clone(), revision);
        }
        self.revisions.retain(|arn, _| used.contains(arn));
        Ok(view)
    }

    /// Answers of ECS agree with each other after a moment: a service is gone once two in a row are without it. What is
    /// remembered of one that is gone is forgotten, and a motion is given up.
    fn missed(&mut self, missing: BTreeSet<String>) -> Result<(), CallError> {
        let before = std::mem::replace(&mut self.missing, missing);
        match self.missing.difference(&before).next() {
            None => Ok(()),
            Some(service) => {
                let what = format!("{} is missing in the answer: it is asked again", last_part(service));
                Err(CallError::of(SERVICES, what, Fault::Away))
            }
        }
    }

    async fn revision(&mut self, api: &Api, arn: &str) -> Result<&Raw, CallError> {
        match self.revisions.entry(arn.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(raw::describe(api, arn).await?)),
        }
    }

    /// One that was read.
    pub fn raw(&self, arn: &str) -> Option<&Raw> {
        self.revisions.get(arn)
    }
}

fn revision(raw: &Raw, options: &Options) -> Revision {
    let from = raw.tag(FROM).map(str::to_owned);
    let meshed = is_meshed(&raw.definition);
    if !meshed && is_controller(&raw.definition) {
        let refused =
            vec!["it is the controller, for which its own sidecar would wait: take the tag off".into()];
        return Revision { refused, ..Revision::default() };
    }
    let mut revision = Revision { meshed, from, ..Revision::default() };
    match inject(&raw.definition, options) {
        Ok(Injected { definition, capture, .. }) => {
            revision.capture = capture.as_str().into();
            revision.wanted = fingerprint(&definition);
            if meshed {
                revision.news = differences(&raw.definition, &definition);
            }
        }
        Err(refusals) => revision.refused = refusals.iter().map(ToString::to_string).collect(),
    }
    if meshed {
        revision.capture = written(&raw.definition);
    }
    revision
}

fn containers(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.get("containerDefinitions").and_then(Value::as_sequence).into_iter().flatten()
}

/// The capture that an injection wrote.
fn written(definition: &Value) -> String {
    let label = |container: &Value| {
        Some(container.get("dockerLabels")?.get("outrigger.capture")?.as_str()?.to_owned())
    };
    let sidecar = |container: &&Value| {
        container.get("name").and_then(Value::as_str) == Some(outrigger_inject::ecs::SIDECAR)
    };
    containers(definition).find(sidecar).and_then(label).unwrap_or_default()
}

fn is_controller(definition: &Value) -> bool {
    containers(definition).filter_map(|container| container.get("image")?.as_str()).any(|image| {
        let name = last_part(image);
        name.split([':', '@']).next() == Some(CONTROLLER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it was moved was forgotten, and the motion given up half way.
    #[test]
    fn a_service_is_gone_once_two_answers_in_a_row_are_without_it() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut looker = Looker::default();
        assert!(looker.missed(of(&[])).is_ok());
        let first = looker.missed(of(&["arn:aws:ecs:x:1:service/shop/cart"])).unwrap_err();
        assert!(!first.refused && first.to_string().contains("cart is missing"), "{first}");
        assert!(looker.missed(of(&[])).is_ok());
        assert!(looker.missed(of(&["cart"])).is_err());
        assert!(looker.missed(of(&["cart", "web"])).is_err());
        assert!(looker.missed(of(&["cart", "web"])).is_ok());
        assert!(looker.missed(of(&["cart", "web"])).is_ok());
    }
}
