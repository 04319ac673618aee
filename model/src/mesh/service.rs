//! What an author says of one service: in `services` of a mesh file, or in labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::cloud_map::CloudMap;
use super::fault::{Code, Said};
use super::limits::{CONNECT, DEADLINE, IDLE, Limits, STREAM, STREAM_IDLE, TIMEOUT};
use super::node::Node;
use super::reader::Reader;
use super::table::{Choice, Key, Kind, Section};
use super::{cloud_map, policy, proxy_protocol, rates, routes, value};
use crate::{Capture, Mode, Policy, Protocol, ProxyProtocol, RateLimit, Route, ServiceKey, Upstream};

/// `mode`, for the whole mesh and for one service.
pub(crate) const fn mode(default: &'static str) -> Key {
    Key { default, ..MODE }
}

const MODE: Key = Key {
    name: "mode",
    kind: Kind::Choice(&[
        Choice { word: "permissive", about: "accepted, and counted" },
        Choice { word: "strict", about: "refused, except on edge ports" },
    ]),
    label: Some("mode"),
    about: "What happens to plaintext from outside the mesh.",
    default: "permissive",
    example: "strict",
};

/// The keys of one service.
pub const SECTION: Section = Section {
    keys: &[
        Key {
            name: "ports",
            kind: Kind::Ports,
            label: Some("port"),
            about: "The ports it serves and what is spoken there; a list of ports where that is to be detected. Write \
                    `tcp` where the server speaks first and the port is not a well-known one.",
            default: "the ports its image exposes and those it is seen listening on, detected",
            example: "{ 8080: http, 6379: tcp }",
        },
        mode("the `mode` at the top of the file"),
        Key {
            name: "capture",
            kind: Kind::Choice(&[
                Choice { word: "transparent", about: "redirected in its network namespace, both ways" },
                Choice { word: "names", about: "mesh names lead to the sidecar; inbound is not captured" },
                Choice { word: "platform", about: "the platform redirects (Amazon ECS)" },
                Choice { word: "explicit", about: "a local port for each upstream; inbound is not captured" },
            ]),
            label: Some("capture"),
            about: "How its traffic comes to its sidecar.",
            default: "transparent",
            example: "names",
        },
        Key {
            name: "edge",
            kind: Kind::PortList,
            label: Some("edge"),
            about: "The ports that people and programs outside the mesh reach: they accept plaintext under `strict`, too. \
                    `none`: no port, whatever is published.",
            default: "the published ports",
            example: "[ 443 ]",
        },
        Key {
            name: "app-address",
            kind: Kind::Address,
            label: Some("app-address"),
            about: "The IP address where the application listens, as its own network namespace sees it.",
            default: "its own address, or 127.0.0.1 for a declared port that listens nowhere else",
            example: "127.0.0.1",
        },
        Key {
            name: "upstreams",
            kind: Kind::Upstreams,
            label: Some("upstreams"),
            about: "With `capture: explicit`: what it calls on 127.0.0.1, by local port: a service and its port; a list \
                    where both ports are the same.",
            default: "none",
            example: "{ 9001: \"cart:8080\" }",
        },
        proxy_protocol::KEY,
        cloud_map::KEY,
        TIMEOUT,
        IDLE,
        STREAM,
        STREAM_IDLE,
        CONNECT,
        DEADLINE,
        policy::RETRIES,
        policy::HEALTH,
        policy::LIMITS,
        policy::BALANCE,
        policy::SLOW_START,
        policy::ZONES,
        rates::RATE_LIMITS,
        routes::ROUTES,
    ],
};

/// A service as a mesh file names it: `cart` in every namespace, or `cart.shop` in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its name.
    pub service: String,
    /// Where, if not everywhere.
    pub namespace: Option<String>,
}

impl ServiceName {
    /// Reads `cart` or `cart.shop`; each part is 1 to 63 of `a-z`, `0-9`, `-` and `_`, without `-` at its ends.
    pub fn parse(text: &str) -> Option<Self> {
        let (service, namespace) = match text.split_once('.') {
            Some((service, namespace)) => (service, Some(namespace)),
            None => (text, None),
        };
        let sound = is_dns_label(service) && namespace.is_none_or(is_dns_label);
        sound.then(|| Self { service: service.to_owned(), namespace: namespace.map(str::to_owned) })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, ".{namespace}"))
    }
}

impl From<&ServiceKey> for ServiceName {
    fn from(key: &ServiceKey) -> Self {
        Self { service: key.service.clone(), namespace: Some(key.namespace.clone()) }
    }
}

