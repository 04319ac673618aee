//! The controller's `/status`, as far as it is shown. Unknown fields are skipped: a newer controller may say more.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The root.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub version: String,
    pub mesh: String,
    pub scope: String,
    pub trust_domain: String,
    /// Unix seconds.
    pub started: u64,
    pub ready: bool,
    pub sources: Vec<Source>,
    pub services: Vec<Service>,
    pub sidecars: Vec<Sidecar>,
    pub edges: Vec<Edge>,
    /// A controller of 0.1 does not say.
    #[serde(default)]
    pub outsiders: Vec<Outsider>,
    /// Nor one of 0.2.
    #[serde(default)]
    pub ejections: Vec<Ejection>,
    /// Nor where no ECS service asks for injection.
    #[serde(default)]
    pub injections: Vec<Injection>,
    pub problems: Vec<Problem>,
    pub injection_gap: Gap,
}

/// A service of ECS that asks for injection by its tag.
#[derive(Clone, Debug, Deserialize)]
pub struct Injection {
    pub service: String,
    pub state: String,
    pub revision: String,
    pub what: String,
}

/// One source of workloads.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    pub name: String,
    pub current: bool,
    pub age_s: Option<u64>,
    pub about: String,
    pub last_error: Option<String>,
}

/// One service.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub name: String,
    pub namespace: String,
    pub virtual_address: Option<String>,
    pub ports: Vec<Port>,
    /// Its replicas without a sidecar.
    #[serde(default)]
    pub outside: Option<Outside>,
}

/// What a registry names.
#[derive(Clone, Debug, Deserialize)]
pub struct Outside {
    pub registry: String,
    pub instances: usize,
    pub age_s: Option<u64>,
    pub last_error: Option<String>,
}

/// One port of a service.
#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    pub port: u16,
    pub protocol: String,
    pub endpoints: Vec<Endpoint>,
}

/// One replica behind a port.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    pub workload: String,
    /// By network.
    pub addresses: BTreeMap<String, Vec<String>>,
    pub ready: bool,
    pub reason: Option<String>,
    pub lifecycle: String,
    pub health: String,
    pub version: Option<String>,
    /// A controller of 0.1 does not say.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Its availability zone, where callers go by it.
    #[serde(default)]
    pub zone: Option<String>,
}

/// One sidecar.
#[derive(Clone, Debug, Deserialize)]
pub struct Sidecar {
    pub workload: String,
    /// Service and namespace (`cart.shop`).
    pub service: String,
    /// `permissive` or `strict`.
    #[serde(default)]
    pub mode: String,
    #[serde(default)]
    pub bypassable: bool,
    pub container: Option<String>,
    pub connected: bool,
    pub ready: bool,
    #[serde(default)]
    pub upgrading: bool,
    pub version: String,
    pub config_version: String,
    pub sent_version: String,
    pub last_nack: Option<String>,
    /// Unix seconds.
    pub certificate_issued: Option<u64>,
    /// Unix seconds.
    pub certificate_expires: Option<u64>,
    pub injection_gap_ms: Option<u64>,
    /// Seconds since its last report.
    #[serde(default)]
    pub report_age_s: Option<u64>,
    pub unmeshed_connections: u32,
    /// Its availability zone, where the platform says.
    #[serde(default)]
    pub zone: Option<String>,
}

/// Traffic from one service to another.
#[derive(Clone, Debug, Deserialize)]
pub struct Edge {
    pub source: String,
    pub destination: String,
    pub port: u16,
    pub protocol: String,
    pub mtls: bool,
    pub requests: u64,
    pub errors: u64,
}

/// Somebody outside the mesh who calls in plaintext.
#[derive(Clone, Debug, Deserialize)]
pub struct Outsider {
    /// Service and namespace.
    pub service: String,
    pub port: u16,
    pub from: String,
    pub connections: u64,
    pub refused: u64,
    /// Unix seconds.
    pub last_seen: u64,
    pub would_break: bool,
}

/// Something that the controller knows to be wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    pub kind: String,
    pub subject: String,
    pub what: String,
}

impl Problem {
    /// Nothing is wrong: it says what strict does not cover.
    pub fn is_warning(&self) -> bool {
        ["strict", "edge"].contains(&self.kind.as_str())
    }
}

/// The injection gap, milliseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Gap {
    pub count: usize,
    pub median_ms: Option<u64>,
    pub max_ms: Option<u64>,
}

/// A replica that one caller sends nothing to for a while.
#[derive(Clone, Debug, Deserialize)]
pub struct Ejection {
    pub endpoint: String,
    pub port: u16,
    pub by: String,
    /// Unix milliseconds.
    pub since_ms: u64,
    /// Unix milliseconds.
    pub until_ms: u64,
    pub errors: Option<u32>,
    pub percent: Option<u32>,
    pub others_percent: Option<u32>,
    pub overruled: bool,
}
