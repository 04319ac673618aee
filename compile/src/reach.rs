//! What an application reaches through its sidecar: the listeners its calls arrive at, and what stays out of reach where
//! nothing redirects them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use outrigger_model::{Capture, Observed, ServiceKey, Snapshot, Upstream, Workload, label};
use outrigger_wire::{Listener, ListenerKind, Target, port};

use crate::ports::ports_of;
use crate::routes::backends;
use crate::service_key;
use crate::services::{Names, Visible};

/// What one caller can call, and through which listeners.
pub(crate) struct Reach<'a> {
    /// The services that it is told of.
    pub visible: Visible<'a>,
    /// Where its sidecar listens for its calls.
    pub listeners: BTreeMap<String, Listener>,
    /// Services that have no virtual address for it: their names are left to the platform's resolver.
    pub left_out: BTreeSet<ServiceKey>,
    /// What it cannot call through its sidecar.
    pub unreachable: Vec<Unreachable>,
}

/// What a caller cannot call through its sidecar, why, and the ways out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Both would bind the port.
    #[error(
        "it cannot call {} by name through the mesh, only directly and unencrypted: port {port} is served there, and its \
         own application uses that port on every address ({found}). Ways out: let it listen on 127.0.0.1 and say so \
         (outrigger.app-address=127.0.0.1), or write outrigger.capture=transparent, or outrigger.capture=explicit with \
         another local port (outrigger.upstreams={}:{port}=9001)",
        services.join(", "),
        services.first().map_or("cart", String::as_str)
    )]
    OwnPort {
        /// The services, each by its shortest name.
        services: Vec<String>,
        /// The port that clashes.
        port: u16,
        /// How it is known: `declared or exposed`, `seen listening`.
        found: &'static str,
    },
    /// Which ports the application wants is not known yet.
    #[error(
        "which ports its own application will use is not known yet, so it calls other services directly and unencrypted \
         until it listens somewhere, or for 10 s. Ways out: declare its ports (outrigger.port), or write \
         outrigger.app-address=127.0.0.1 where it listens nowhere else"
    )]
    Unsettled,
    /// An upstream's local port is the application's own, or the sidecar's.
    #[error(
        "its upstream {upstream} cannot be given to it on 127.0.0.1:{local}: {owner} uses that port. Write another one, \
         as in outrigger.upstreams={upstream}=9001"
    )]
    LocalPort {
        /// The upstream.
        upstream: String,
        /// The local port.
        local: u16,
        /// Who uses it.
        owner: &'static str,
    },
    /// An upstream names no service.
    #[error(
        "its upstream {upstream}: no such service shares a network with it{near}. Until there is one, 127.0.0.1:{local} \
         is closed"
    )]
    NoService {
        /// The upstream.
        upstream: String,
        /// The local port.
        local: u16,
        /// `; did you mean cart?`, or nothing.
        near: String,
    },
    /// An upstream names a port that its service does not have.
    #[error(
        "its upstream {upstream}: that service has {ports}. Correct outrigger.upstreams, or declare the port there \
         (outrigger.port). Until then, 127.0.0.1:{local} is closed"
    )]
    NoPort {
        /// The upstream.
        upstream: String,
        /// The local port.
        local: u16,
        /// `no known port`, or `ports 80, 443`.
        ports: String,
    },
}

impl<'a> Reach<'a> {
    pub(crate) fn of(caller: &'a Workload, snapshot: &'a Snapshot) -> Self {
        let visible = Visible::to(caller, snapshot);
        match caller.declared.capture {
            Capture::Transparent | Capture::Platform => Self::redirected(visible),
            Capture::Names => Self::by_names(caller, snapshot, visible),
            Capture::Explicit => Self::by_local_ports(caller, visible),
        }
    }

    fn redirected(visible: Visible<'a>) -> Self {
        Self { visible, listeners: redirected(), left_out: BTreeSet::new(), unreachable: Vec::new() }
    }

