use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::{Policy, RateLimit, Route};

/// Names one workload for its source: a container id, a task's container, a pid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId(pub String);

/// One replica of a service: a container, a task, a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its id at the source.
    pub id: WorkloadId,
    /// Its own name, which the resolver answers too (`shop-cart-1`).
    pub name: String,
    /// Compose project or ECS cluster.
    pub namespace: String,
    /// What users say about it, checked.
    pub declared: Declared,
    /// Further names on its networks (compose aliases), lower case.
    pub aliases: BTreeSet<String>,
    /// Where it runs, as its platform names it (`eu-west-1a`); none where that is not known, or says nothing.
    pub zone: Option<String>,
    /// Networks it is on, by network id.
    pub networks: BTreeMap<String, Attachment>,
    /// Ports its image or definition exposes.
    pub exposed: BTreeSet<u16>,
    /// Of these, the ports that the platform publishes to outsiders.
    pub published: BTreeSet<u16>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Names the run of its network namespace; none while there is none.
    pub instance: Option<String>,
    /// What the platform's own check says.
    pub health: Health,
    /// True for `compose run` one-offs: they call, and are never endpoints.
    pub one_off: bool,
    /// The port of its host that leads to its sidecar's inbound port (ECS bridge mode); none: peers use that port itself.
    pub mesh_port: Option<u16>,
    /// It has no sidecar and never will: callers reach its application in plaintext. None: it is of the mesh.
    pub outside: Option<Outside>,
    /// What its sidecar reports; none while there is no ready sidecar.
    pub observed: Option<Observed>,
}

/// What a registry says of a replica outside the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Where it is registered, for people: `Cloud Map shop.internal/billing`.
    pub registry: Arc<str>,
    /// The port where it serves, in the place of the called one; none: that one.
    pub port: Option<u16>,
}

/// Settings of one workload, from labels (and, later, the mesh file).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Service name; identity and DNS name.
    pub service: String,
    /// Ports said to be served, with what is spoken there.
    pub ports: BTreeMap<u16, Protocol>,
    /// Version, for subsets.
    pub version: Option<String>,
    /// Its share of what callers balance, 0 to 1000, against that of other replicas; none said: 100.
    pub weight: Option<u32>,
    /// How traffic is captured.
    pub capture: Capture,
    /// Plaintext from outside: accepted or refused.
    pub mode: Mode,
    /// Ports that outsiders reach; none said: those the platform publishes.
    pub edge: Option<BTreeSet<u16>>,
    /// Where the application listens, if not at its own address.
    pub app_address: Option<IpAddr>,
    /// What the application calls on 127.0.0.1, by local port (`explicit` capture).
    pub upstreams: BTreeMap<u16, Upstream>,
    /// Which of its ports speak the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Limits in time of calls to it.
    pub timeouts: Timeouts,
    /// What its callers do about replicas that fail.
    pub policy: Policy,
    /// Where requests to it go, in the order of the mesh file; its workloads share them. Empty: to it.
    pub routes: Arc<[Route]>,
    /// How many requests its application gets in a time; shared by the workloads of its service. Empty: as many as come.
    pub rate_limits: Arc<[RateLimit]>,
}

/// Ports where the PROXY protocol says who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Plaintext connections from outside begin with a header there.
    pub accept: BTreeSet<u16>,
    /// Those of these senders; empty: of all.
    pub from: BTreeSet<IpNet>,
    /// The application gets a header there.
    pub send: BTreeSet<u16>,
}

/// Limits in time of calls to a service; `None`: nobody said one. Zero switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's head sent to the response's head received.
    pub request: Option<Duration>,
    /// No byte in either direction on a byte stream or an upgraded connection.
    pub idle: Option<Duration>,
    /// From a request's head sent to the last byte of its response.
    pub stream: Option<Duration>,
    /// No byte in either direction of a request whose response has begun.
    pub stream_idle: Option<Duration>,
    /// To connect to an endpoint, TLS included; never zero.
    pub connect: Option<Duration>,
    /// Requests carry the time that is left for them.
    pub pass_on: Option<bool>,
}

/// A port of a service, as an application with `explicit` capture names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream {
    /// The service (`cart`, or `cart.shop` for one of another namespace).
    pub service: String,
    /// Its port.
    pub port: u16,
}

