//! What one sidecar should hold, with the part that many hold alike made and kept once.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::resource::{PROXY, digested, resource, short};
use crate::{Catalog, Cluster, Proxy, ProxyConfig, Resource, Service, Shared};

/// Hash by resource name: what a sidecar says that it holds.
pub type Hashes = BTreeMap<String, String>;

/// Resources that many sidecars hold alike: all but their own `proxy`.
#[derive(Debug)]
pub struct Common {
    resources: BTreeMap<String, Arc<Resource>>,
    /// The version's digest up to where `proxy` comes.
    before: Sha256,
    /// What comes after it.
    after: Vec<u8>,
}

impl PartialEq for Common {
    fn eq(&self, other: &Self) -> bool {
        self.resources == other.resources
    }
}

impl Eq for Common {}

impl Common {
    /// Cuts services and clusters into resources.
    pub fn of(services: &Catalog<Shared<Service>>, clusters: &Catalog<Shared<Cluster>>) -> Self {
        let services = services.iter().map(|(key, service)| resource(format!("service/{key}"), service));
        let clusters = clusters.iter().map(|(key, cluster)| resource(format!("cluster/{key}"), cluster));
        let all = services.chain(clusters);
        let resources: BTreeMap<_, _> =
            all.map(|resource| (resource.name.clone(), Arc::new(resource))).collect();
        let (mut before, mut after) = (Sha256::new(), Vec::new());
        for resource in resources.values() {
            if resource.name.as_str() < PROXY {
                digested(resource, |bytes| before.update(bytes));
            } else {
                digested(resource, |bytes| after.extend_from_slice(bytes));
            }
        }
        Self { resources, before, after }
    }

    /// The same; what is as it was `before` shares its allocation, which is quick to compare.
    pub fn since(mut self, before: &Self) -> Self {
        for (name, resource) in &mut self.resources {
            if let Some(known) = before.resources.get(name).filter(|known| *known == resource) {
                *resource = known.clone();
            }
        }
        self
    }

    /// Names and contents of what is not as it was `before`, and names that are gone.
    fn delta_since(&self, before: &Self) -> (Vec<Resource>, Vec<String>) {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        let mut old = before.resources.iter().peekable();
        for (name, resource) in &self.resources {
            while let Some((gone, _)) = old.next_if(|(old, _)| *old < name) {
                removals.push(gone.clone());
            }
            let same = old
                .next_if(|(old, _)| *old == name)
                .is_some_and(|(_, old)| Arc::ptr_eq(old, resource) || old.hash == resource.hash);
            if !same {
                upserts.push(Resource::clone(resource));
            }
        }
        removals.extend(old.map(|(gone, _)| gone.clone()));
        (upserts, removals)
    }
}

/// What one sidecar should hold. Clones share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    own: Resource,
    common: Arc<Common>,
}

impl Wanted {
    /// Joins the own part and the common one.
    pub fn new(proxy: &Proxy, common: Arc<Common>) -> Self {
        Self { own: resource(PROXY.to_owned(), proxy), common }
    }

    /// A configuration that shares nothing with another.
    pub fn of(config: &ProxyConfig) -> Self {
        Self::new(&config.proxy, Arc::new(Common::of(&config.services, &config.clusters)))
    }

    /// The version of the whole, the same as [`crate::Held::version`]: a hash over all hashes, ordered by name.
    pub fn version(&self) -> String {
        let mut sha = self.common.before.clone();
        digested(&self.own, |bytes| sha.update(bytes));
        sha.update(&self.common.after);
        short(&sha.finalize())
    }

    /// Hash of every resource, by name.
    pub fn hashes(&self) -> Hashes {
        self.all().map(|resource| (resource.name.clone(), resource.hash.clone())).collect()
    }

    /// What must be sent to one who holds `hashes`: resources to put, names to drop.
    pub fn delta(&self, hashes: &Hashes) -> (Vec<Resource>, Vec<String>) {
        let changed = |resource: &&Resource| hashes.get(&resource.name) != Some(&resource.hash);
        let known = |name: &str| name == PROXY || self.common.resources.contains_key(name);
        let removals = hashes.keys().filter(|name| !known(name)).cloned().collect();
        (self.all().filter(changed).cloned().collect(), removals)
    }

    /// The same, to one who holds `before`.
    pub fn delta_since(&self, before: &Self) -> (Vec<Resource>, Vec<String>) {
        let own = (self.own.hash != before.own.hash).then(|| self.own.clone());
        if Arc::ptr_eq(&self.common, &before.common) {
            return (own.into_iter().collect(), Vec::new());
        }
        let (upserts, removals) = self.common.delta_since(&before.common);
        (own.into_iter().chain(upserts).collect(), removals)
    }