    /// One listener for each port of each service, at the service's virtual address. A port that the application itself
    /// uses on every address cannot be bound there, and a connection to it would reach the application itself: the
    /// whole service is left out, so that its name leads to its own addresses.
    fn by_names(caller: &Workload, snapshot: &Snapshot, visible: Visible<'a>) -> Self {
        let (own, taken) = (service_key(caller), Taken::by(caller));
        let (mut listeners, mut left_out) = (BTreeMap::new(), BTreeSet::new());
        if !taken.are_known() {
            let left_out = visible.iter().map(|(key, _)| key.clone()).collect();
            return Self { visible, listeners, left_out, unreachable: vec![Unreachable::Unsettled] };
        }
        let mut missed: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (key, replicas) in visible.iter() {
            let ports = ports_of(replicas);
            let clashes = ports.keys().filter_map(|port| Some((*port, taken.on_every_address(*port)?)));
            let clashes: Vec<_> = clashes.collect();
            if !clashes.is_empty() {
                left_out.insert(key.clone());
                // Its own service has its own ports, and is best called directly.
                for clash in clashes.into_iter().filter(|_| *key != own) {
                    missed.entry(clash).or_default().push(short_name(key, &caller.namespace));
                }
                continue;
            }
            let Some(index) = snapshot.indices.get(key) else { continue };
            for port in ports.into_keys() {
                let address = SocketAddr::new(index.loopback().into(), port);
                listeners.insert(format!("outbound/{key}:{port}"), to_service(address, key, port));
            }
        }
        let own_port = |((port, found), services)| Unreachable::OwnPort { services, port, found };
        Self { visible, listeners, left_out, unreachable: missed.into_iter().map(own_port).collect() }
    }

    /// One listener on 127.0.0.1 for each upstream that there is; other services are not told of. In ECS bridge mode the
    /// application has another network namespace and comes over a link.
    fn by_local_ports(caller: &Workload, mut visible: Visible<'a>) -> Self {
        let at = if caller.mesh_port.is_some() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let taken = Taken::by(caller);
        let (mut listeners, mut unreachable) = (BTreeMap::new(), Vec::new());
        let mut called = BTreeSet::new();
        for (local, upstream) in &caller.declared.upstreams {
            let found = taken.for_upstream(*local, upstream).and_then(|()| {
                let (key, replicas) = find(caller, &visible, *local, upstream)?;
                has_port(replicas, *local, upstream).map(|()| key)
            });
            match found {
                Ok(key) => {
                    let address = SocketAddr::new(at.into(), *local);
                    listeners.insert(format!("upstream/{local}"), to_service(address, &key, upstream.port));
                    // Its routes may send calls elsewhere.
                    let replicas = visible.replicas(&key).unwrap_or_default();
                    called.extend(backends(&key, replicas).into_iter().map(|backend| backend.service));
                    called.insert(key);
                }
                Err(reason) => unreachable.push(reason),
            }
        }
        visible.retain(|key| called.contains(key));
        Self { visible, listeners, left_out: BTreeSet::new(), unreachable }
    }
}

/// Whether every call of a workload arrives at its sidecar, wherever it goes.
pub(crate) fn redirects(workload: &Workload) -> bool {
    matches!(workload.declared.capture, Capture::Transparent | Capture::Platform)
}

/// Everything arrives at one listener. All but DNS bind `[::]`: a redirect of IPv6 lands on `::1`, which some
/// namespaces lack, while `[::]` binds everywhere and takes IPv4 as well.
pub(crate) fn redirected() -> BTreeMap<String, Listener> {
    let any = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let target = Target::OriginalDestination;
    let dns = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port::DNS);
    let listeners = [
        ("outbound", any(port::OUTBOUND), ListenerKind::Outbound { target: target.clone() }),
        ("inbound", any(port::INBOUND), ListenerKind::Inbound { target }),
        ("dns", dns, ListenerKind::Dns { forward: Vec::new() }),
    ];
    let listeners = listeners.map(|(name, address, kind)| (name.to_owned(), Listener { address, kind }));
    listeners.into()
}

