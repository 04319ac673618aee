//! Labels: how compose users configure. Each describes only its own workload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mesh::table::{Choice, Key, Kind, Section};
use crate::mesh::{
    Code, Mesh, Node, Origin, Reader, SERVICE as SETTINGS, Service, Severity, Value, is_dns_label, nearest,
    number,
};
use crate::{Declared, ServiceKey};

pub use crate::mesh::{Fault, distance};

/// Every label starts with this.
pub const PREFIX: &str = "outrigger.";
/// Labels that containers made by us carry; never set by users.
pub const MANAGED: &str = "outrigger.managed";
/// Which mesh made it.
pub const MESH: &str = "outrigger.mesh";
/// Value of [`MANAGED`] on a container that owns the network namespace of application and sidecar (static injection).
pub const HOLDER: &str = "holder";
/// On a holder: the compose service of the application, without a replica's number.
pub const APP: &str = "outrigger.app";
/// On a holder: which replica of the application, from 1.
pub const REPLICA: &str = "outrigger.replica";
/// The name that a workload's service is called by.
pub const SERVICE: &str = "outrigger.service";
/// Switches the mesh on for a workload.
pub const ENABLE: &str = "outrigger.enable";

/// What [`MANAGED`] marks: labels of ours that stand beside the user's own on a holder.
const OURS: [&str; 3] = [MANAGED, APP, REPLICA];

/// The labels that have no form in a mesh file: they speak of one workload.
pub const SECTION: Section = Section {
    keys: &[
        Key {
            name: "enable",
            kind: Kind::Choice(&[
                Choice { word: "true", about: "it is meshed; on the controller: its whole project" },
                Choice { word: "false", about: "it is not" },
            ]),
            label: Some("enable"),
            about: "Whether the workload is meshed.",
            default: "what the label on the project's controller says",
            example: "true",
        },
        Key {
            name: "service",
            kind: Kind::Name,
            label: Some("service"),
            about: "The name that its service is called by.",
            default: "the compose service",
            example: "cart",
        },
        Key {
            name: "version",
            kind: Kind::Name,
            label: Some("version"),
            about: "Which version of that service it is.",
            default: "none",
            example: "v2",
        },
        Key {
            name: "weight",
            kind: Kind::Number { least: 0, most: 1000 },
            label: Some("weight"),
            about: "Its share of the requests to its service, in percent of that of a replica without this label. With 0 it gets \
                    none but those that call it by its own name.",
            default: "100",
            example: "50",
        },
    ],
};

/// What the labels of one workload say, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether it is to be meshed; `None`: nothing said, or not readable.
    pub enable: Option<bool>,
    /// The name of its service.
    pub service: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its share of what is balanced, 0 to 1000.
    pub weight: Option<u32>,
    /// The settings that a service of a mesh file has, too.
    pub settings: Service,
    /// A `mode` was said that could not be read.
    pub mode_unreadable: bool,
    /// `edge` was said and could not be read.
    pub edge_unreadable: bool,
    /// Every fault, in the order of the labels; what they are about is left out above.
    pub faults: Vec<Fault>,
    /// Nobody can tell whether it is to be meshed, or as what: it is to be left alone.
    pub unusable: bool,
}

/// Reads the labels of one workload; those without [`PREFIX`] are nobody's business.
pub fn read(labels: &BTreeMap<String, String>) -> Labels {
    let mut reader = Reader::default();
    let (mut own, mut settings) = (BTreeMap::new(), Vec::new());
    let holder = labels.get(MANAGED).is_some_and(|value| value == HOLDER);
    for (label, value) in labels.range(PREFIX.to_owned()..) {
        let Some(name) = label.strip_prefix(PREFIX) else { break };
        if holder && OURS.contains(&label.as_str()) {
            continue;
        }
        let origin = Origin::Label { label: Arc::from(label.as_str()) };
        if let Some(key) = find(&SECTION, name) {
            own.insert(key.name, Node::plain(value.as_str(), origin));
        } else if let Some(key) = find(&SETTINGS, name) {
            settings.push((Node::plain(key.name, origin.clone()), node(&key.kind, value, &origin)));
        } else {
            let what = "there is no such label";
            reader.fault(Code::UnknownKey, &Node::plain(value.as_str(), origin), what, unknown(name));
        }
    }
    let enable = own.get("enable").map(|node| flag(&mut reader, node));
    let service = own.get("service").map(|node| dns_label(&mut reader, node));
    let version = own.get("version").and_then(|node| dns_label(&mut reader, node));
    let weight = own.get("weight").and_then(|node| number(&mut reader, node, find(&SECTION, "weight")?));
    let said = |name: &str| settings.iter().any(|(key, _)| key.text() == Some(name));
    let (mode_said, edge_said) = (said("mode"), said("edge"));
    let origin = Origin::Label { label: Arc::from(PREFIX) };
    let settings = Service::read(&mut reader, &Node { value: Value::Mapping(settings), origin });
    let mut faults = reader.faults;
    faults.sort_by(|a, b| a.origin.cmp(&b.origin));
    Labels {
        unusable: enable == Some(None) || service == Some(None),
        enable: enable.flatten(),
        service: service.flatten(),
        version,
        weight,
        mode_unreadable: mode_said && settings.mode.is_none(),
        edge_unreadable: edge_said && settings.edge.is_none(),
        settings,
        faults,
    }
}

