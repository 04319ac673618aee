//! `cloud-map` of a service: replicas without a sidecar that AWS Cloud Map knows. The table of its keys, how they are read,
//! checked against the rest of the file, and printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::fault::{Code, Fault, Origin, Severity};
use super::node::{Node, Value, shown};
use super::reader::Reader;
use super::routes::{self, entry, mapping, quoted, said};
use super::service::{Service, ServiceName};
use super::table::{Key, Kind, REQUIRED, Section, Text};
use super::{Mesh, text};
use crate::ServiceKey;
use crate::route::RouteMatch;

/// Most attributes that are asked for; an instance has at most 30 (AWS Cloud Map quotas).
const MOST: usize = 30;

/// DiscoverInstances, `NamespaceName`.
const NAMESPACE: Text = Text {
    what: "the name of a namespace of Cloud Map",
    pattern: "^[!-~]{1,1024}$",
    help: "its name, such as shop.internal (not its id ns-… and not its ARN)",
    regex: false,
    except: &[],
};

/// DiscoverInstances, `ServiceName`.
const SERVICE: Text = Text {
    what: "the name of a service of Cloud Map",
    pattern: "^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,125}[A-Za-z0-9_])?$",
    help: "1 to 127 letters, digits, dots, - and _, such as billing",
    regex: false,
    except: &[],
};

const ATTRIBUTE: Text = Text {
    what: "the name of an attribute",
    pattern: "^[!-~]{1,255}$",
    help: "1 to 255 characters without spaces, such as stage",
    regex: false,
    except: &[],
};

const VALUE: Text = Text {
    what: "the value of an attribute",
    pattern: "^[ -~]{0,1024}$",
    help: "up to 1,024 letters, digits, spaces and signs of ASCII, in quotes where it is a number",
    regex: false,
    except: &[],
};

pub(super) const KEY: Key = Key {
    name: "cloud-map",
    kind: Kind::Section(&SECTION),
    label: None,
    about: "Replicas without a sidecar that AWS Cloud Map knows: the controller looks them up (ECS only), and callers in the mesh \
            reach them in plaintext, with routes, retries and limits as anything else. `ports` must be said. Where tasks of the \
            mesh have the same service, both are its replicas.",
    default: "none",
    example: "{ namespace: shop.internal }",
};

const SECTION: Section = Section {
    keys: &[
        Key {
            name: "namespace",
            kind: Kind::Text(&NAMESPACE),
            label: None,
            about: "The name of Cloud Map's namespace.",
            default: REQUIRED,
            example: "shop.internal",
        },
        Key {
            name: "service",
            kind: Kind::Text(&SERVICE),
            label: None,
            about: "The service's name there.",
            default: "its name here",
            example: "billing-legacy",
        },
        Key {
            name: "attributes",
            kind: Kind::Fields(&ATTRIBUTE, &VALUE),
            label: None,
            about: "Only the instances that have all of these attributes with these values.",
            default: "all instances",
            example: "{ stage: prod }",
        },
        Key {
            name: "version",
            kind: Kind::Text(&routes::NAME),
            label: None,
            about: "Which version of the service they are: what a route's backends tell apart.",
            default: "none",
            example: "old",
        },
    ],
};

/// What of Cloud Map belongs to a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CloudMap {
    /// The namespace's name.
    pub namespace: String,
    /// The service's name there; none: as here.
    pub service: Option<String>,
    /// Attributes that its instances must have.
    pub attributes: BTreeMap<String, String>,
    /// The version that they are.
    pub version: Option<String>,
}

pub(super) fn read(reader: &mut Reader, node: &Node, key: &Key) -> Option<CloudMap> {
    let Kind::Section(section) = key.kind else { return None };
    let section: &'static Section = section;
    let before = reader.faults.len();
    let fields = reader.section(node, section);
    let namespace = said(fields.read(reader, "namespace", text::text));
    let service = said(fields.read(reader, "service", text::text));
    let attributes = said(fields.read(reader, "attributes", text::fields)).unwrap_or_default();
    let version = said(fields.read(reader, "version", text::text));
    let keyed = matches!(node.value, Value::Mapping(_) | Value::Null);
    if fields.node("namespace").is_none() && keyed {
        let help = "write namespace: shop.internal, say";
        reader.fault(Code::WrongType, node, "there is no namespace", help);
    }
    if let Some(node) = fields.node("attributes").filter(|_| attributes.len() > MOST) {
        let what = format!("there are {} of them", attributes.len());
        let help = format!("write at most {MOST}: an instance has no more");
        reader.within("attributes", |reader| reader.fault(Code::TooLarge, node, what, help));
    }
    let sound = reader.faults.len() == before;
    namespace.filter(|_| sound).map(|namespace| CloudMap { namespace, service, attributes, version })
}

pub(super) fn print(f: &mut fmt::Formatter<'_>, said: &CloudMap) -> fmt::Result {
    let CloudMap { namespace, service, attributes, version } = said;
    let attributes: Vec<String> =
        attributes.iter().map(|(name, value)| entry(&quoted(name), &quoted(value))).collect();
    let keys = mapping([
        Some(entry("namespace", &quoted(namespace))),
        service.as_ref().map(|service| entry("service", &quoted(service))),
        (!attributes.is_empty()).then(|| entry("attributes", &format!("{{ {} }}", attributes.join(", ")))),
        version.as_ref().map(|version| entry("version", &quoted(version))),
    ]);
    writeln!(f, "    cloud-map: {keys}")
}

