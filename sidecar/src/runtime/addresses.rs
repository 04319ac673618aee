//! Which service or replica an address stands for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use outrigger_wire::{Protocol, ProxyConfig, Service, ServicePort, Shared, Timeouts, Transport};

use super::generation::Changes;
use crate::cluster::{Cluster, Member};
use crate::index::Index;

/// Look-up by address, taken over from the configuration before but for what changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    services: Index<SocketAddr, Shared<Service>>,
    virtual_addresses: Index<IpAddr, Shared<Service>>,
    replicas: Index<SocketAddr, Replica>,
    /// A port of a service by the key of its cluster.
    ports: Index<Arc<str>, (Shared<Service>, u16)>,
    /// Two claim the same address or cluster. One that goes leaves nothing for the other, so that all are put in anew
    /// at each change.
    overlap: bool,
}

/// An endpoint of a cluster.
#[derive(Clone, Debug)]
struct Replica {
    cluster: Arc<Cluster>,
    /// Among its members.
    index: usize,
}

/// What stands at an address.
pub(super) enum At<'a> {
    /// A port of a service.
    Port(&'a ServicePort),
    /// A service that has no such port.
    NoPort,
    /// One replica.
    Replica { cluster: &'a Cluster, member: &'a Member },
}

impl Addresses {
    /// `clusters` are those of `config`.
    pub(super) fn of(
        config: &ProxyConfig,
        clusters: &Index<Arc<str>, Arc<Cluster>>,
        before: Option<&Self>,
        changes: &Changes<'_>,
    ) -> Self {
        if let Some(before) = before.filter(|before| !before.overlap) {
            let mut next = before.clone();
            next.change(changes, clusters);
            if !next.overlap {
                return next;
            }
        }
        let mut next = Self::default();
        next.change(&Changes::of(config, None), clusters);
        next
    }

    /// See the field.
    pub(super) fn overlap(&self) -> bool {
        self.overlap
    }

    fn change(&mut self, changes: &Changes<'_>, clusters: &Index<Arc<str>, Arc<Cluster>>) {
        // All that goes first: an address may come from one to another.
        for old in changes.services.iter().filter_map(|change| change.old) {
            self.forget_service(old);
        }
        for old in
            changes.clusters.iter().filter(|change| is_whole(change.key)).filter_map(|change| change.old)
        {
            for (address, _) in addresses(old) {
                self.replicas.remove(&address);
            }
        }
        for new in changes.services.iter().filter_map(|change| change.new) {
            self.learn_service(new);
        }
        for change in changes.clusters.iter().filter(|change| is_whole(change.key)) {
            if let (Some(new), Some(cluster)) = (change.new, clusters.get(change.key)) {
                self.learn_replicas(new, cluster);
            }
        }
    }

    fn forget_service(&mut self, service: &Service) {
        for (number, port) in &service.ports {
            self.ports.remove(&*port.cluster);
            for address in virtual_addresses(service) {
                self.services.remove(&SocketAddr::new(address, *number));
            }
        }
        for address in virtual_addresses(service) {
            self.virtual_addresses.remove(&address);
        }
    }

    fn learn_service(&mut self, service: &Shared<Service>) {
        for address in virtual_addresses(service) {
            let before = self.virtual_addresses.insert(address, service.clone());
            self.overlap |= before.is_some_and(|before| !before.is(service));
            for number in service.ports.keys() {
                self.services.insert(SocketAddr::new(address, *number), service.clone());
            }
        }
        for (number, port) in &service.ports {
            let port = (port.cluster.as_str().into(), (service.clone(), *number));
            self.overlap |= self.ports.insert(port.0, port.1).is_some();
        }
    }

    /// Every address of a replica leads to it through the mesh, whichever the application calls.
    fn learn_replicas(&mut self, config: &outrigger_wire::Cluster, cluster: &Arc<Cluster>) {
        for (address, index) in addresses(config) {
            let before = self.replicas.insert(address, Replica { cluster: cluster.clone(), index });
            self.overlap |= before.is_some_and(|before| !Arc::ptr_eq(&before.cluster, cluster));
        }
    }

    /// What stands at an address; none: nothing of the mesh.
    pub(super) fn at(&self, address: SocketAddr) -> Option<At<'_>> {
        if let Some(port) = self.services.get(&address).and_then(|service| service.ports.get(&address.port()))
        {
            return Some(At::Port(port));
        }
        if self.virtual_addresses.contains_key(&address.ip()) {
            return Some(At::NoPort);
        }
        let Replica { cluster, index } = self.replicas.get(&address)?;
        Some(At::Replica { cluster, member: cluster.members.get(*index)? })
    }

    /// What is spoken by the endpoints of a cluster.
    pub(super) fn protocol(&self, cluster: &str) -> Protocol {
        self.port(cluster).map(|port| port.protocol).unwrap_or_default()
    }

    /// Limits in time of a cluster's endpoints.
    pub(super) fn timeouts(&self, cluster: &str) -> Timeouts {
        self.port(cluster).map(|port| port.timeouts).unwrap_or_default()
    }

    fn port(&self, cluster: &str) -> Option<&ServicePort> {
        let (service, number) = self.ports.get(cluster)?;
        service.ports.get(number)
    }
}

/// A version's endpoints are among those of the whole.
fn is_whole(cluster: &str) -> bool {
    !cluster.contains('/')
}

fn virtual_addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.virtual_addresses.iter().map(IpAddr::to_canonical)
}

/// Addresses that the application may call, and which endpoint each is of. One without a sidecar serves where it is reached,
/// and at the called port of that address may be somebody else.
fn addresses(cluster: &outrigger_wire::Cluster) -> impl Iterator<Item = (SocketAddr, usize)> {
    cluster.endpoints.iter().enumerate().flat_map(move |(index, endpoint)| {
        let all = std::iter::once(endpoint.address.ip()).chain(endpoint.also.iter().copied());
        let port = match endpoint.transport {
            Transport::Mesh => cluster.port,
            Transport::Plaintext => endpoint.address.port(),
        };
        all.map(move |ip| (SocketAddr::new(ip.to_canonical(), port), index))
    })
}
