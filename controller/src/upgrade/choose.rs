//! Which sidecars are to be replaced, from what there is. Pure.

use std::collections::BTreeSet;

use outrigger_model::{Capture, View, WorkloadId};
use serde::Serialize;

use crate::scope::{COMPOSE_SERVICE, Scope, WORKLOAD};
use crate::source::docker::record::Container;
use crate::source::docker::sidecars::{is_next, standing};
use crate::source::docker::tracker::Containers;

/// A workload whose sidecar is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The workload.
    pub id: WorkloadId,
    /// Its name (`shop-cart-1`).
    pub name: String,
    /// Its sidecar's container.
    pub sidecar: Container,
    /// How its traffic is captured.
    pub capture: Capture,
}

/// One that is left alone, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The workload, or what was asked for.
    pub workload: String,
    /// Why, and the way out.
    pub why: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// To be replaced, by name.
    pub subjects: Vec<Subject>,
    /// Have that image already, by name.
    pub current: Vec<String>,
    /// Left alone.
    pub refused: Vec<Refused>,
}

/// Those of the workloads and services in `names` (all, where it is empty) whose sidecar has not the image `image`.
pub fn choose(containers: &Containers, view: &View, scope: &Scope, names: &[String], image: &str) -> Choice {
    let mut choice = Choice::default();
    let mut found = BTreeSet::new();
    for (id, standing) in standing(containers, scope) {
        let present = standing.iter().find(|sidecar| !is_next(sidecar, &standing));
        let (Some(app), Some(sidecar)) = (containers.get(&id.0), present) else { continue };
        let called = called(&id, app, view);
        let asked: Vec<_> = names.iter().filter(|name| called.contains(name)).collect();
        if asked.is_empty() && !names.is_empty() {
            continue;
        }
        found.extend(asked);
        let name = called.into_iter().next().unwrap_or_default();
        if sidecar.image == image {
            choice.current.push(name);
        } else if sidecar.label(WORKLOAD).is_none() {
            choice.refused.push(Refused { workload: name, why: WRITTEN.into() });
        } else if standing.len() > 1 {
            choice.refused.push(Refused { workload: name, why: UNDER_WAY.into() });
        } else {
            let capture = view.get(&id).map(|workload| workload.declared.capture).unwrap_or_default();
            choice.subjects.push(Subject { id, name, sidecar: (*sidecar).clone(), capture });
        }
    }
    for name in names.iter().filter(|name| !found.contains(name)) {
        choice.refused.push(Refused { workload: name.clone(), why: UNKNOWN.into() });
    }
    choice.subjects.sort_by(|a, b| a.name.cmp(&b.name));
    choice.current.sort();
    choice
}

const WRITTEN: &str = "its sidecar is written in the compose file: run `outrigger inject compose` again and then `docker compose \
                       up -d`";
const UNDER_WAY: &str = "its sidecar is being replaced already";
const UNKNOWN: &str = "no workload or service with a sidecar has this name: `outrigger status` lists them";

/// Its own name first, then what else it may be asked for by.
fn called(id: &WorkloadId, app: &Container, view: &View) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(workload) = view.get(id) {
        let service = &workload.declared.service;
        names.extend([workload.name.clone(), service.clone(), format!("{service}.{}", workload.namespace)]);
    }
    names.push(app.name.clone());
    names.extend(app.label(COMPOSE_SERVICE).map(str::to_owned));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::REPLACES;
    use crate::source::docker::map::map;
    use crate::source::docker::samples::{composed, containers, sidecar_of};

    fn app(service: &str) -> Container {
        composed("shop", service, &[("outrigger.enable", "true")])
    }

    fn chosen(all: &[Container], names: &[&str], image: &str) -> Choice {
        let all = containers(all.iter().cloned());
        let scope = Scope { mesh: "shop".into(), ..Scope::default() };
        let view = map(&all, &scope, &outrigger_model::Mesh::default()).view;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&all, &view, &scope, &names, image)
    }

    fn names(choice: &Choice) -> Vec<&str> {
        choice.subjects.iter().map(|subject| subject.name.as_str()).collect()
    }

    #[test]
    fn those_of_another_image_and_of_these_names() {
        let (cart, web) = (app("cart"), app("web"));
        let new = Container { image: "sha256:2".into(), ..sidecar_of(&web) };
        let all = [cart.clone(), web, sidecar_of(&cart), new];
        let choice = chosen(&all, &[], "sha256:2");
        assert_eq!(
            (names(&choice), &choice.current[..]),
            (vec!["shop-cart-1"], &["shop-web-1".to_owned()][..])
        );
        for name in ["cart", "cart.shop", "shop-cart-1"] {
            assert_eq!(names(&chosen(&all, &[name], "sha256:2")), ["shop-cart-1"], "{name}");
        }
        let choice = chosen(&all, &["web", "nobody"], "sha256:2");
        assert_eq!((names(&choice), choice.refused.len()), (vec![], 1));
        assert_eq!(
            (choice.refused[0].workload.as_str(), choice.refused[0].why.as_str()),
            ("nobody", UNKNOWN)
        );
        assert_eq!(names(&chosen(&all, &[], "sha256:3")), ["shop-cart-1", "shop-web-1"]);
    }

    #[test]
    fn one_that_is_being_replaced_is_left_alone() {
        let cart = app("cart");
        let old = sidecar_of(&cart);
        let mut next = Container { id: "next".into(), ..sidecar_of(&cart) };
        next.labels.insert(REPLACES.into(), old.id.clone());
        let choice = chosen(&[cart, old, next], &[], "sha256:3");
        assert_eq!(choice.refused, [Refused { workload: "shop-cart-1".into(), why: UNDER_WAY.into() }]);
    }
}