/// What does not go together with the rest of the file.
pub(super) fn faults(mesh: &Mesh) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, said) in mesh.services() {
        let every = ServiceName { service: name.service.clone(), namespace: None };
        let all = said.or(&mesh.services().get(&every).cloned().unwrap_or_default());
        if let Some(cloud_map) = &said.cloud_map {
            let at = (name, &cloud_map.origin);
            faults.extend(without_ports(at, &all));
            faults.extend(without_effect(at, &all));
        }
        faults.extend(from_nobody(mesh, name, said));
    }
    faults
}

fn fault(
    severity: Severity,
    code: Code,
    (path, origin): (String, &Origin),
    what: String,
    help: &str,
) -> Fault {
    let (origin, found, help) = (origin.clone(), String::new(), help.to_owned());
    Fault { severity, code, origin, path, found, what, help, other: None }
}

/// Nobody looks at where these replicas listen, so that somebody has to say it.
fn without_ports((name, origin): (&ServiceName, &Origin), all: &Service) -> Option<Fault> {
    let none = all.ports.as_ref().is_none_or(|ports| ports.value.is_empty());
    let path = format!("services.{name}.cloud-map");
    none.then(|| {
        let what = "which ports these replicas serve is said nowhere".to_owned();
        let help = "write ports: { 8080: http } beside cloud-map, say: the ports that callers use";
        fault(Severity::Error, Code::Conflict, (path, origin), what, help)
    })
}

/// Who has no sidecar counts no requests, and is asked nothing.
fn without_effect((name, origin): (&ServiceName, &Origin), all: &Service) -> Option<Fault> {
    let checked = all.policy.check.as_ref().is_some_and(crate::check::Check::is_on);
    let keys = [("rate-limits", all.rate_limits.is_some()), ("a health check", checked)];
    let keys: Vec<&str> = keys.iter().filter(|(_, said)| *said).map(|(key, _)| *key).collect();
    (!keys.is_empty()).then(|| {
        let path = format!("services.{name}.cloud-map");
        let what = format!("{}: only replicas with a sidecar have it, not those of Cloud Map", keys.join(" and "));
        let help = "bound what callers send with limits: { requests: 100 }, say; their health is for Cloud Map to say";
        fault(Severity::Warning, Code::NoEffect, (path, origin), what, help)
    })
}

/// Replicas without a sidecar prove no identity.
fn from_nobody(mesh: &Mesh, name: &ServiceName, said: &Service) -> Vec<Fault> {
    let outside = |caller: &str| {
        let caller = ServiceName::parse(caller)?;
        let mut entries = mesh.services().iter();
        let is = |other: &ServiceName| {
            let both = other.namespace.as_ref().zip(caller.namespace.as_ref());
            other.service == caller.service && both.is_none_or(|(a, b)| a == b)
        };
        entries.find(|(other, said)| is(other) && said.cloud_map.is_some()).map(|_| ())
    };
    let named = |matches: &[RouteMatch]| {
        let all = matches.iter().flat_map(|one| &one.from);
        all.filter(|caller| outside(caller).is_some()).cloned().collect::<BTreeSet<String>>()
    };
    let routes = said
        .routes
        .iter()
        .flat_map(|said| said.value.iter().map(|route| ("routes", &said.origin, named(&route.matches))));
    let limits = said
        .rate_limits
        .iter()
        .flat_map(|said| said.value.iter().map(|limit| ("rate-limits", &said.origin, named(&limit.matches))));
    let told: BTreeSet<_> = routes
        .chain(limits)
        .flat_map(|(key, origin, callers)| callers.into_iter().map(move |caller| (key, origin, caller)))
        .collect();
    told.into_iter()
        .map(|(key, origin, caller)| {
            let path = format!("services.{name}.{key}");
            let what = format!(
                "from: {} takes only replicas of it with a sidecar: those of Cloud Map prove no identity",
                shown(&caller)
            );
            let help = "tell them apart by what they send, or mesh them";
            fault(Severity::Warning, Code::NoEffect, (path, origin), what, help)
        })
        .collect()
}

impl Mesh {
    /// The services that Cloud Map knows replicas of; one that is said for every namespace is in each of `namespaces`.
    pub fn cloud_map(&self, namespaces: &BTreeSet<String>) -> BTreeMap<ServiceKey, CloudMap> {
        let said = self.services().iter().filter(|(_, said)| said.cloud_map.is_some());
        let keys = said.flat_map(|(name, _)| {
            let all = name.namespace.as_ref().map_or_else(|| namespaces.iter().collect(), |one| vec![one]);
            let key = |namespace: &String| ServiceKey {
                namespace: namespace.clone(),
                service: name.service.clone(),
            };
            all.into_iter().map(key).collect::<Vec<_>>()
        });
        keys.filter_map(|key| Some((key.clone(), self.service(&key).cloud_map?.value))).collect()
    }
}