fn to_service(address: SocketAddr, key: &ServiceKey, port: u16) -> Listener {
    let target = Target::Service { name: key.to_string(), port };
    Listener { address, kind: ListenerKind::Outbound { target } }
}

fn short_name(key: &ServiceKey, namespace: &str) -> String {
    if key.namespace == namespace { key.service.clone() } else { key.to_string() }
}

fn find<'v>(
    caller: &'v Workload,
    visible: &'v Visible<'_>,
    local: u16,
    upstream: &Upstream,
) -> Result<(ServiceKey, Vec<&'v Workload>), Unreachable> {
    let names = Names::of(caller, visible);
    let named: Vec<_> =
        visible.iter().map(|(key, replicas)| (names.of_service(key, replicas), key, replicas)).collect();
    let found = named.iter().find(|(names, ..)| names.contains(&upstream.service));
    if let Some((_, key, replicas)) = found {
        return Ok(((*key).clone(), replicas.to_vec()));
    }
    let known = named.iter().flat_map(|(names, ..)| names);
    let near = known.min_by_key(|name| label::distance(name, &upstream.service));
    let near = near.filter(|name| label::distance(name, &upstream.service) <= 3);
    let near = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Err(Unreachable::NoService { upstream: shown(upstream), local, near })
}

fn has_port(replicas: Vec<&Workload>, local: u16, upstream: &Upstream) -> Result<(), Unreachable> {
    let ports: Vec<_> = ports_of(&replicas).into_keys().collect();
    if ports.contains(&upstream.port) {
        return Ok(());
    }
    let listed = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let ports = match ports.len() {
        0 => "no known port yet".to_owned(),
        1 => format!("port {listed}"),
        _ => format!("ports {listed}"),
    };
    Err(Unreachable::NoPort { upstream: shown(upstream), local, ports })
}

fn shown(upstream: &Upstream) -> String {
    format!("{}:{}", upstream.service, upstream.port)
}

/// Ports that the application itself uses.
struct Taken<'a> {
    caller: &'a Workload,
    /// Said to be used, and where: nothing said means every address.
    said: BTreeSet<u16>,
    at: IpAddr,
}

impl<'a> Taken<'a> {
    fn by(caller: &'a Workload) -> Self {
        let said = caller.declared.ports.keys().chain(&caller.exposed).chain(&caller.published);
        let at = caller.declared.app_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self { caller, said: said.copied().collect(), at }
    }

    /// Whether enough is known for the sidecar to take ports: were it to bind one that the application wants before the
    /// application does, the application could not start.
    fn are_known(&self) -> bool {
        let seen = |observed: &Observed| observed.settled || !observed.listening.is_empty();
        !self.at.is_unspecified() || !self.said.is_empty() || self.caller.observed.as_ref().is_some_and(seen)
    }

    /// How it is known that the application uses the port on every address. What is said counts before it is seen.
    fn on_every_address(&self, port: u16) -> Option<&'static str> {
        let seen = self.caller.observed.as_ref().is_some_and(|observed| observed.wildcard.contains(&port));
        match (self.at.is_unspecified() && self.said.contains(&port), seen) {
            (true, _) => Some("declared or exposed"),
            (false, true) => Some("seen listening"),
            (false, false) => None,
        }
    }

    fn for_upstream(&self, local: u16, upstream: &Upstream) -> Result<(), Unreachable> {
        let said_on_loopback = self.at.is_loopback() && self.said.contains(&local);
        let seen_on_loopback =
            self.caller.observed.as_ref().is_some_and(|observed| observed.loopback.contains(&local));
        let owner = if port::RESERVED.contains(&local) {
            "the sidecar itself"
        } else if self.on_every_address(local).is_some() || said_on_loopback || seen_on_loopback {
            "the application itself"
        } else {
            return Ok(());
        };
        Err(Unreachable::LocalPort { upstream: shown(upstream), local, owner })
    }
}
