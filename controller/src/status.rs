//! What `GET /status` answers: the whole of what the controller knows, as one JSON tree. Read-only; the
//! command line re-reads it with its own types, so fields are only ever added.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

/// The root.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Version of the controller.
    pub version: String,
    /// Name of the mesh.
    pub mesh: String,
    /// `project <name>` or `engine`.
    pub scope: String,
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Names the root to sidecars on other hosts (`OUTRIGGER_CONTROL_PIN`, `outrigger inject ecs --pin`): `sha256:` and 64
    /// hex digits; none while there is no usable root.
    pub control_pin: Option<String>,
    /// Unix seconds at which the controller started.
    pub started: u64,
    /// Every source has given a whole view and the control socket listens.
    pub ready: bool,
    /// Where workloads come from.
    pub sources: Vec<Source>,
    /// Services, ordered by namespace and name.
    pub services: Vec<Service>,
    /// One for each workload that has, or should have, a sidecar; ordered by workload name.
    pub sidecars: Vec<Sidecar>,
    /// Who called whom since the sidecars started.
    pub edges: Vec<Edge>,
    /// Who called in plaintext from outside the mesh since the sidecars started, ordered by service and port.
    pub outsiders: Vec<Outsider>,
    /// Replicas that callers send nothing to for a while, ordered by replica, port and caller.
    pub ejections: Vec<Ejection>,
    /// Services that ask for injection by a tag (ECS), ordered by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub injections: Vec<Injection>,
    /// What is wrong and what to do about it.
    pub problems: Vec<Problem>,
    /// From an application's start to its serving sidecar, over the last 100 injections.
    pub injection_gap: Gap,
}

/// One source of workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `docker`, or `file`: the mesh file.
    pub name: String,
    /// Its view is whole and current; false: what is shown is the last good view.
    pub current: bool,
    /// Seconds since the last whole view; none before the first.
    pub age_s: Option<u64>,
    /// What it talks to (`Docker Engine 20.10.24, API 1.41`); empty before the first contact.
    pub about: String,
    /// Why it is not current; kept until it is again.
    pub last_error: Option<String>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Compose project.
    pub namespace: String,
    /// The address that its name resolves to.
    pub virtual_address: Option<IpAddr>,
    /// Its ports, in order.
    pub ports: Vec<Port>,
    /// What is known of its replicas that have no sidecar; none: all have, or should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
}

/// The replicas of a service that a registry names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outside {
    /// Which registry, and what is looked up there (`Cloud Map shop.internal/billing`).
    pub registry: String,
    /// How many are called; those that have a sidecar are not among them.
    pub instances: usize,
    /// Seconds since it last answered; none before the first answer.
    pub age_s: Option<u64>,
    /// Why it does not; what it said before holds.
    pub last_error: Option<String>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// `detect`, `http`, `http2` or `tcp`.
    pub protocol: &'static str,
    /// Every replica, ready or not, by workload name.
    pub endpoints: Vec<Endpoint>,
}

/// One replica behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The replica's name (`shop-cart-1`).
    pub workload: String,
    /// Addresses by network name.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// It has no sidecar, and is called in plaintext.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// It takes traffic.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// `running`, `paused`, `stopping` or `stopped`.
    pub lifecycle: &'static str,
    /// `unchecked`, `starting`, `healthy` or `unhealthy`.
    pub health: &'static str,
    /// Its version label.
    pub version: Option<String>,
    /// Its weight label; 100 where it has none.
    pub weight: u32,
    /// Its availability zone, where callers go by it (ECS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// One sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sidecar {
    /// The replica it stands for (`shop-cart-1`).
    pub workload: String,
    /// Service and namespace of that replica (`cart.shop`).
    pub service: String,
    /// How traffic is captured: `transparent`, `names`, `platform` or `explicit`.
    pub capture: &'static str,
    /// `permissive` or `strict`.
    pub mode: &'static str,
    /// Outsiders reach the application without it.
    pub bypassable: bool,
    /// Its container's name; none while there is no container.
    pub container: Option<String>,
    /// Its control stream is open.
    pub connected: bool,
    /// It says that it is certified, configured and listening.
    pub ready: bool,
    /// Another sidecar is taking its place.
    pub upgrading: bool,
    /// Version of its binary; empty before its hello.
    pub version: String,
    /// Hash of the configuration that it acknowledged last; empty before the first.
    pub config_version: String,
    /// Hash of the configuration that was sent last; differs from the above while an answer is awaited.
    pub sent_version: String,
    /// Why it refused a configuration; none once it took a later one.
    pub last_nack: Option<String>,
    /// Unix seconds from which its certificate is good.
    pub certificate_issued: Option<u64>,
    /// Unix seconds at which its certificate ends.
    pub certificate_expires: Option<u64>,
    /// Seconds since its last report.
    pub report_age_s: Option<u64>,
    /// Milliseconds from the application's start to its serving sidecar; none when it was adopted.
    pub injection_gap_ms: Option<u64>,
    /// Application connections older than the capture, still open.
    pub unmeshed_connections: u32,
    /// Ports where its application listens.
    pub listening: Vec<u16>,
    /// The availability zone of its workload, where the platform says (ECS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// Traffic from one service to another, as counted by the caller's sidecars; where the caller has none
