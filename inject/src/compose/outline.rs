//! What of a project matters to a mesh: for commands that look at a project and do not change it.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::label::{APP, PREFIX};
use serde_yaml::{Mapping, Value};

use crate::Remark;
use crate::compose::part::Part;
use crate::compose::port;
use crate::compose::project::{Kind, Network, Service, Survey, read, said_replicas};
use crate::compose::tree::items;

/// One service of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its name.
    pub name: String,
    /// It is, or will be, in the mesh.
    pub meshed: bool,
    /// Its labels of the mesh.
    pub labels: BTreeMap<String, String>,
    /// Ports that the file publishes or exposes; what an image exposes is not in a file.
    pub ports: BTreeSet<u16>,
    /// Of these, the published ones.
    pub published: BTreeSet<u16>,
    /// Its networks, each with its further names there.
    pub networks: BTreeMap<String, BTreeSet<String>>,
    /// `scale` or `deploy.replicas`; 1 where nothing, or a variable, is said.
    pub replicas: u32,
}

/// The applications of a project, in its order: neither the controller nor what injection added.
///
/// # Errors
/// It is no project.
pub fn outline(project: &Value) -> Result<Vec<Outline>, Remark> {
    let services = read(project)?;
    let survey = Survey::of(&services);
    let apps = services
        .iter()
        .filter(|service| !matches!(survey.kind_of(service.name), Kind::Controller | Kind::Part(_)));
    Ok(apps.map(|service| one(service, &services, &survey)).collect())
}

fn one(service: &Service<'_>, services: &[Service<'_>], survey: &Survey) -> Outline {
    let done = *survey.kind_of(service.name) == Kind::Done;
    // What an injected service has to do with networks stands at its holder.
    let holder = Part::Holder.beside(service.name);
    let holder = services.iter().find(|other| done && other.name == holder);
    let owner = holder.unwrap_or(service);
    let mut labels = owner.labels.clone();
    labels.retain(|label, _| label.starts_with(PREFIX));
    let name = labels.get(APP).cloned().unwrap_or_else(|| service.name.to_owned());
    let mut published = owner.body.clone();
    published.remove("expose");
    Outline {
        name,
        meshed: done || matches!(survey.kind_of(service.name), Kind::Wanted { .. }),
        labels,
        ports: port::targets(&port::ports(owner.body)),
        published: port::targets(&port::ports(&published)),
        networks: networks(owner),
        replicas: replicas(service.body),
    }
}

fn networks(service: &Service<'_>) -> BTreeMap<String, BTreeSet<String>> {
    if let Network::Mode(mode) = &service.network {
        return [(mode.clone(), BTreeSet::new())].into();
    }
    let aliases = |settings: Option<&Value>| {
        let aliases = settings.and_then(|settings| settings.get("aliases"));
        items(aliases).into_iter().filter_map(|alias| Some(alias.as_str()?.to_ascii_lowercase())).collect()
    };
    let said = service.body.get("networks");
    let networks: BTreeMap<String, BTreeSet<String>> = match said {
        Some(Value::Mapping(said)) => said
            .iter()
            .filter_map(|(name, said)| Some((name.as_str()?.to_owned(), aliases(Some(said)))))
            .collect(),
        other => items(other)
            .into_iter()
            .filter_map(|name| Some((name.as_str()?.to_owned(), BTreeSet::new())))
            .collect(),
    };
    if networks.is_empty() { [("default".to_owned(), BTreeSet::new())].into() } else { networks }
}

fn replicas(body: &Mapping) -> u32 {
    said_replicas(body).and_then(|(_, count)| count.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{Options, inject};

    const PROJECT: &str = "
services:
  outrigger: { image: 'outrigger-controller:1', labels: { outrigger.enable: 'true' }, volumes: ['run:/run/outrigger'] }
  web: { image: web, ports: ['80:8080'], expose: [9000], networks: { front: { aliases: [Shop] }, back: } }
  cart: { image: cart, labels: [outrigger.port=7000/http, other=x], deploy: { replicas: 2 } }
  tool: { image: tool, labels: { outrigger.enable: 'false' } }
volumes: { run: {} }
";

    #[test]
    fn applications_are_told_with_what_the_file_says_of_them() {
        let outlines = outline(&crate::compose::read(PROJECT).unwrap()).unwrap();
        let names: Vec<_> = outlines.iter().map(|service| (service.name.as_str(), service.meshed)).collect();
        assert_eq!(names, [("web", true), ("cart", true), ("tool", false)]);
        let [web, cart, _] = outlines.as_slice() else { panic!("{outlines:?}") };
        assert_eq!((&web.ports, &web.published), (&[8080, 9000].into(), &[8080].into()));
        assert_eq!(web.networks["front"], ["shop".to_owned()].into());
        assert!(web.networks["back"].is_empty());
        assert_eq!(cart.labels.keys().collect::<Vec<_>>(), ["outrigger.port"]);
        assert_eq!((cart.replicas, cart.networks.keys().next().unwrap().as_str()), (2, "default"));
    }

    #[test]
    fn an_injected_project_has_the_same_applications() {
        let project = crate::compose::read(PROJECT).unwrap();
        let injected = inject(&project, &Options::default()).unwrap().project;
        let meshed = outline(&injected).unwrap();
        let count =
            |name: &str| meshed.iter().filter(|service| service.name == name && service.meshed).count();
        assert_eq!((count("web"), count("cart"), meshed.len()), (1, 2, 4));
        assert_eq!(meshed.iter().find(|service| service.name == "web").unwrap().published, [8080].into());
    }
}
