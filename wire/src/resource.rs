//! A configuration cut into named resources, each with the hash of its content, so that only what
//! changed travels.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Cluster, Proxy, ProxyConfig, Service, Shared};

/// Largest body of one resource, bytes.
pub const MAX_RESOURCE: usize = 1 << 20;
/// Most resources one sidecar holds.
pub const MAX_RESOURCES: usize = 50_000;

/// One named piece of a configuration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resource {
    /// `proxy`, `service/<key>` or `cluster/<key>`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// First 16 hex digits of the SHA-256 of `body`.
    #[prost(string, tag = "2")]
    pub hash: String,
    /// The piece as JSON.
    #[prost(bytes = "vec", tag = "3")]
    pub body: Vec<u8>,
}

/// Why a change was not applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The resource's kind is not known here.
    #[error("resource `{0}`: this sidecar does not know that kind; upgrade it")]
    UnknownKind(String),
    /// The body is not what its kind asks for.
    #[error("resource `{name}`: {source}")]
    Body {
        /// The resource.
        name: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The hash does not fit the body.
    #[error("resource `{0}`: hash and content differ")]
    Hash(String),
    /// A limit was passed.
    #[error("resource `{name}`: {what}")]
    Limit {
        /// The resource.
        name: String,
        /// Which limit.
        what: &'static str,
    },
    /// There is no `proxy` resource.
    #[error("the configuration has no `proxy` resource")]
    NoProxy,
    /// A service names a cluster that is not there.
    #[error("service `{service}` port {port}: there is no cluster `{cluster}`")]
    NoCluster {
        /// The service.
        service: String,
        /// Its port.
        port: u16,
        /// The missing cluster.
        cluster: String,
    },
}

/// Resources by name: what a sidecar holds, or what it should hold.
/// After a change most pieces are the same ones: neither their bytes are copied nor are they read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(BTreeMap<String, Arc<Piece>>);

#[derive(Debug)]
struct Piece {
    resource: Resource,
    /// Read when first asked for.
    content: OnceLock<Content>,
}

#[derive(Clone, Debug)]
enum Content {
    Proxy(Shared<Proxy>),
    Service(Shared<Service>),
    Cluster(Shared<Cluster>),
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        self.resource == other.resource
    }
}

impl Eq for Piece {}

impl Piece {
    fn new(resource: Resource, content: Option<Content>) -> Arc<Self> {
        let known = OnceLock::new();
        if let Some(content) = content {
            let _first = known.set(content);
        }
        Arc::new(Self { resource, content: known })
    }

    fn content(&self) -> Result<Content, ApplyError> {
        if let Some(content) = self.content.get() {
            return Ok(content.clone());
        }
        let r = &self.resource;
        let content = match r.name.split_once('/') {
            None if r.name == "proxy" => Content::Proxy(body(r)?),
            Some(("service", _)) => Content::Service(body(r)?),
            Some(("cluster", _)) => Content::Cluster(body(r)?),
            _ => return Err(ApplyError::UnknownKind(r.name.clone())),
        };
        Ok(self.content.get_or_init(|| content).clone())
    }
}

impl Held {
    /// Cuts a configuration into resources.
    pub fn of(config: &ProxyConfig) -> Self {
        let mut held = BTreeMap::new();
        let mut put = |resource: Resource, content| {
            held.insert(resource.name.clone(), Piece::new(resource, content));
        };
        put(resource("proxy".into(), &config.proxy), None);
        for (key, service) in &config.services {
            put(resource(format!("service/{key}"), service), Some(Content::Service(service.clone())));
        }
        for (key, cluster) in &config.clusters {
            put(resource(format!("cluster/{key}"), cluster), Some(Content::Cluster(cluster.clone())));
        }
        Self(held)
    }

