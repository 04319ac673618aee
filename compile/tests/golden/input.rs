//! A snapshot in a form that a person can write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use outrigger_compile::service_key;
use outrigger_model::{
    Attachment, Checked, Declared, Health, Lifecycle, Observed, Outside, Protocol, ServiceKey, Snapshot,
    View, VirtualIndex, Workload, WorkloadId, label,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Mesh {
    #[serde(default = "domain")]
    trust_domain: String,
    /// A mesh file.
    #[serde(default)]
    mesh: String,
    workloads: BTreeMap<String, Replica>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Replica {
    #[serde(default = "shop")]
    namespace: String,
    service: String,
    networks: BTreeMap<String, Vec<IpAddr>>,
    zone: Option<String>,
    #[serde(default)]
    ports: BTreeMap<u16, String>,
    #[serde(default)]
    exposed: BTreeSet<u16>,
    #[serde(default)]
    aliases: BTreeSet<String>,
    /// None: no sidecar has reported.
    listening: Option<BTreeSet<u16>>,
    /// Of these, on 127.0.0.1 only; the others on every address.
    #[serde(default)]
    loopback: BTreeSet<u16>,
    #[serde(default)]
    settled: bool,
    /// What the sidecar's health check says: `passing`, `pending: why`, `failing: why`.
    check: Option<String>,
    #[serde(default = "yes")]
    sidecar_ready: bool,
    #[serde(default)]
    lifecycle: String,
    instance: Option<String>,
    #[serde(default)]
    health: String,
    #[serde(default)]
    one_off: bool,
    /// The port of the host that leads to its sidecar.
    mesh_port: Option<u16>,
    /// It has no sidecar.
    outside: Option<Registered>,
    version: Option<String>,
    app_address: Option<IpAddr>,
    #[serde(default)]
    published: BTreeSet<u16>,
    /// Further labels, as a user writes them (`outrigger.mode: strict`).
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    /// Where it serves, in the place of the called port.
    port: Option<u16>,
}

fn domain() -> String {
    "shop.internal".into()
}

fn shop() -> String {
    "shop".into()
}

fn yes() -> bool {
    true
}

/// Reads a mesh; services get their indices in order of namespace and name.
pub fn snapshot(text: &str) -> Result<Snapshot, serde_yaml::Error> {
    let mesh: Mesh = serde_yaml::from_str(text)?;
    let file = outrigger_model::Mesh::read(&mesh.mesh, "mesh.yaml").unwrap();
    let workloads: View = mesh
        .workloads
        .into_iter()
        .map(|(name, replica)| (WorkloadId(format!("id-{name}")), replica.workload(name, &file).into()))
        .collect();
    let services: BTreeSet<_> = workloads.values().map(|workload| service_key(workload)).collect();
    let indices =
        services.into_iter().zip(1..).map(|(key, n)| (key, VirtualIndex::new(n).unwrap())).collect();
    Ok(Snapshot { trust_domain: mesh.trust_domain, workloads, indices })
}

impl Replica {
    fn workload(self, name: String, file: &outrigger_model::Mesh) -> Workload {
        let attachment =
            |(network, addresses): (String, _)| (network.clone(), Attachment { network, addresses });
        let mut labels = self.labels;
        labels.insert(label::ENABLE.to_owned(), "true".to_owned());
        let key = ServiceKey { namespace: self.namespace.clone(), service: self.service };
        let (said, faults) = file.declare(&key, &label::read(&labels), &self.published);
        assert_eq!(faults, []);
        Workload {
            id: WorkloadId(format!("id-{name}")),
            name,
            namespace: self.namespace,
            declared: Declared {
                ports: if self.ports.is_empty() {
                    said.ports
                } else {
                    self.ports.into_iter().map(|(port, text)| (port, protocol(&text))).collect()
                },
                version: self.version.or(said.version),
                app_address: self.app_address.or(said.app_address),
                ..said
            },
            aliases: self.aliases,
            zone: self.zone,
            networks: self.networks.into_iter().map(attachment).collect(),
            exposed: self.exposed,
            published: self.published,
            lifecycle: match self.lifecycle.as_str() {
                "" | "running" => Lifecycle::Running,
                "paused" => Lifecycle::Paused,
                "stopping" => Lifecycle::Stopping,
                "stopped" => Lifecycle::Stopped,
                other => panic!("lifecycle {other}"),
            },
            instance: self.instance,
            health: match self.health.as_str() {
                "" | "unchecked" => Health::Unchecked,
                "starting" => Health::Starting,
                "healthy" => Health::Healthy,
                "unhealthy" => Health::Unhealthy,
                other => panic!("health {other}"),
            },
            one_off: self.one_off,
            mesh_port: self.mesh_port,
            outside: self
                .outside
                .map(|said| Outside { registry: "Cloud Map shop.internal".into(), port: said.port }),
            observed: self.listening.map(|listening| Observed {
                ready: self.sidecar_ready,
                wildcard: listening.difference(&self.loopback).copied().collect(),
                listening,
                loopback: self.loopback,
                settled: self.settled,
                stopping: false,
                checked: self.check.as_deref().map(|said| {
                    match said.split_once(": ").unwrap_or((said, "")) {
                        ("passing", _) => Checked::Passing,
                        ("pending", why) => Checked::Pending(why.to_owned()),
                        ("failing", why) => Checked::Failing(why.to_owned()),
                        other => panic!("check {other:?}"),
                    }
                }),
            }),
        }
    }
}

fn protocol(text: &str) -> Protocol {
    match text {
        "detect" => Protocol::Detect,
        "http" => Protocol::Http,
        "http2" => Protocol::Http2,
        "tcp" => Protocol::Tcp,
        other => panic!("protocol {other}"),
    }
}
