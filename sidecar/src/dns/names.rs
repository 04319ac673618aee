//! Names of the mesh and their addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use outrigger_wire::{ProxyConfig, Service};

/// What the resolver answers by itself. Names are lower case, without the final dot; only a name asked
/// exactly so matches, never one with a search domain behind it: the C libraries ask for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    addresses: HashMap<String, Vec<IpAddr>>,
    /// From a virtual address to the service's first name.
    reverse: HashMap<IpAddr, String>,
}

impl Names {
    /// The names of a configuration: services with their virtual addresses, replicas with their own. A service
    /// without an address is left to the other resolvers.
    pub fn of(config: &ProxyConfig) -> Self {
        let mut names = Self::default();
        for service in config.services.values() {
            for name in &service.names {
                names.add(name, &service.virtual_addresses);
            }
            for (replica, address) in &service.replicas {
                names.add(replica, &[*address]);
            }
            if let Some(name) = service.names.first() {
                names.reverse.extend(service.virtual_addresses.iter().map(|ip| (*ip, name.clone())));
            }
        }
        names
    }

    /// Whether two configurations have the same names.
    pub fn are_same(a: &ProxyConfig, b: &ProxyConfig) -> bool {
        let same = |a: &Service, b: &Service| {
            a.names == b.names && a.virtual_addresses == b.virtual_addresses && a.replicas == b.replicas
        };
        let changes = a.services.changes(&b.services);
        changes.iter().all(|change| change.old.zip(change.new).is_some_and(|(old, new)| same(old, new)))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// True when the mesh has no name.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The addresses of a name, any case.
    pub(super) fn addresses(&self, name: &Name) -> Option<&[IpAddr]> {
        self.addresses.get(&key(name)).map(Vec::as_slice)
    }

    /// The name of an address given as `….in-addr.arpa`.
    pub(super) fn reverse(&self, name: &Name) -> Option<Name> {
        let whole = name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len())?;
        let first = self.reverse.get(&whole.addr())?;
        Name::from_ascii(format!("{first}.")).ok()
    }

    fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let known = self.addresses.entry(name.to_ascii_lowercase()).or_default();
        known.extend(addresses);
        known.sort_unstable();
        known.dedup();
    }
}

fn key(name: &Name) -> String {
    let mut key = name.to_ascii();
    key.make_ascii_lowercase();
    if key.ends_with('.') {
        key.pop();
    }
    key
}
