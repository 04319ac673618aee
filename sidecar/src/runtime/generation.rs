//! One configuration, indexed for look-up; endpoints and their state carried over from the one before.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use outrigger_wire::{Held, Mode, Protocol, ProxyConfig, Service, ServicePort, Shared, Timeouts};
use rustls::pki_types::ServerName;

use crate::cluster::{Cluster, Endpoint, Member, State};
use crate::downstream::Destination;
use crate::hash::Map;
use crate::rate::{Capacity, Rates};
use crate::route::Routes;

/// One configuration, ready for look-up. Endpoints are shared with the generation before.
#[derive(Debug)]
pub struct Generation {
    /// What was applied.
    pub config: ProxyConfig,
    /// Its version: a hash of the whole.
    pub version: String,
    /// By key (`cart.shop:8080`).
    pub clusters: Map<String, Arc<Cluster>>,
    /// Of ports that have any, by the key of their cluster.
    pub routes: Map<String, Arc<Routes>>,
    /// How many requests the application gets in a time; none: as many as come.
    pub rates: Option<Arc<Rates>>,
    /// What is under way to the application, where that is bounded; the same in all generations.
    pub capacity: Arc<Capacity>,
    /// Of the own service, for requests from outside the mesh, by edge port.
    pub edge_routes: HashMap<u16, Arc<EdgeRoutes>>,
    services: HashMap<SocketAddr, Shared<Service>>,
    virtual_addresses: HashSet<IpAddr>,
    replicas: HashMap<SocketAddr, Replica>,
}

/// Where requests go that come from outside the mesh to an edge port of the own application.
#[derive(Debug)]
pub struct EdgeRoutes {
    /// Those of the own service, as nobody's.
    pub routes: Arc<Routes>,
    /// Key of the port's own cluster.
    pub cluster: String,
    /// What a call of that port is held to.
    pub timeouts: Timeouts,
    /// Keys of clusters that the own workload is in: what goes to one of them needs no other hop.
    own: HashSet<String>,
}

impl EdgeRoutes {
    /// Whether the own application is among those that requests to the cluster are for.
    pub fn is_own(&self, cluster: &str) -> bool {
        self.own.contains(cluster)
    }
}

#[derive(Debug)]
struct Replica {
    cluster: Arc<Cluster>,
    /// Among its members.
    index: usize,
    protocol: Protocol,
}

/// What an outbound connection is to be taken for.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Goes somewhere.
    To(Destination, Protocol),
    /// A virtual address, but no such port.
    NoPort,
}