    /// Hash of every resource held, by name.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, piece)| (name.clone(), piece.resource.hash.clone())).collect()
    }

    /// The version of the whole: a hash over all hashes.
    pub fn version(&self) -> String {
        let mut sha = Sha256::new();
        for resource in self.resources() {
            digested(resource, |bytes| sha.update(bytes));
        }
        short(&sha.finalize())
    }

    /// What must be sent to one who holds `hashes`: resources to put, names to drop.
    pub fn delta(&self, hashes: &BTreeMap<String, String>) -> (Vec<Resource>, Vec<String>) {
        let changed = |r: &&Resource| hashes.get(&r.name) != Some(&r.hash);
        let upserts = self.resources().filter(changed).cloned().collect();
        let removals = hashes.keys().filter(|name| !self.0.contains_key(*name)).cloned().collect();
        (upserts, removals)
    }

    /// What is held after a change; `self` stays as it was.
    ///
    /// # Errors
    /// A hash that does not fit its body, or a limit passed. The content is checked by [`Held::config`].
    pub fn apply(&self, upserts: Vec<Resource>, removals: &[String]) -> Result<Self, ApplyError> {
        let mut next = self.0.clone();
        for name in removals {
            next.remove(name);
        }
        for r in upserts {
            if r.body.len() > MAX_RESOURCE {
                return Err(ApplyError::Limit { name: r.name, what: "body over 1 MiB" });
            }
            if r.hash != hash(&r.body) {
                return Err(ApplyError::Hash(r.name));
            }
            next.insert(r.name.clone(), Piece::new(r, None));
            if next.len() > MAX_RESOURCES {
                return Err(ApplyError::Limit { name: "*".into(), what: "over 50,000 resources" });
            }
        }
        Ok(Self(next))
    }

    /// Puts the pieces together again.
    ///
    /// # Errors
    /// A body that is not its kind, an unknown kind, or a reference to nothing.
    pub fn config(&self) -> Result<ProxyConfig, ApplyError> {
        let mut proxy: Option<Proxy> = None;
        let mut services = BTreeMap::new();
        let mut clusters = BTreeMap::new();
        for (name, piece) in &self.0 {
            let key = name.split_once('/').map_or("", |(_, key)| key);
            match piece.content()? {
                Content::Proxy(own) => proxy = Some((*own).clone()),
                Content::Service(service) => drop(services.insert(key.to_owned(), service)),
                Content::Cluster(cluster) => drop(clusters.insert(key.to_owned(), cluster)),
            }
        }
        let config = ProxyConfig { proxy: proxy.ok_or(ApplyError::NoProxy)?, services, clusters };
        config.check()?;
        Ok(config)
    }

    /// All resources, in the order of their names.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.0.values().map(|piece| &piece.resource)
    }
}

impl ProxyConfig {
    /// References inside the configuration lead somewhere.
    ///
    /// # Errors
    /// A service port whose cluster is missing.
    pub fn check(&self) -> Result<(), ApplyError> {
        for (service, s) in &self.services {
            for (port, p) in &s.ports {
                let backends = p.routes.iter().flat_map(|route| &route.backends);
                let mirrors = p.routes.iter().filter_map(|route| route.mirror.as_ref()?.cluster.as_ref());
                let named = backends.filter_map(|backend| backend.cluster.as_ref()).chain(mirrors);
                let missing = named.chain([&p.cluster]).find(|cluster| !self.clusters.contains_key(*cluster));
                if let Some(cluster) = missing {
                    let (service, cluster) = (service.clone(), cluster.clone());
                    return Err(ApplyError::NoCluster { service, port: *port, cluster });
                }
            }
        }
        Ok(())
    }
}

/// What the version is a digest of, for one resource.
pub(crate) fn digested(resource: &Resource, mut take: impl FnMut(&[u8])) {
    take(resource.name.as_bytes());
    take(&[0]);
    take(resource.hash.as_bytes());
    take(&[0]);
}

pub(crate) fn resource<T: Serialize>(name: String, value: &T) -> Resource {
    let body = serde_json::to_vec(value).expect("configuration types have string keys and serialise");
    Resource { hash: hash(&body), name, body }
}

fn body<'a, T: serde::Deserialize<'a>>(r: &'a Resource) -> Result<T, ApplyError> {
    serde_json::from_slice(&r.body).map_err(|source| ApplyError::Body { name: r.name.clone(), source })
}

/// Names a content: the first 16 hex digits of its SHA-256.
pub fn hash(body: &[u8]) -> String {
    short(&Sha256::digest(body))
}

/// The first 16 hex digits.
pub(crate) fn short(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
