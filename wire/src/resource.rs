//! A configuration cut into named resources, each with the hash of its content, so that only what
//! changed travels.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Catalog, Change, Cluster, Proxy, ProxyConfig, Service, Shared};

/// The resource that every sidecar has of its own.
pub(crate) const PROXY: &str = "proxy";
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
/// After a change most pieces are the same ones: neither are they copied nor read nor checked again.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pieces: Catalog<Arc<Piece>>,
    /// The pieces put together, once that was asked for and they fit.
    whole: OnceLock<ProxyConfig>,
    /// The last pieces that were put together, and what came of it.
    before: Option<(Catalog<Arc<Piece>>, ProxyConfig)>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

impl Eq for Held {}

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
            None if r.name == PROXY => Content::Proxy(body(r)?),
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
        let mut pieces = BTreeMap::new();
        let mut put = |resource: Resource, content| {
            pieces.insert(resource.name.clone(), Piece::new(resource, content));
        };
        put(resource(PROXY.into(), &config.proxy), None);
        for (key, service) in config.services.iter() {
            put(resource(format!("service/{key}"), service), Some(Content::Service(service.clone())));
        }
        for (key, cluster) in config.clusters.iter() {
            put(resource(format!("cluster/{key}"), cluster), Some(Content::Cluster(cluster.clone())));
        }
        Self { pieces: pieces.into_iter().collect(), ..Self::default() }
    }

    /// Hash of every resource held, by name.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.resources().map(|resource| (resource.name.clone(), resource.hash.clone())).collect()
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
        let removals = hashes.keys().filter(|name| !self.pieces.contains_key(name)).cloned().collect();
        (upserts, removals)
    }

    /// What is held after a change; `self` stays as it was.
    ///
    /// # Errors
    /// A hash that does not fit its body, or a limit passed. The content is checked by [`Held::config`].
    pub fn apply(&self, upserts: Vec<Resource>, removals: &[String]) -> Result<Self, ApplyError> {
        let mut pieces = self.pieces.clone();
        for name in removals {
            pieces.remove(name);
        }
        for r in upserts {
            if r.body.len() > MAX_RESOURCE {
                return Err(ApplyError::Limit { name: r.name, what: "body over 1 MiB" });
            }
            if r.hash != hash(&r.body) {
                return Err(ApplyError::Hash(r.name));
            }
            pieces.insert(Arc::<str>::from(r.name.as_str()), Piece::new(r, None));
            if pieces.len() > MAX_RESOURCES {
                return Err(ApplyError::Limit { name: "*".into(), what: "over 50,000 resources" });
            }
        }
        let known = self.whole.get().map(|whole| (self.pieces.clone(), whole.clone()));
        Ok(Self { pieces, whole: OnceLock::new(), before: known.or_else(|| self.before.clone()) })
    }

    /// Puts the pieces together again: those that changed since it was last done, on top of what came of it.
    ///
    /// # Errors
    /// A body that is not its kind, an unknown kind, or a reference to nothing.
    pub fn config(&self) -> Result<ProxyConfig, ApplyError> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole.clone());
        }
        let config = match &self.before {
            Some((pieces, whole)) => {
                let changes = self.pieces.changes(pieces);
                let mut config = whole.clone();
                for Change { key, new, .. } in changes {
                    config.put(key, new)?;
                }
                config.check_since(Some(whole))?;
                config
            }
            None => self.read()?,
        };
        Ok(self.whole.get_or_init(|| config).clone())
    }

    fn read(&self) -> Result<ProxyConfig, ApplyError> {
        let Some(own) = self.pieces.get(PROXY) else { return Err(ApplyError::NoProxy) };
        let Content::Proxy(proxy) = own.content()? else { return Err(ApplyError::NoProxy) };
        let mut config = ProxyConfig {
            proxy: (*proxy).clone(),
            services: Catalog::default(),
            clusters: Catalog::default(),
        };
        for (name, piece) in self.pieces.iter() {
            config.put(name, Some(piece))?;
        }
        config.check()?;
        Ok(config)
    }

    /// All resources, in the order of their names.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.pieces.values().map(|piece| &piece.resource)
    }
}

impl ProxyConfig {
    /// References inside the configuration lead somewhere.
    ///
    /// # Errors
    /// A service port whose cluster is missing.
    pub fn check(&self) -> Result<(), ApplyError> {
        self.check_since(None)
    }

    /// The same, where `before` is known to be sound: only what changed since is looked at.
    ///
    /// # Errors
    /// See [`ProxyConfig::check`].
    pub fn check_since(&self, before: Option<&Self>) -> Result<(), ApplyError> {
        let sound = before.filter(|before| {
            let clusters = self.clusters.changes(&before.clusters);
            // Any service may have named one that is gone.
            clusters.iter().all(|change| change.new.is_some())
        });
        let Some(before) = sound else {
            return self.services.iter().try_for_each(|(key, service)| self.leads(key, service));
        };
        let changes = self.services.changes(&before.services);
        changes
            .into_iter()
            .try_for_each(|change| change.new.map_or(Ok(()), |new| self.leads(change.key, new)))
    }

    fn leads(&self, key: &str, service: &Service) -> Result<(), ApplyError> {
        for (port, p) in &service.ports {
            let backends = p.routes.iter().flat_map(|route| &route.backends);
            let mirrors = p.routes.iter().filter_map(|route| route.mirror.as_ref()?.cluster.as_ref());
            let named = backends.filter_map(|backend| backend.cluster.as_ref()).chain(mirrors);
            let missing = named.chain([&p.cluster]).find(|cluster| !self.clusters.contains_key(cluster));
            if let Some(cluster) = missing {
                let (service, cluster) = (key.to_owned(), cluster.clone());
                return Err(ApplyError::NoCluster { service, port: *port, cluster });
            }
        }
        Ok(())
    }

    /// Puts a piece in its place, or takes it out.
    fn put(&mut self, name: &str, piece: Option<&Arc<Piece>>) -> Result<(), ApplyError> {
        let key = name.split_once('/').map_or("", |(_, key)| key);
        match piece.map(|piece| piece.content()).transpose()? {
            Some(Content::Proxy(own)) => self.proxy = (*own).clone(),
            Some(Content::Service(service)) => drop(self.services.insert(key, service)),
            Some(Content::Cluster(cluster)) => drop(self.clusters.insert(key, cluster)),
            None if name == PROXY => return Err(ApplyError::NoProxy),
            None if name.starts_with("service/") => drop(self.services.remove(key)),
            None => drop(self.clusters.remove(key)),
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
