//! The configuration of one sidecar. Unknown keys are refused everywhere: a sidecar that does not
//! know a field says so (nack) instead of dropping a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Balance, Capacity, Catalog, Check, HashOn, Policy, RateLimit, Route, Shared, SpiffeId};

/// All that one sidecar runs. Maps are ordered, so equal configurations have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Who this sidecar stands for and where it listens.
    pub proxy: Proxy,
    /// What the application can call, by key (`cart.shop`).
    #[serde(default, skip_serializing_if = "Catalog::is_empty")]
    pub services: Catalog<Shared<Service>>,
    /// Where calls go, by key (`cart.shop:8080`).
    #[serde(default, skip_serializing_if = "Catalog::is_empty")]
    pub clusters: Catalog<Shared<Cluster>>,
}

/// The sidecar's own side: identity, listeners, the application behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// The identity its certificate must carry.
    pub identity: SpiffeId,
    /// The replica's name, for logs and metrics (`shop-cart-1`).
    pub workload: String,
    /// Where it runs (`eu-west-1a`): endpoints there are preferred. None: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What happens to plaintext from outside the mesh.
    #[serde(default)]
    pub mode: Mode,
    /// Ports where plaintext from outside is welcome under strict, too; counted apart.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub edge: BTreeSet<u16>,
    /// Where the sidecar listens, by name.
    pub listeners: BTreeMap<String, Listener>,
    /// Ports of the application that traffic may reach, beyond those seen listening.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, InboundPort>,
    /// Also hand over to ports that are not in `ports` but where the application is seen listening.
    #[serde(default = "yes")]
    pub seen_ports: bool,
    /// How many requests the application gets in a time, on whichever port; each of them must admit a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// How much may be under way to the application at once.
    #[serde(default, skip_serializing_if = "Capacity::is_default")]
    pub capacity: Capacity,
    /// Keep the names of services, with their virtual addresses, in the hosts file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosts: bool,
    /// How it asks the application whether it can serve; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// Permissive accepts plaintext from outside the mesh and counts it; strict refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Plaintext from outside is accepted and counted.
    #[default]
    Permissive,
    /// Plaintext from outside is refused.
    Strict,
}

/// One listening socket. Unknown keys are refused by the kind: serde cannot refuse them on both sides of a
/// flattened field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where to bind; `[::]` binds both families, and port 0 takes any.
    pub address: SocketAddr,
    /// What arrives there.
    #[serde(flatten)]
    pub kind: ListenerKind,
}

/// What arrives at a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ListenerKind {
    /// Connections the application opens.
    Outbound {
        /// How the destination is found.
        target: Target,
    },
    /// Plaintext connections from outside to the application.
    Inbound {
        /// How the application's port is found.
        target: Target,
    },
    /// Mutual TLS from other sidecars; the server name says which port (`8080.cart.shop`).
    Mesh,
    /// DNS over UDP and TCP; `forward` are the servers for names that are not the mesh's
    /// (none: those of /etc/resolv.conf).
    Dns {
        /// Upstream resolvers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        forward: Vec<SocketAddr>,
    },
}

/// How a listener learns where a connection is meant to go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Ask the kernel for the address before the redirect.
    OriginalDestination,
    /// A service of this configuration and a port of it.
    Service {
        /// Key in `services`.
        name: String,
        /// Port of that service.
        port: u16,
    },
    /// A port of the own application (inbound only).
    Port(u16),
}

/// Written as a map in YAML too: serde cannot read a tag (`!service`) inside a flattened field.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Service<'a> {
            name: &'a str,
            port: u16,
        }
        match self {
            Self::OriginalDestination => serializer.serialize_str("original-destination"),
            Self::Service { name, port } => {
                serializer.collect_map([("service", Service { name, port: *port })])
            }
            Self::Port(port) => serializer.collect_map([("port", port)]),
        }
    }
}

/// A port of the application behind the sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundPort {
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where the application listens; none: at the address the connection was meant for, or on
    /// 127.0.0.1 when it listens nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_address: Option<SocketAddr>,
    /// Who the client is, in the words of the PROXY protocol.
    #[serde(default, skip_serializing_if = "ProxyProtocol::is_default")]
    pub proxy_protocol: ProxyProtocol,
}

/// Who expects a PROXY protocol header, and who gets one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// Plaintext connections from outside begin with a header.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept: bool,
    /// Of these senders; empty: of all. Connections of others have none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub from: BTreeSet<IpNet>,
    /// Connections to the application begin with a header.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub send: bool,
}

