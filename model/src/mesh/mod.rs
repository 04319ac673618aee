//! The mesh file, `mesh.yaml`: text in, a checked [`Mesh`] or every fault out.
//!
//! Two stages. Raw: nodes with positions, as an author wrote them in a file ([`yaml`]) or in labels ([`crate::label`]).
//! Checked: values of the model, read by the one table of keys ([`table`]).

mod cloud_map;
mod declare;
mod duration;
mod fault;
mod limits;
mod node;
mod policy;
mod print;
mod proxy_protocol;
mod rates;
mod reader;
mod reference;
mod routes;
mod schema;
mod service;
pub mod table;
mod text;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use cloud_map::CloudMap;
pub use fault::{Code, Fault, Origin, Said, Severity};
pub use limits::Limits;
pub use reference::reference;
pub use schema::schema;
pub use service::{Service, ServiceName};
pub use value::RESERVED_PORTS;
pub use yaml::MAX_BYTES;

pub(crate) use node::{Node, Value};
pub use reader::distance;
pub(crate) use reader::{Reader, nearest};
pub use service::SECTION as SERVICE_SECTION;
pub(crate) use service::{SECTION as SERVICE, is_dns_label};

pub(crate) use text::number;

use crate::{Mode, Policy, ServiceKey};
use node::shown;
use service::mode;
use table::{Key, Kind, Section};

/// The keys at the top of a mesh file.
pub const SECTION: Section = Section {
    keys: &[
        mode("permissive"),
        Key {
            name: "defaults",
            kind: Kind::Section(&DEFAULTS),
            label: None,
            about: "What holds for every service that says nothing else.",
            default: "as below",
            example: "{ timeout: 5s }",
        },
        Key {
            name: "services",
            kind: Kind::Services(&SERVICE),
            label: None,
            about: "Settings of single services, by name: `cart` in every namespace, `cart.shop` in one, which goes before.",
            default: "none: services are discovered, and need not be listed",
            example: "{ cart: { mode: strict } }",
        },
    ],
};

/// The keys of `defaults`.
const DEFAULTS: Section = Section {
    keys: &[
        limits::TIMEOUT,
        limits::IDLE,
        limits::STREAM,
        limits::STREAM_IDLE,
        limits::CONNECT,
        limits::DEADLINE,
        policy::RETRIES,
        policy::HEALTH,
        policy::LIMITS,
        policy::BALANCE,
        policy::SLOW_START,
        policy::ZONES,
    ],
};

/// What a mesh file says, checked. The default is that of no file at all. Equal are two that say the same, wherever
/// in their files; warnings are not compared.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    mode: Option<Said<Mode>>,
    defaults: Limits,
    /// What `defaults` says about replicas that fail.
    policy: Policy,
    services: BTreeMap<ServiceName, Service>,
    warnings: Vec<Fault>,
}

impl PartialEq for Mesh {
    fn eq(&self, other: &Self) -> bool {
        (&self.mode, &self.defaults, &self.policy, &self.services)
            == (&other.mode, &other.defaults, &other.policy, &other.services)
    }
}

impl Eq for Mesh {}