    /// The same own part with another common one.
    pub fn with(&self, common: Arc<Common>) -> Self {
        Self { own: self.own.clone(), common }
    }

    /// The common part is this very one.
    pub fn shares(&self, common: &Arc<Common>) -> bool {
        Arc::ptr_eq(&self.common, common)
    }

    fn all(&self) -> impl Iterator<Item = &Resource> {
        std::iter::once(&self.own).chain(self.common.resources.values().map(AsRef::as_ref))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Held, Mode, SpiffeId};

    fn config(workload: &str, services: &[(&str, &str)]) -> ProxyConfig {
        let service = |(key, name): &(&str, &str)| {
            let service = Service {
                names: vec![(*name).to_owned()],
                virtual_addresses: Vec::new(),
                ports: BTreeMap::new(),
                replicas: BTreeMap::new(),
            };
            ((*key).to_owned(), service.into())
        };
        let cluster = |(key, name): &(&str, &str)| {
            let cluster = Cluster {
                service: (*name).to_owned(),
                port: 80,
                identity: SpiffeId::new("a", "b", "c").unwrap(),
                connect_timeout_ms: 1,
                policy: Default::default(),
                balance: Default::default(),
                hash_on: Default::default(),
                slow_start_ms: 0,
                endpoints: Vec::new(),
            };
            (format!("{key}:80"), cluster.into())
        };
        ProxyConfig {
            proxy: Proxy {
                identity: SpiffeId::new("a", "b", "c").unwrap(),
                workload: workload.into(),
                zone: None,
                mode: Mode::Permissive,
                edge: Default::default(),
                listeners: BTreeMap::new(),
                ports: BTreeMap::new(),
                seen_ports: true,
                rate_limits: Vec::new(),
                capacity: Default::default(),
                hosts: false,
                check: None,
            },
            services: services.iter().map(service).collect(),
            clusters: services.iter().map(cluster).collect(),
        }
    }

    #[test]
    fn it_is_what_the_sidecar_makes_of_it() {
        for services in [&[][..], &[("a", "a")], &[("a", "a"), ("z", "b")]] {
            let config = config("c-1", services);
            let (wanted, held) = (Wanted::of(&config), Held::of(&config));
            assert_eq!(wanted.version(), held.version());
            assert_eq!(wanted.hashes(), held.hashes());
            assert_eq!(held.delta(&wanted.hashes()), (Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn both_ways_to_compare_say_the_same() {
        let steps = [
            config("c-1", &[("a", "a"), ("b", "b")]),
            config("c-1", &[("a", "a"), ("b", "other"), ("d", "d")]),
            config("c-2", &[("d", "d")]),
            config("c-2", &[("d", "d")]),
        ];
        for pair in steps.windows(2) {
            let (before, now) = (Wanted::of(&pair[0]), Wanted::of(&pair[1]));
            assert_eq!(now.delta_since(&before), now.delta(&before.hashes()));
            let again = Common::of(&pair[1].services, &pair[1].clusters).since(&before.common);
            assert_eq!(again, *now.common);
            assert_eq!(now.with(again.into()).delta_since(&before), now.delta(&before.hashes()));
        }
        let (first, second) = (Wanted::of(&steps[0]), Wanted::of(&steps[1]));
        let (upserts, removals) = second.delta_since(&first);
        let names: Vec<_> = upserts.iter().map(|resource| resource.name.as_str()).collect();
        assert_eq!(names, ["cluster/b:80", "cluster/d:80", "service/b", "service/d"]);
        assert_eq!(removals, [""; 0]);
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let (first, second) =
            (config("c-1", &[("a", "a"), ("b", "b")]), config("c-1", &[("a", "a"), ("b", "c")]));
        let (upserts, removals) = Wanted::of(&second).delta_since(&Wanted::of(&first));
        let held = Held::of(&first);
        let next = held.apply(upserts, &removals).unwrap();
        let (was, is) = (held.config().unwrap(), next.config().unwrap());
        assert_eq!((&was, &is), (&first, &second));
        assert!(is.services["a"].is(&was.services["a"]) && is.clusters["a:80"].is(&was.clusters["a:80"]));
        assert!(!is.services["b"].is(&was.services["b"]) && !is.clusters["b:80"].is(&was.clusters["b:80"]));
    }
}
