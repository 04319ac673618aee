//! What a workload can call, and under which names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use outrigger_model::{Capture, ServiceKey, Snapshot, VirtualIndex, Workload};
use outrigger_wire::{Catalog, Service, ServicePort, Shared, Timeouts};

use crate::clusters::cluster_key;
use crate::ports::ports_of;
use crate::reach::Reach;
use crate::routes::{is_routed, routes};
use crate::{identity, service_key};

/// Services that share a network with one workload, each with the replicas that do. The mesh never joins
/// what compose separated.
pub(crate) struct Visible<'a>(BTreeMap<ServiceKey, Vec<&'a Workload>>);

impl<'a> Visible<'a> {
    /// What `caller` sees. One-offs call and are never called, so they make up no service.
    pub(crate) fn to(caller: &Workload, snapshot: &'a Snapshot) -> Self {
        let mut services: BTreeMap<ServiceKey, Vec<&Workload>> = BTreeMap::new();
        for workload in snapshot.workloads.values() {
            if !workload.one_off && shares_network(caller, workload) {
                services.entry(service_key(workload)).or_default().push(workload);
            }
        }
        services.retain(|key, _| identity(&snapshot.trust_domain, key).is_ok());
        for replicas in services.values_mut() {
            replicas.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        }
        Self(services)
    }

    /// Forgets the other services.
    pub(crate) fn retain(&mut self, keep: impl Fn(&ServiceKey) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// The replicas of a service.
    pub(crate) fn replicas(&self, key: &ServiceKey) -> Option<&[&'a Workload]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Each service with its replicas, ordered by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &[&'a Workload])> {
        self.0.iter().map(|(key, replicas)| (key, replicas.as_slice()))
    }
}

fn shares_network(a: &Workload, b: &Workload) -> bool {
    a.networks.keys().any(|network| b.networks.contains_key(network))
}

/// Where `caller` reaches `callee`: the first address on the first network both are on.
pub(crate) fn shared_address(caller: &Workload, callee: &Workload) -> Option<IpAddr> {
    shared_addresses(caller, callee).next()
}

/// All addresses of `callee` on networks that both are on.
pub(crate) fn shared_addresses(caller: &Workload, callee: &Workload) -> impl Iterator<Item = IpAddr> {
    let shared = callee.networks.iter().filter(|(network, _)| caller.networks.contains_key(*network));
    shared.flat_map(|(_, attachment)| &attachment.addresses).copied()
}

/// The `service` resources of one workload, by key (`cart.shop`).
pub(crate) fn services(
    caller: &Workload,
    snapshot: &Snapshot,
    reach: &Reach<'_>,
) -> Catalog<Shared<Service>> {
    let visible = &reach.visible;
    let names = Names::of(caller, visible);
    let service = |key: &ServiceKey, replicas: &[&Workload]| Service {
        names: names.of_service(key, replicas),
        virtual_addresses: snapshot
            .indices
            .get(key)
            .filter(|_| !reach.left_out.contains(key))
            .map(|index| IpAddr::V4(virtual_address(caller.declared.capture, *index)))
            .into_iter()
            .collect(),
        ports: service_ports(key, replicas, visible),
        replicas: names.of_replicas(caller, replicas),
    };
    visible.iter().map(|(key, replicas)| (key.to_string(), service(key, replicas).into())).collect()
}

/// Where applications of that capture find a service.
pub fn virtual_address(capture: Capture, index: VirtualIndex) -> Ipv4Addr {
    match capture {
        Capture::Platform => index.beyond(),
        Capture::Transparent | Capture::Names | Capture::Explicit => index.loopback(),
    }
}

fn service_ports(
    key: &ServiceKey,
    replicas: &[&Workload],
    visible: &Visible<'_>,
) -> BTreeMap<u16, ServicePort> {
    let timeouts = timeouts(replicas);
    let port = |(port, protocol)| {
        let cluster = cluster_key(key, port);
        let routes = if is_routed(protocol) { routes(key, port, replicas, visible) } else { Vec::new() };
        (port, ServicePort { protocol, cluster, timeouts, routes })
    };
    ports_of(replicas).into_iter().map(port).collect()
}

/// One service has the same limits in time everywhere: where replicas have other labels, those of the first by name.
fn timeouts(replicas: &[&Workload]) -> Timeouts {
    let said = replicas.first().map(|replica| replica.declared.timeouts).unwrap_or_default();
    let preset = Timeouts::default();
    Timeouts {
        request_ms: said.request.map_or(preset.request_ms, milliseconds),
        idle_ms: said.idle.map_or(preset.idle_ms, milliseconds),
        stream_ms: said.stream.map_or(preset.stream_ms, milliseconds),
        stream_idle_ms: said.stream_idle.map_or(preset.stream_idle_ms, milliseconds),
        pass_on: said.pass_on.unwrap_or(preset.pass_on),
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Who owns which name, as one caller sees it. A service's own name goes before any alias, an alias before
/// the name of a replica; an alias that two services claim belongs to neither, so that the engine's own
/// resolver answers it as it always did.
pub(crate) struct Names<'a> {
    namespace: &'a str,
    services: BTreeSet<String>,
    aliases: BTreeMap<(&'a str, &'a str), BTreeSet<&'a ServiceKey>>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(caller: &'a Workload, visible: &'a Visible<'a>) -> Self {
        let namespace = caller.namespace.as_str();
        let mut services = BTreeSet::new();
        let mut aliases: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (key, replicas) in visible.iter() {
            services.extend(own_names(namespace, key));
            for alias in replicas.iter().flat_map(|workload| &workload.aliases) {
                aliases.entry((key.namespace.as_str(), alias.as_str())).or_default().insert(key);
            }
        }
        aliases.retain(|_, claims| claims.len() == 1);
        Self { namespace, services, aliases }
    }

    /// `cart` and `cart.shop` in the own namespace, `cart.shop` elsewhere; then the aliases in the same forms.
    pub(crate) fn of_service(&self, key: &ServiceKey, replicas: &[&Workload]) -> Vec<String> {
        let mut names = own_names(self.namespace, key);
        let aliases: BTreeSet<&String> = replicas.iter().flat_map(|workload| &workload.aliases).collect();
        let own = aliases.into_iter().filter(|alias| self.is_alias(&key.namespace, alias));
        let own = own.flat_map(|alias| {
            let (namespace, service) = (key.namespace.clone(), alias.clone());
            own_names(self.namespace, &ServiceKey { namespace, service })
        });
        names.extend(own.filter(|name| !self.services.contains(name)));
        names
    }

    fn is_alias(&self, namespace: &str, name: &str) -> bool {
        self.aliases.contains_key(&(namespace, name))
    }

    /// Single replicas that can be reached, by name. Names of those outside the mesh are its registry's to answer.
    fn of_replicas(&self, caller: &Workload, replicas: &[&Workload]) -> BTreeMap<String, IpAddr> {
        let reached = replicas.iter().filter(|replica| replica.outside.is_none()).filter_map(|replica| {
            let name = replica.name.to_ascii_lowercase();
            Some((name, shared_address(caller, replica)?))
        });
        let free = |name: &str| !self.services.contains(name) && !self.is_alias(self.namespace, name);
        reached.filter(|(name, _)| free(name)).collect()
    }
}

fn own_names(namespace: &str, key: &ServiceKey) -> Vec<String> {
    let long = key.to_string();
    if key.namespace == namespace { vec![key.service.clone(), long] } else { vec![long] }
}
