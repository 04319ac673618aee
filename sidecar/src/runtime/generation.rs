//! One configuration, indexed for look-up; endpoints and their state carried over from the one before.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_wire::{Change, Held, Mode, Protocol, ProxyConfig, Service, ServicePort, Shared, Timeouts};
use rustls::pki_types::ServerName;

use super::addresses::{Addresses, At};
use crate::cluster::{Cluster, Endpoint, Member, State, Whereabouts};
use crate::downstream::Destination;
use crate::index::Index;
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
    pub clusters: Index<Arc<str>, Arc<Cluster>>,
    /// Of ports that have any, by the key of their cluster.
    pub routes: Index<Arc<str>, Arc<Routes>>,
    /// How many requests the application gets in a time; none: as many as come.
    pub rates: Option<Arc<Rates>>,
    /// What is under way to the application, where that is bounded; the same in all generations.
    pub capacity: Arc<Capacity>,
    /// Of the own service, for requests from outside the mesh, by edge port.
    pub edge_routes: HashMap<u16, Arc<EdgeRoutes>>,
    /// Where this caller is; none: not known.
    whereabouts: Option<Whereabouts>,
    addresses: Addresses,
}

/// What is not as it was before; of a first configuration, all.
pub(super) struct Changes<'a> {
    pub services: Vec<Change<'a, Shared<Service>>>,
    pub clusters: Vec<Change<'a, Shared<outrigger_wire::Cluster>>>,
}

impl<'a> Changes<'a> {
    pub(super) fn of(config: &'a ProxyConfig, before: Option<&'a ProxyConfig>) -> Self {
        let Some(before) = before else {
            return Self {
                services: config.services.iter().map(added).collect(),
                clusters: config.clusters.iter().map(added).collect(),
            };
        };
        Self {
            services: config.services.changes(&before.services),
            clusters: config.clusters.changes(&before.clusters),
        }
    }

    /// Where the caller is, or others of its service, is not as it was: so is what each endpoint with a zone gets.
    fn add_zoned(&mut self, config: &'a ProxyConfig, before: &'a ProxyConfig) {
        let known: BTreeSet<&str> = self.clusters.iter().map(|change| &**change.key).collect();
        let zoned = |cluster: &outrigger_wire::Cluster| cluster.endpoints.iter().any(|e| e.zone.is_some());
        let all = config.clusters.iter().filter(|(key, new)| !known.contains(&***key) && zoned(new));
        let all: Vec<_> =
            all.map(|(key, new)| Change { key, old: before.clusters.get(key), new: Some(new) }).collect();
        self.clusters.extend(all);
        // Versions come after the whole.
        self.clusters.sort_by(|a, b| a.key.cmp(b.key));
    }
}

fn added<'a, V>((key, new): (&'a Arc<str>, &'a V)) -> Change<'a, V> {
    Change { key, old: None, new: Some(new) }
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
    own: BTreeSet<String>,
}

impl EdgeRoutes {
    /// Whether the own application is among those that requests to the cluster are for.
    pub fn is_own(&self, cluster: &str) -> bool {
        self.own.contains(cluster)
    }
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
        let old = before.map(|before| &before.config);
        config.check_since(old).map_err(|error| vec![error.to_string()])?;
        let mut changes = Changes::of(&config, old);
        let whereabouts = Whereabouts::of(&config);
        if let Some(before) = before.filter(|before| before.whereabouts != whereabouts) {
            changes.add_zoned(&config, &before.config);
        }
        let mut reasons = Vec::new();
        let clusters = clusters(&changes, before, (whereabouts.as_ref(), next_id), &mut reasons);
        let addresses = Addresses::of(&config, &clusters, before.map(|before| &before.addresses), &changes);
        let overlap = addresses.overlap() || before.is_some_and(|before| before.addresses.overlap());
        let routes = routes(&config, before, (!overlap).then_some(&changes), &mut reasons);
        let old = before.and_then(|before| before.rates.as_deref());
        let rates = Rates::new(&config.proxy.rate_limits, old).unwrap_or_else(|why| {
            reasons.push(why);
            None
        });
        let capacity = before.map(|before| before.capacity.clone()).unwrap_or_default();
        let edge_routes = edge_routes(&config, before, &changes, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let version = version.unwrap_or_else(|| Held::of(&config).version());
        Ok(Self { config, version, clusters, routes, edge_routes, rates, capacity, whereabouts, addresses })
    }

    /// Where a connection that the application opened to `address` goes.
    pub fn outbound(&self, address: SocketAddr) -> Found {
        match self.addresses.at(address) {
            Some(At::Port(port)) => to_cluster(port),
            Some(At::NoPort) => Found::NoPort,
            Some(At::Replica { cluster, member }) => {
                let (cluster, workload) = (cluster.key.clone(), member.endpoint.workload.clone());
                let protocol = self.addresses.protocol(&cluster);
                Found::To(Destination::Endpoint { cluster, workload }, protocol)
            }
            None => Found::To(Destination::Passthrough(address), Protocol::Tcp),
        }
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
            Destination::Endpoint { cluster, .. } => self.addresses.timeouts(cluster),
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
        for change in next.config.clusters.changes(&self.config.clusters) {
            let Some(cluster) = self.clusters.get(change.key) else { continue };
            for member in &cluster.members {
                if !next.names(change.key, &member.endpoint) {
                    member.endpoint.remove();
                }
            }
        }
    }