/// Reads labels where no mesh file has a say. `None`: the workload is not to be meshed. `service` is used where no
/// label names one.
///
/// # Errors
/// Every fault, in the order of the labels; warnings alone are none.
pub fn parse(labels: &BTreeMap<String, String>, service: &str) -> Result<Option<Declared>, Vec<Fault>> {
    let labels = read(labels);
    let service = labels.service.clone().unwrap_or_else(|| service.to_owned());
    let key = ServiceKey { namespace: String::new(), service };
    let (declared, faults) = Mesh::default().declare(&key, &labels, &BTreeSet::new());
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    Ok((labels.enable == Some(true)).then_some(declared))
}

fn find(section: &'static Section, label: &str) -> Option<&'static Key> {
    section.keys.iter().find(|key| key.label == Some(label))
}

/// The text of a label, in the shape that a mesh file has at the same key.
fn node(kind: &Kind, text: &str, origin: &Origin) -> Node {
    let plain = |text: &str| Node::plain(text.trim(), origin.clone());
    let items = || text.split(',').map(str::trim);
    let value = match kind {
        // `8080/http,6379/tcp`
        Kind::Ports => Value::Mapping(
            items()
                .map(|item| match item.split_once('/') {
                    Some((port, protocol)) => (plain(port), plain(protocol)),
                    None => (plain(item), Node { value: Value::Null, origin: origin.clone() }),
                })
                .collect(),
        ),
        // `80,443`, or the word `none`
        Kind::PortList if text.contains(|c: char| c.is_ascii_digit()) => {
            Value::List(items().map(plain).collect())
        }
        // `cart:8080=9001,redis:6379`
        Kind::Upstreams => Value::Mapping(
            items()
                .map(|item| match item.split_once('=') {
                    Some((upstream, local)) => (plain(local), plain(upstream)),
                    // Without a port it is no upstream; any number will do until that is told.
                    None => (plain(item.rsplit_once(':').map_or("1", |(_, port)| port)), plain(item)),
                })
                .collect(),
        ),
        // `100/s,1000/min`: of each its first key
        Kind::List(section) => Value::List(items().map(|item| first_key(section, plain(item))).collect()),
        // `443`, or `in=443; from=10.0.0.0/8`
        Kind::Section(section) if section.is_of_ports() => return keyed(section, text, origin),
        // `2`
        Kind::Section(section) => return first_key(section, plain(text)),
        Kind::Texts(_) => Value::List(items().map(plain).collect()),
        _ => return plain(text),
    };
    Node { value, origin: origin.clone() }
}

/// `KEY=VALUE; KEY=VALUE`, each value as at a label of its own; without a key it is the first one's.
fn keyed(section: &Section, text: &str, origin: &Origin) -> Node {
    let plain = |text: &str| Node::plain(text.trim(), origin.clone());
    let first = section.keys.first().map_or("", |key| key.name);
    let entry = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((first, part));
        let value =
            section.key(name.trim()).map_or_else(|| plain(value), |key| node(&key.kind, value, origin));
        (plain(name), value)
    };
    Node { value: Value::Mapping(text.split(';').map(entry).collect()), origin: origin.clone() }
}

/// A mapping that says only the first key of its section.
fn first_key(section: &Section, value: Node) -> Node {
    let origin = value.origin.clone();
    let first = section.keys.first().map(|key| (Node::plain(key.name, origin.clone()), value));
    Node { value: Value::Mapping(first.into_iter().collect()), origin }
}

fn flag(reader: &mut Reader, node: &Node) -> Option<bool> {
    let flag = node.text().and_then(|text| text.parse().ok());
    if flag.is_none() {
        let what = format!("{} is neither \"true\" nor \"false\"", node.found());
        reader.fault(Code::BadValue, node, what, "write one of them");
    }
    flag
}

fn dns_label(reader: &mut Reader, node: &Node) -> Option<String> {
    let name = node.text().filter(|text| is_dns_label(text)).map(str::to_owned);
    if name.is_none() {
        let what = format!("{} cannot be a name", node.found());
        reader.fault(Code::BadValue, node, what, "write 1 to 63 of a-z, 0-9, - and _, such as cart");
    }
    name
}

fn unknown(name: &str) -> String {
    let known = || SECTION.keys.iter().chain(SETTINGS.keys).filter_map(|key| key.label);
    match nearest(name, known()) {
        Some(near) => format!("did you mean {PREFIX}{near}?"),
        None => format!("known are {PREFIX}{{{}}}", known().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests;