impl ProxyProtocol {
    /// Nobody expects or gets one.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a connection from there begins with a header.
    pub fn expects(&self, sender: IpAddr) -> bool {
        self.accept && (self.from.is_empty() || self.from.iter().any(|range| range.contains(&sender)))
    }
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Look at the first bytes: HTTP/1.x, HTTP/2 with prior knowledge, otherwise bytes.
    #[default]
    Detect,
    /// HTTP/1.x or HTTP/2 by its first bytes, nothing else.
    Http,
    /// HTTP/2 with prior knowledge (gRPC).
    Http2,
    /// Bytes; the only right choice where the server speaks first.
    Tcp,
}

/// A service that the application can call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Names the resolver answers with the virtual addresses (`cart`, `cart.shop`), lower case.
    pub names: Vec<String>,
    /// Addresses that stand for the whole service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: BTreeMap<u16, ServicePort>,
    /// Names of single replicas and the address of each (`shop-cart-1`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, IpAddr>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePort {
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
    /// Key in `clusters`.
    pub cluster: String,
    /// Limits in time.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Where its requests go; empty: to its cluster. One that no route takes is answered with 404.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// Limits in time, in milliseconds; 0 switches one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the request's head sent to the response's head received. Default 15,000; upgrades are exempt
    /// once switched.
    pub request_ms: u64,
    /// No byte in either direction on a byte stream or an upgraded connection. Default 3,600,000.
    pub idle_ms: u64,
    /// From the request's head sent to the last byte of the response, or of the upgraded connection. Default 0: none.
    #[serde(skip_serializing_if = "is_zero")]
    pub stream_ms: u64,
    /// No byte in either direction of a request whose response has begun. Default 0: none; upgrades have `idle_ms`.
    #[serde(skip_serializing_if = "is_zero")]
    pub stream_idle_ms: u64,
    /// Requests say until when they must be answered, and those whose time has passed are not sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pass_on: bool,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request_ms: 15_000, idle_ms: 3_600_000, stream_ms: 0, stream_idle_ms: 0, pass_on: false }
    }
}

/// A set of endpoints that serve the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The service it belongs to (`cart.shop`), for metrics.
    pub service: String,
    /// The application's port at the endpoints.
    pub port: u16,
    /// Identity every endpoint must prove (mesh transport).
    pub identity: SpiffeId,
    /// Milliseconds to connect, TLS included. Default 2,000.
    #[serde(default = "connect_timeout")]
    pub connect_timeout_ms: u64,
    /// What is done about endpoints that fail.
    #[serde(default, skip_serializing_if = "Policy::is_default")]
    pub policy: Policy,
    /// How an endpoint is picked.
    #[serde(default, skip_serializing_if = "Balance::is_default")]
    pub balance: Balance,
    /// What keeps requests together, where that is by hash.
    #[serde(default, skip_serializing_if = "HashOn::is_default")]
    pub hash_on: HashOn,
    /// Milliseconds in which the share of an endpoint that became ready rises from a tenth to the whole; 0: at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_start_ms: u64,
    /// Where it is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

impl Cluster {
    /// The server name (SNI) a caller sends: port, service, namespace.
    pub fn server_name(&self) -> String {
        format!("{}.{}", self.port, self.service)
    }
}

/// One replica of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The replica's name (`shop-cart-1`).
    pub workload: String,
    /// Where to connect: the sidecar's mesh port, or the application where transport is plaintext.
    pub address: SocketAddr,
    /// How.
    #[serde(default)]
    pub transport: Transport,
    /// Names the run of its network namespace. Another run is another endpoint: connections to the one before
    /// lead nowhere, also where name and address stay. Empty: it has only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Its other addresses: a call of the application to one of them, on the cluster's port, comes to this endpoint too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub also: BTreeSet<IpAddr>,
    /// False keeps it out of balancing; it can still be called by its own name or address.
    #[serde(default = "yes")]
    pub ready: bool,
    /// Its share of what is balanced, against that of others; 0: none, as if it were not ready. Default 100.
    #[serde(default = "ordinary", skip_serializing_if = "is_ordinary")]
    pub weight: u32,
    /// Where it runs; none: not known, or of no matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Endpoint {
    /// Weight of an endpoint of which nobody said one: others are percentages of it.
    pub const WEIGHT: u32 = 100;
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Mutual TLS 1.3 to its sidecar.
    #[default]
    Mesh,
    /// The application itself, unencrypted: a replica outside the mesh, which has no sidecar.
    Plaintext,
}

fn yes() -> bool {
    true
}

fn ordinary() -> u32 {
    Endpoint::WEIGHT
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_ordinary(weight: &u32) -> bool {
    *weight == Endpoint::WEIGHT
}

fn connect_timeout() -> u64 {
    2_000
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