impl Upstream {
    /// The environment variable that tells the application where it finds this upstream
    /// (`OUTRIGGER_UPSTREAM_CART_8080`, its value `127.0.0.1:9001`): upper case, `_` for all but letters and digits.
    pub fn variable(&self) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let service: String = self.service.chars().map(letter).collect();
        format!("OUTRIGGER_UPSTREAM_{service}_{}", self.port)
    }
}

/// How traffic is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// Redirect in the workload's network namespace.
    #[default]
    Transparent,
    /// Names lead to virtual addresses where the sidecar listens; inbound is not captured.
    Names,
    /// The platform redirects (ECS awsvpc).
    Platform,
    /// A local port per upstream; inbound is not captured.
    Explicit,
}

impl Workload {
    /// Ports that outsiders reach: those said, else those published.
    pub fn edge(&self) -> &BTreeSet<u16> {
        self.declared.edge.as_ref().unwrap_or(&self.published)
    }

    /// True if outsiders reach the application without its sidecar: inbound is not captured, and the application does
    /// not listen on loopback alone. Until somebody has looked, what is declared counts.
    pub fn bypassable(&self) -> bool {
        let declared = || self.declared.app_address.is_some_and(|address| address.is_loopback());
        let on_loopback = |seen: &Observed| seen.listening.is_subset(&seen.loopback);
        !self.declared.capture.takes_inbound() && !self.observed.as_ref().map_or_else(declared, on_loopback)
    }
}

impl Capture {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Transparent, Self::Names, Self::Platform, Self::Explicit];

    /// As written in labels and in mesh.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transparent => "transparent",
            Self::Names => "names",
            Self::Platform => "platform",
            Self::Explicit => "explicit",
        }
    }

    /// True if connections from outside reach the sidecar first, so that policy cannot be gone around.
    pub fn takes_inbound(self) -> bool {
        matches!(self, Self::Transparent | Self::Platform)
    }
}

/// Plaintext from outside the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Accepted and counted.
    #[default]
    Permissive,
    /// Refused, except on edge ports.
    Strict,
}

impl Mode {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Permissive, Self::Strict];

    /// As written in labels and in mesh.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permissive => "permissive",
            Self::Strict => "strict",
        }
    }
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Seen from the first bytes.
    #[default]
    Detect,
    /// HTTP/1.x or HTTP/2.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// As written in labels and in mesh.yaml; `grpc` is another word for `http2`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "detect" => Some(Self::Detect),
            "http" => Some(Self::Http),
            "http2" | "grpc" => Some(Self::Http2),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }

    /// As written in labels and in mesh.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Tcp => "tcp",
        }
    }
}

/// An address on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name, for people.
    pub network: String,
    /// Addresses there, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// Where a workload is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Runs.
    Running,
    /// Frozen: no traffic, but it stays.
    Paused,
    /// Somebody asked it to stop: no new traffic.
    Stopping,
    /// Not running now (created, exited, between two runs of a restart): its service stays known.
    Stopped,
}

/// What the platform's own health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is none: a listening port is the sign.
    Unchecked,
    /// Not yet known.
    Starting,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
}

/// What the sidecar of a workload reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Certified, configured and listening.
    pub ready: bool,
    /// The platform told its sidecar that the workload is to stop.
    pub stopping: bool,
    /// Ports where the application listens.
    pub listening: BTreeSet<u16>,
    /// Ports where it listens on every address (0.0.0.0 or ::), or did when it was last seen there: nobody else should
    /// bind them.
    pub wildcard: BTreeSet<u16>,
    /// Of these, the ports where it listens on loopback only: nobody outside reaches them.
    pub loopback: BTreeSet<u16>,
    /// It was looked at for long enough: what listens nowhere by now has no port.
    pub settled: bool,
    /// What the sidecar's health check says; none: there is none, or it says nothing yet.
    pub checked: Option<Checked>,
}

/// What the sidecar's health check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It has not passed since the application started; why the last try failed, if one has.
    Pending(String),
    /// Good.
    Passing,
    /// Bad, and why.
    Failing(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_has_a_variable() {
        let upstream = Upstream { service: "my-cart.shop".into(), port: 8080 };
        assert_eq!(upstream.variable(), "OUTRIGGER_UPSTREAM_MY_CART_SHOP_8080");
    }
}