/// RFC 1123: 1 to 63 of `[a-z0-9-]` (and `_`, which compose allows), no `-` at the ends.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=63).contains(&text.len())
        && text.bytes().all(letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Settings of one service, checked; `None`: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `ports`.
    pub ports: Option<Said<BTreeMap<u16, Protocol>>>,
    /// `mode`.
    pub mode: Option<Said<Mode>>,
    /// `capture`.
    pub capture: Option<Said<Capture>>,
    /// `edge`; empty: none.
    pub edge: Option<Said<BTreeSet<u16>>>,
    /// `app-address`.
    pub app_address: Option<Said<IpAddr>>,
    /// `upstreams`, by local port.
    pub upstreams: Option<Said<BTreeMap<u16, Upstream>>>,
    /// `proxy-protocol`.
    pub proxy_protocol: Option<Said<ProxyProtocol>>,
    /// `cloud-map`.
    pub cloud_map: Option<Said<CloudMap>>,
    /// `timeout`, `idle-timeout`, `stream-timeout`, `stream-idle-timeout`, `connect-timeout`.
    pub limits: Limits,
    /// `retries`, `health`, `limits`, `balance`, `slow-start`.
    pub policy: Policy,
    /// `routes`, shared by its workloads.
    pub routes: Option<Said<Arc<[Route]>>>,
    /// `rate-limits`, shared by its workloads.
    pub rate_limits: Option<Said<Arc<[RateLimit]>>>,
}

impl Service {
    /// Reads the settings of one service, from a file or from labels.
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Self {
        let fields = reader.section(node, &SECTION);
        let service = Self {
            ports: fields.read(reader, "ports", value::ports),
            mode: fields.read(reader, "mode", value::mode),
            capture: fields.read(reader, "capture", value::capture),
            edge: fields.read(reader, "edge", value::port_list_or_none),
            app_address: fields.read(reader, "app-address", value::address),
            upstreams: fields.read(reader, "upstreams", value::upstreams),
            proxy_protocol: fields.read(reader, "proxy-protocol", proxy_protocol::read),
            cloud_map: fields.read(reader, "cloud-map", cloud_map::read),
            limits: Limits::read(reader, &fields),
            policy: Policy::read(reader, &fields),
            routes: fields.read(reader, "routes", routes::routes),
            rate_limits: fields.read(reader, "rate-limits", rates::rate_limits),
        };
        if let (Some(node), Some(capture)) = (fields.node("upstreams"), &service.capture)
            && capture.value != Capture::Explicit
        {
            let what = format!("upstreams change nothing with capture {}", capture.value.as_str());
            reader.within("upstreams", |r| r.warn(node, what, "write capture: explicit, or remove them"));
        }
        if let (Some(node), Some(capture)) = (fields.node("proxy-protocol"), &service.capture)
            && !capture.value.takes_inbound()
        {
            let what = format!(
                "with capture {} connections from outside reach the application without its sidecar: no header is read, and \
                 none is written for them",
                capture.value.as_str()
            );
            reader
                .within("proxy-protocol", |r| r.warn(node, what, "write capture: transparent, or remove it"));
        }
        service.counts_requests(reader, fields.node("rate-limits"));
        service
    }

    /// Limits of requests where every port that is said carries bytes count nothing.
    fn counts_requests(&self, reader: &mut Reader, node: Option<&Node>) {
        let Some((node, ports)) = node.zip(self.ports.as_ref()) else { return };
        let bytes = ports.value.values().all(|protocol| *protocol == Protocol::Tcp);
        if bytes && !ports.value.is_empty() {
            let what =
                "rate-limits count requests, and every port of this service is said to carry bytes (tcp)";
            let help = "remove them, or say http of a port; limits: { replica: { streams: 100 } } bounds byte streams";
            reader.within("rate-limits", |r| r.fault(Code::Conflict, node, what, help));
        }
    }

    /// Key by key: what `self` does not say, `other` does.
    pub(crate) fn or(&self, other: &Self) -> Self {
        fn or<T: Clone>(a: &Option<T>, b: &Option<T>) -> Option<T> {
            a.clone().or_else(|| b.clone())
        }
        Self {
            ports: or(&self.ports, &other.ports),
            mode: or(&self.mode, &other.mode),
            capture: or(&self.capture, &other.capture),
            edge: or(&self.edge, &other.edge),
            app_address: or(&self.app_address, &other.app_address),
            upstreams: or(&self.upstreams, &other.upstreams),
            proxy_protocol: or(&self.proxy_protocol, &other.proxy_protocol),
            cloud_map: or(&self.cloud_map, &other.cloud_map),
            limits: self.limits.or(&other.limits),
            policy: self.policy.or(&other.policy),
            routes: or(&self.routes, &other.routes),
            rate_limits: or(&self.rate_limits, &other.rate_limits),
        }
    }
}