impl Generation {
    /// Indexes a configuration. `before` lends what did not change, and its endpoints; `next_id` numbers new ones.
    ///
    /// # Errors
    /// Reasons, for a person.
    pub(super) fn new(
        config: ProxyConfig,
        version: Option<String>,
        before: Option<&Self>,
        next_id: &mut u64,
    ) -> Result<Self, Vec<String>> {
        config.check().map_err(|error| vec![error.to_string()])?;
        let mut reasons = Vec::new();
        let mut clusters = Map::with_capacity_and_hasher(config.clusters.len(), <_>::default());
        for (key, cluster) in &config.clusters {
            let old = before.and_then(|before| before.clusters.get(key));
            let same =
                before.and_then(|before| before.config.clusters.get(key)).is_some_and(|old| old.is(cluster));
            if let (true, Some(old)) = (same, old) {
                clusters.insert(key.clone(), old.clone());
                continue;
            }
            // A version's endpoints are those of the whole: `cart.shop:8080/v2` comes after `cart.shop:8080`.
            let whole = key.split_once('/').and_then(|(whole, _)| clusters.get(whole));
            match cluster_of(key, cluster, whole.or(old), next_id) {
                Ok(cluster) => drop(clusters.insert(key.clone(), Arc::new(cluster))),
                Err(reason) => reasons.push(reason),
            }
        }
        let routes = routes(&config, before, &mut reasons);
        let old = before.and_then(|before| before.rates.as_deref());
        let rates = Rates::new(&config.proxy.rate_limits, old).unwrap_or_else(|why| {
            reasons.push(why);
            None
        });
        let capacity = before.map(|before| before.capacity.clone()).unwrap_or_default();
        let edge_routes = edge_routes(&config, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let version = version.unwrap_or_else(|| Held::of(&config).version());
        let (services, virtual_addresses) = services(&config);
        let replicas = replicas(&config, &clusters);
        Ok(Self {
            config,
            version,
            clusters,
            routes,
            edge_routes,
            rates,
            capacity,
            services,
            virtual_addresses,
            replicas,
        })
    }

    /// Where a connection that the application opened to `address` goes.
    pub fn outbound(&self, address: SocketAddr) -> Found {
        if let Some(port) = self.services.get(&address).and_then(|service| service.ports.get(&address.port()))
        {
            return to_cluster(port);
        }
        if self.virtual_addresses.contains(&address.ip()) {
            return Found::NoPort;
        }
        if let Some((replica, member)) = self
            .replicas
            .get(&address)
            .and_then(|replica| Some((replica, replica.cluster.members.get(replica.index)?)))
        {
            let (cluster, workload) = (replica.cluster.key.clone(), member.endpoint.workload.clone());
            return Found::To(Destination::Endpoint { cluster, workload }, replica.protocol);
        }
        Found::To(Destination::Passthrough(address), Protocol::Tcp)
    }

    /// Where a connection to a port of a service goes.
    pub fn service(&self, name: &str, port: u16) -> Found {
        let port = self.config.services.get(name).and_then(|service| service.ports.get(&port));
        port.map_or(Found::NoPort, to_cluster)
    }

    /// Whether outsiders are expected on a port of the application.
    pub fn is_edge(&self, port: u16) -> bool {
        self.config.proxy.edge.contains(&port)
    }

    /// Whether plaintext from outside the mesh may reach a port of the application.
    pub fn accepts_plaintext(&self, port: u16) -> bool {
        self.config.proxy.mode == Mode::Permissive || self.is_edge(port)
    }

    /// Limits in time of a destination.
    pub fn timeouts(&self, destination: &Destination) -> Timeouts {
        match destination {
            Destination::Cluster { timeouts, .. } => *timeouts,
            Destination::Endpoint { cluster, .. } => {
                let mut ports = self.config.services.values().flat_map(|service| service.ports.values());
                ports
                    .find(|port| port.cluster == *cluster)
                    .map_or_else(Timeouts::default, |port| port.timeouts)
            }
            // The caller's side limits these, if anybody.
            Destination::Application(_) | Destination::Passthrough(_) => {
                Timeouts { idle_ms: 0, ..Timeouts::default() }
            }
        }
    }

    /// Own service and namespace as peers name them (`cart.shop`).
    pub fn own_service(&self) -> String {
        own_service(&self.config)
    }

    /// Tells endpoints that `next` does not name any more.
    pub(super) fn retire(&self, next: &Self) {
        for (key, cluster) in &self.clusters {
            let still = next.clusters.get(key);
            if still.is_some_and(|still| Arc::ptr_eq(still, cluster)) {
                continue;
            }
            for member in &cluster.members {
                let names = |cluster: &Arc<Cluster>| {
                    cluster.members.iter().any(|m| m.endpoint.id == member.endpoint.id)
                };
                // Another cluster may name it, too: that of its version, or of all versions.
                if !still.is_some_and(names) && !next.clusters.values().any(names) {
                    member.endpoint.remove();
                }
            }
        }
    }
}

fn own_service(config: &ProxyConfig) -> String {
    let identity = &config.proxy.identity;
    format!("{}.{}", identity.service(), identity.namespace())
}

/// Routes of all ports that have any. Those that say the same as before are the same: patterns take time to make.
fn routes(
    config: &ProxyConfig,
    before: Option<&Generation>,
    reasons: &mut Vec<String>,
) -> Map<String, Arc<Routes>> {
    let own = own_service(config);
    let before = before.filter(|before| before.own_service() == own);
    let mut all = Map::default();
    for (name, service) in &config.services {
        for (number, port) in service.ports.iter().filter(|(_, port)| !port.routes.is_empty()) {
            let same = before.and_then(|before| {
                let old = before.config.services.get(name)?.ports.get(number)?;
                let same = old.routes == port.routes && old.cluster == port.cluster;
                before.routes.get(&port.cluster).filter(|_| same)
            });
            match same.map_or_else(|| Routes::new(&port.routes, &own).map(Arc::new), |same| Ok(same.clone()))
            {
                Ok(routes) => drop(all.insert(port.cluster.clone(), routes)),
                Err(why) => reasons.push(format!("service `{name}` port {number}: {why}")),
            }
        }
    }
    all
}

/// Outsiders are no callers that a route could name, so matches of `from` take none of their requests.
const NOBODY: &str = "";

fn edge_routes(config: &ProxyConfig, reasons: &mut Vec<String>) -> HashMap<u16, Arc<EdgeRoutes>> {
    let name = own_service(config);
    let mut all = HashMap::new();
    let Some(service) = config.services.get(&name) else { return all };
    let routed = service
        .ports
        .iter()
        .filter(|(number, port)| config.proxy.edge.contains(number) && !port.routes.is_empty());
    for (number, port) in routed {
        let of_own = config.clusters.iter().filter(|(_, cluster)| {
            let own = |endpoint: &outrigger_wire::Endpoint| endpoint.workload == config.proxy.workload;
            cluster.port == *number && cluster.service == name && cluster.endpoints.iter().any(own)
        });
        match Routes::new(&port.routes, NOBODY) {
            Ok(routes) => {
                let own = of_own.map(|(key, _)| key.clone()).collect();
                let (cluster, timeouts) = (port.cluster.clone(), port.timeouts);
                all.insert(
                    *number,
                    Arc::new(EdgeRoutes { routes: Arc::new(routes), cluster, timeouts, own }),
                );
            }
            Err(why) => reasons.push(format!("service `{name}` port {number}: {why}")),
        }
    }
    all
}

fn to_cluster(port: &ServicePort) -> Found {
    let destination = Destination::Cluster { cluster: port.cluster.clone(), timeouts: port.timeouts };
    Found::To(destination, port.protocol)
}

fn cluster_of(
    key: &str,
    config: &outrigger_wire::Cluster,
    before: Option<&Arc<Cluster>>,
    next_id: &mut u64,
) -> Result<Cluster, String> {
    let name = config.server_name();
    let server_name = ServerName::try_from(name.clone()).map_err(|_| {
        format!("cluster `{key}`: `{name}` cannot be a server name: letters, digits, `-` and `_` only, parts of at most 63")
    })?;
    let mut members = Vec::with_capacity(config.endpoints.len());
    for endpoint in &config.endpoints {
        let same = before.and_then(|before| {
            before.members.iter().map(|m| &m.endpoint).find(|old| old.is(config, &server_name, endpoint))
        });
        let new = same.is_none() && before.is_some();
        let shared = same.cloned().unwrap_or_else(|| {
            *next_id += 1;
            Arc::new(Endpoint::new(*next_id, config, server_name.clone(), endpoint))
        });
        let (weight, ready) = (endpoint.weight, endpoint.ready && endpoint.weight > 0);
        shared.becomes(ready, new);
        members.push(Member { endpoint: shared, ready, weight });
    }
    let weighted = Cluster::differ(&members);
    let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
    let (key, service, port) = (key.to_owned(), config.service.clone(), config.port);
    let policy = config.policy.clone();
    let state = before.map_or_else(|| Arc::new(State::new(&policy)), |before| before.state.clone());
    let (balance, hash_on) = (config.balance, config.hash_on.clone());
    let slow_start = Duration::from_millis(config.slow_start_ms);
    Ok(Cluster {
        key,
        service,
        port,
        connect_timeout,
        members,
        policy,
        balance,
        hash_on,
        weighted,
        slow_start,
        state,
    })
}

type Services = (HashMap<SocketAddr, Shared<Service>>, HashSet<IpAddr>);

fn services(config: &ProxyConfig) -> Services {
    let mut ports = HashMap::with_capacity(config.services.len());
    let mut addresses = HashSet::with_capacity(config.services.len());
    for service in config.services.values() {
        for address in service.virtual_addresses.iter().map(IpAddr::to_canonical) {
            addresses.insert(address);
            let of_address = |port: &u16| (SocketAddr::new(address, *port), service.clone());
            ports.extend(service.ports.keys().map(of_address));
        }
    }
    (ports, addresses)
}

/// Every address of a replica leads to it through the mesh, whichever the application calls.
fn replicas(config: &ProxyConfig, clusters: &Map<String, Arc<Cluster>>) -> HashMap<SocketAddr, Replica> {
    let protocols: HashMap<&str, Protocol> = config
        .services
        .values()
        .flat_map(|service| service.ports.values())
        .map(|port| (port.cluster.as_str(), port.protocol))
        .collect();
    let mut replicas = HashMap::with_capacity(config.clusters.len());
    // A version's endpoints are among those of the whole.
    for (key, cluster) in config.clusters.iter().filter(|(key, _)| !key.contains('/')) {
        let protocol = protocols.get(key.as_str()).copied().unwrap_or_default();
        let Some(indexed) = clusters.get(key) else { continue };
        for (index, endpoint) in cluster.endpoints.iter().enumerate() {
            for ip in [endpoint.address.ip()].iter().chain(&endpoint.also) {
                let address = SocketAddr::new(ip.to_canonical(), cluster.port);
                replicas.insert(address, Replica { cluster: indexed.clone(), index, protocol });
            }
        }
    }
    replicas
}
