//! Metrics. Counters are atomics that connections hold by their edge; names and labels are made up only when
//! somebody reads `/metrics`.

mod access;
mod checks;
mod collect;
mod edge;
mod inbound;
mod outsiders;
mod policy;
mod routes;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use outrigger_wire::control::Outsider;

use crate::cluster::Cluster;
use crate::dns;
use crate::index::Index;
use crate::rate::Capacity;
use crate::runtime::Generation;

pub use access::Access;
use access::AccessLog;
pub use edge::{Carried, Edge, EdgeKey};
use outsiders::Outsiders;
pub use routes::{RouteCounters, RouteKey};

/// Metrics of one sidecar; clones are the same.
#[derive(Clone, Default)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    own: RwLock<Own>,
    access: Option<AccessLog>,
    edges: Mutex<HashMap<EdgeKey, Arc<Edge>>>,
    routes: Mutex<BTreeMap<RouteKey, Arc<RouteCounters>>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    open: AtomicU64,
    plaintext_inbound: AtomicU64,
    outsiders: Mutex<Outsiders>,
    passthrough: AtomicU64,
    applied: AtomicU64,
    resolver: Arc<dns::Counters>,
    issued: AtomicU64,
    expires: AtomicU64,
    /// Refusals, by rate limit.
    rate_limits: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    /// What is under way to the application, where that is bounded.
    capacity: Mutex<Option<Arc<Capacity>>>,
    checks: checks::Checks,
    /// Clusters with a policy.
    clusters: Mutex<Index<Arc<str>, Arc<Cluster>>>,
}

/// What metrics say of the sidecar itself.
#[derive(Clone, Debug, Default)]
struct Own {
    service: String,
    version: String,
}

/// One open connection; counted until dropped.
pub(crate) struct Open(Telemetry);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Telemetry {
    /// With an access log on standard output.
    ///
    /// # Errors
    /// No thread can be started for it.
    pub fn with_access_log() -> std::io::Result<Self> {
        Ok(Self(Arc::new(Inner { access: Some(AccessLog::start()?), ..Inner::default() })))
    }

    /// True when somebody wants [`Telemetry::access`]: ask before putting a line together.
    pub fn logs_access(&self) -> bool {
        self.0.access.is_some()
    }

    /// Writes a line to the access log, if there is one.
    pub fn access(&self, access: &Access<'_>) {
        if let Some(log) = &self.0.access {
            log.write(access);
        }
    }

    /// The counters of an edge. Look them up once per connection, not per request.
    pub fn edge(&self, key: &EdgeKey) -> Arc<Edge> {
        let mut edges = self.0.edges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(edge) = edges.get(key) {
            return edge.clone();
        }
        let edge = Arc::new(Edge::new(key.clone()));
        edges.insert(key.clone(), edge.clone());
        edge
    }

    /// The counters of a route. Look them up once per route, not per request.
    pub fn route(&self, key: RouteKey) -> Arc<RouteCounters> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    /// Traffic by edge since the start, for the report to the controller; in a steady order.
    pub fn edges(&self) -> Vec<outrigger_wire::control::Edge> {
        self.sorted().iter().map(|edge| edge.report()).collect()
    }

    /// Who called in plaintext from outside the mesh, for the report to the controller; in a steady order.
    pub fn outsiders(&self) -> Vec<Outsider> {
        self.known_outsiders().report()
    }

    /// Unix seconds from which and until which the certificate is good; zeros if there is none.
    pub fn certificate(&self) -> (u64, u64) {
        (self.0.issued.load(Ordering::Relaxed), self.0.expires.load(Ordering::Relaxed))
    }

    /// Everything in the OpenMetrics text format.
    pub fn render(&self) -> String {
        collect::render(self)
    }

    pub(crate) fn configured(&self, generation: &Generation) {
        let own = Own { service: generation.own_service(), version: generation.version.clone() };
        *self.0.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        *self.0.clusters.lock().unwrap_or_else(PoisonError::into_inner) = generation.clusters.clone();
        self.protected(generation);
        self.0.applied.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn certified(&self, issued: u64, expires: u64) {
        self.0.issued.store(issued, Ordering::Relaxed);
        self.0.expires.store(expires, Ordering::Relaxed);
    }

    pub(crate) fn resolver(&self) -> Arc<dns::Counters> {
        self.0.resolver.clone()
    }

    pub(crate) fn opened(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// A connection in plaintext from outside the mesh goes to the application.
    pub(crate) fn plaintext_served(&self, from: IpAddr, port: u16, edge: bool) {
        self.0.plaintext_inbound.fetch_add(1, Ordering::Relaxed);
        self.known_outsiders().served(from, port, edge);
    }

    /// A connection in plaintext from outside the mesh is refused; `known` if the application has that port.
    pub(crate) fn plaintext_refused(&self, from: IpAddr, port: u16, known: bool) {
        let mut outsiders = self.known_outsiders();
        outsiders.refused(from, port, known);
        let told = outsiders.tell(Instant::now());
        drop(outsiders);
        match told {
            Some(0) => tracing::warn!(%from, port, "plaintext from outside the mesh refused (strict)"),
            Some(more) => {
                tracing::warn!(%from, port, before = more, "plaintext from outside the mesh refused (strict)");
            }
            None => {}
        }
    }

    fn known_outsiders(&self) -> MutexGuard<'_, Outsiders> {
        self.0.outsiders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn passthrough(&self) {
        self.0.passthrough.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    fn sorted(&self) -> Vec<Arc<Edge>> {
        let edges = self.0.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let mut edges: Vec<_> = edges.values().cloned().collect();
        edges.sort_by(|a, b| a.key().cmp(b.key()));
        edges
    }

    fn own(&self) -> Own {
        self.0.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