impl Mesh {
    /// Reads and checks the text of a mesh file. `path` stands in every fault.
    ///
    /// # Errors
    /// Every fault of the file, in the order of its lines, among them at least one of severity error; a text that is no
    /// YAML has one.
    pub fn read(text: &str, path: &str) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::default();
        let node = yaml::read(text, &Arc::from(path), &mut reader.faults);
        let mut mesh = node.map_or_else(Self::default, |node| Self::check(&mut reader, &node));
        let mut faults = reader.faults;
        faults.extend(mesh.bypassable());
        faults.extend(cloud_map::faults(&mesh));
        faults.sort_by(|a, b| (&a.origin, &a.path).cmp(&(&b.origin, &b.path)));
        if faults.iter().any(|fault| fault.severity == Severity::Error) {
            return Err(faults);
        }
        mesh.warnings = faults;
        Ok(mesh)
    }

    /// Reads and checks a mesh file as it lies on a disk: UTF-8.
    ///
    /// # Errors
    /// As [`Mesh::read`]; what is no UTF-8 is one fault.
    pub fn read_bytes(bytes: &[u8], path: &str) -> Result<Self, Vec<Fault>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::read(text, path),
            Err(error) => Err(vec![no_utf8(bytes, error.valid_up_to(), path)]),
        }
    }

    fn check(reader: &mut Reader, node: &Node) -> Self {
        let fields = reader.section(node, &SECTION);
        let mode = fields.read(reader, "mode", value::mode);
        let defaults = fields.read(reader, "defaults", |reader, node, _| {
            let fields = reader.section(node, &DEFAULTS);
            Some((Limits::read(reader, &fields), Policy::read(reader, &fields)))
        });
        let services = fields.read(reader, "services", |reader, node, _| services(reader, node));
        let (defaults, policy) = defaults.map(|said| said.value).unwrap_or_default();
        let services = services.map(|said| said.value).unwrap_or_default();
        Self { mode, defaults, policy, services, warnings: Vec::new() }
    }

    /// Services for which the file demands strict with a capture under which it can be gone around: unless the application
    /// listens on loopback alone, they will get no configuration.
    fn bypassable(&self) -> impl Iterator<Item = Fault> {
        self.services.iter().filter_map(|(name, said)| {
            let every = ServiceName { service: name.service.clone(), namespace: None };
            let all = said.or(&self.services.get(&every).cloned().unwrap_or_default());
            let strict = all.mode.as_ref().or(self.mode.as_ref()).filter(|mode| mode.value == Mode::Strict)?;
            let capture = all.capture.as_ref().filter(|capture| !capture.value.takes_inbound())?;
            // Said for every namespace and nothing more here: told there.
            let told = said.mode.is_none() && said.capture.is_none() && said.app_address.is_none();
            if told || all.app_address.as_ref().is_some_and(|address| address.value.is_loopback()) {
                return None;
            }
            let word = capture.value.as_str();
            Some(Fault {
                severity: Severity::Warning,
                code: Code::Bypassable,
                origin: capture.origin.clone(),
                path: format!("services.{name}.capture"),
                found: shown(word),
                what: format!("with capture {word}, strict holds only where the application listens on 127.0.0.1 alone"),
                help: "if it does, write app-address: 127.0.0.1; else take capture transparent or mode permissive".to_owned(),
                other: Some(strict.origin.clone()),
            })
        })
    }

    /// The mode of services that say none.
    pub fn mode(&self) -> Mode {
        self.mode.as_ref().map(|said| said.value).unwrap_or_default()
    }

    /// Limits in time of services that say none.
    pub fn defaults(&self) -> &Limits {
        &self.defaults
    }

    /// What callers of services that say nothing do about replicas that fail.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What is said of each service, as written.
    pub fn services(&self) -> &BTreeMap<ServiceName, Service> {
        &self.services
    }

    /// What is said of one service: what stands under `cart.shop`, and key by key what that does not say, under `cart`.
    pub fn service(&self, key: &ServiceKey) -> Service {
        let of = |namespace| {
            let name = ServiceName { service: key.service.clone(), namespace };
            self.services.get(&name).cloned().unwrap_or_default()
        };
        of(Some(key.namespace.clone())).or(&of(None))
    }

    /// What stands, but should be looked at.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }
}

fn no_utf8(bytes: &[u8], at: usize, path: &str) -> Fault {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let (line, column) = (
        before.matches('\n').count() + 1,
        before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
    );
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut fault = Fault::unreadable(path, "this is not UTF-8", "save the file as UTF-8");
    fault.origin =
        Origin::File { file: Arc::from(path), line: number(line), column: number(column), length: 0 };
    fault
}

fn services(reader: &mut Reader, node: &Node) -> Option<BTreeMap<ServiceName, Service>> {
    let mut services = BTreeMap::new();
    for (text, key, value) in reader.mapping(node, "cart: { mode: strict }, say")? {
        reader.within(text, |reader| {
            let name = ServiceName::parse(text);
            if name.is_none() {
                let what = format!("{} cannot be the name of a service", shown(text));
                let help =
                    "write cart, or cart.shop for that of one namespace: 1 to 63 of a-z, 0-9, - and _ each";
                reader.fault(Code::BadValue, key, what, help);
            }
            let service = Service::read(reader, value);
            services.extend(name.map(|name| (name, service)));
        });
    }
    Some(services)
}