/// (`unknown`, `edge`), by the callee's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// `web.shop`, or for plaintext from outside `unknown`, `edge` where it came to an edge port.
    pub source: String,
    /// `cart.shop`, or `passthrough` for destinations that are not the mesh's.
    pub destination: String,
    /// The called port.
    pub port: u16,
    /// `http`, `grpc` or `tcp`.
    pub protocol: String,
    /// Mutual TLS carried it.
    pub mtls: bool,
    /// Requests, or connections of byte streams.
    pub requests: u64,
    /// Of these, failed or answered 5xx.
    pub errors: u64,
}

/// Somebody outside the mesh who calls a service in plaintext. Sidecars remember 64 addresses each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outsider {
    /// Who is called (`cart.shop`).
    pub service: String,
    /// The called port.
    pub port: u16,
    /// Who calls, for people: a container, the host, or the address.
    pub from: String,
    /// The addresses it called from.
    pub addresses: BTreeSet<IpAddr>,
    /// Connections, served and refused.
    pub connections: u64,
    /// Of these, refused by strict.
    pub refused: u64,
    /// Unix seconds of the last one.
    pub last_seen: u64,
    /// The port is an edge port: served under strict, too.
    pub edge: bool,
    /// Strict refuses it, or would.
    pub would_break: bool,
}

/// A replica that one caller's sidecar sends nothing to for a while, because of what it saw itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ejection {
    /// The replica (`shop-cart-2`).
    pub endpoint: String,
    /// The called port.
    pub port: u16,
    /// Service and namespace of the replica (`cart.shop`).
    pub service: String,
    /// The calling replica (`shop-web-1`).
    pub by: String,
    /// Unix milliseconds of its beginning.
    pub since_ms: u64,
    /// Unix milliseconds of its end.
    pub until_ms: u64,
    /// `consecutive-errors` or `success-rate`.
    pub why: &'static str,
    /// So many failures in a row, where that is why.
    pub errors: Option<u32>,
    /// Percent of its requests that succeeded, where that is why.
    pub percent: Option<u32>,
    /// Percent that succeeded on the average of the others, where that is why.
    pub others_percent: Option<u32>,
    /// It is called all the same: too few others are left (`panic`).
    pub overruled: bool,
}

/// A service that asks for injection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Injection {
    /// Name and cluster (`cart.shop`).
    pub service: String,
    /// `meshed`, `planned`, `moving`, `waiting` or `refused`; a refused one is a problem, too.
    pub state: &'static str,
    /// Its revision (`cart:7`).
    pub revision: String,
    /// What is done, awaited, or would be done.
    pub what: String,
}

/// Something that is wrong, or (kind `strict`) something to know that is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// `label`, `conflict`, `refused`, `injection`, `mesh-file`, `capture`, `source`, `state`, `bypassable`,
    /// `names`, or one that is only good to know: `strict`, what strict does not cover; `edge`, what outsiders do not find.
    pub kind: &'static str,
    /// The container, service or file it is about.
    pub subject: String,
    /// What is wrong, and the way out.
    pub what: String,
}

/// The injection gap, milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Injections measured (at most 100 are kept).
    pub count: usize,
    /// Half of them took at most this.
    pub median_ms: Option<u64>,
    /// 99 of 100 took at most this.
    pub p99_ms: Option<u64>,
    /// The longest.
    pub max_ms: Option<u64>,
    /// All that are kept, oldest first.
    pub recent_ms: Vec<u64>,
}