    /// Whether a cluster still has the endpoint: that one, or that of its version, or of all versions.
    fn names(&self, cluster: &str, endpoint: &Endpoint) -> bool {
        let whole = whole(cluster);
        let kin = self.config.clusters.since(whole).take_while(|(key, _)| key.starts_with(whole));
        let mut kin = kin.filter_map(|(key, _)| self.clusters.get(key));
        kin.any(|cluster| cluster.members.iter().any(|member| member.endpoint.id == endpoint.id))
    }
}

/// `cart.shop:8080/v2` is of `cart.shop:8080`.
fn whole(cluster: &str) -> &str {
    cluster.split_once('/').map_or(cluster, |(whole, _)| whole)
}

fn own_service(config: &ProxyConfig) -> String {
    let identity = &config.proxy.identity;
    format!("{}.{}", identity.service(), identity.namespace())
}

fn clusters(
    changes: &Changes<'_>,
    before: Option<&Generation>,
    (whereabouts, next_id): (Option<&Whereabouts>, &mut u64),
    reasons: &mut Vec<String>,
) -> Index<Arc<str>, Arc<Cluster>> {
    let mut clusters = before.map(|before| before.clusters.clone()).unwrap_or_default();
    for Change { key, new, .. } in &changes.clusters {
        let Some(new) = new else {
            clusters.remove(*key);
            continue;
        };
        // A version's endpoints are those of the whole: `cart.shop:8080/v2` comes after `cart.shop:8080`.
        let lender = clusters.get(whole(key)).or_else(|| clusters.get(*key)).cloned();
        match cluster_of(key, new, lender.as_ref(), next_id) {
            Ok(mut cluster) => {
                if let Some(caller) = whereabouts {
                    cluster.prefer(caller, &new.endpoints);
                }
                clusters.insert((*key).clone(), Arc::new(cluster));
            }
            Err(reason) => reasons.push(reason),
        }
    }
    clusters
}

/// Routes of all ports that have any. Those that say the same as before are the same: patterns take time to make.
/// `changes` since `before` are all that is looked at; none: all services are.
fn routes(
    config: &ProxyConfig,
    before: Option<&Generation>,
    changes: Option<&Changes<'_>>,
    reasons: &mut Vec<String>,
) -> Index<Arc<str>, Arc<Routes>> {
    let own = own_service(config);
    let before = before.filter(|before| before.own_service() == own);
    let (mut all, changed) = match (before, changes) {
        (Some(before), Some(changes)) => {
            let mut all = before.routes.clone();
            for old in changes.services.iter().filter_map(|change| change.old) {
                old.ports.values().for_each(|port| drop(all.remove(&*port.cluster)));
            }
            let new = changes.services.iter().filter_map(|change| Some((change.key, change.new?)));
            (all, new.collect())
        }
        _ => (Index::default(), config.services.iter().collect::<Vec<_>>()),
    };
    for (name, service) in changed {
        for (number, port) in service.ports.iter().filter(|(_, port)| !port.routes.is_empty()) {
            let same = before.and_then(|before| {
                let old = before.config.services.get(name)?.ports.get(number)?;
                let same = old.routes == port.routes && old.cluster == port.cluster;
                before.routes.get(&*port.cluster).filter(|_| same).cloned()
            });
            match same.map_or_else(|| Routes::new(&port.routes, &own).map(Arc::new), Ok) {
                Ok(routes) => drop(all.insert(port.cluster.as_str().into(), routes)),
                Err(why) => reasons.push(format!("service `{name}` port {number}: {why}")),
            }
        }
    }
    all
}

/// Outsiders are no callers that a route could name, so matches of `from` take none of their requests.
const NOBODY: &str = "";

fn edge_routes(
    config: &ProxyConfig,
    before: Option<&Generation>,
    changes: &Changes<'_>,
    reasons: &mut Vec<String>,
) -> HashMap<u16, Arc<EdgeRoutes>> {
    let name = own_service(config);
    let mut all = HashMap::new();
    let Some(service) = config.services.get(&name) else { return all };
    let own = |cluster: Option<&Shared<outrigger_wire::Cluster>>| cluster.is_some_and(|c| c.service == name);
    if let Some(before) = before
        && before.config.proxy == config.proxy
        && !changes.services.iter().any(|change| **change.key == *name)
        && !changes.clusters.iter().any(|change| own(change.old) || own(change.new))
    {
        return before.edge_routes.clone();
    }
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
                let own = of_own.map(|(key, _)| key.to_string()).collect();
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
        zoned: None,
        slow_start,
        state,
    })
}

#[cfg(test)]
mod tests;
