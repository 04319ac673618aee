//! Endpoints of a cluster: which to pick. Knows no request types.

mod balance;
mod budget;
mod outlier;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outrigger_wire::{Policy, SpiffeId, Transport};
use rustls::pki_types::ServerName;
use tokio::sync::watch;

pub use balance::Tried;
pub use state::{Bound, RetryOutcome, State};

/// How long an endpoint that could not be reached is avoided while there is another.
const AVOID: Duration = Duration::from_secs(1);

/// A set of endpoints that serve the same thing, as one generation sees it.
#[derive(Debug)]
pub struct Cluster {
    /// Key in the configuration (`cart.shop:8080`).
    pub key: String,
    /// The service it belongs to (`cart.shop`).
    pub service: String,
    /// The application's port at the endpoints.
    pub port: u16,
    /// To connect, TLS included.
    pub connect_timeout: Duration,
    /// All endpoints; those not ready can still be called by their own name or address.
    pub members: Vec<Member>,
    /// What is done about endpoints that fail.
    pub policy: Policy,
    /// What that counts; shared with other generations.
    pub state: Arc<State>,
}

/// An endpoint and what this generation says of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Shared with other generations.
    pub endpoint: Arc<Endpoint>,
    /// In balancing.
    pub ready: bool,
}

/// One replica. Lives on from generation to generation as long as nothing that a connection depends on
/// changes; pools keep their connections by [`Endpoint::id`] and close them when it is [removed](Endpoint::removed).
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process.
    pub id: u64,
    /// The replica's name.
    pub workload: String,
    /// Where to connect.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Identity it must prove.
    pub identity: SpiffeId,
    /// Server name (SNI) to send.
    pub server_name: ServerName<'static>,
    instance: String,
    in_flight: AtomicU32,
    since: Instant,
    avoid_until_ms: AtomicU64,
    /// A packed [`outlier::Standing`].
    standing: AtomicU64,
    removed: watch::Sender<bool>,
}

/// An endpoint picked for one request or connection; counts as in flight until dropped.
#[derive(Debug)]
pub struct Picked {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The cluster, where it has a policy.
    cluster: Option<Arc<Cluster>>,
    /// What it counts as there.
    under_way: Option<Bound>,
}

impl Picked {
    /// The cluster, where it has a policy.
    pub(crate) fn policed(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Takes note of how it went.
    pub(crate) fn observe(&self, failed: bool) {
        if let Some(cluster) = &self.cluster {
            cluster.observe(&self.endpoint, failed);
        }
    }

    /// Counts it as a request or a byte stream; false if there are as many as may be.
    pub(crate) fn enter(&mut self, bound: Bound) -> bool {
        let Some((cluster, limits)) = self.cluster.as_ref().and_then(|c| Some((c, c.policy.limits?))) else {
            return true;
        };
        let most = if bound == Bound::Streams { limits.streams } else { limits.requests };
        let entered = cluster.state.enter(bound, most);
        self.under_way = entered.then_some(bound);
        entered
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let (Some(cluster), Some(bound)) = (&self.cluster, self.under_way) {
            cluster.state.leave(bound);
        }
    }
}

impl Cluster {
    /// The endpoint of that name, counted as in flight, ready or not.
    pub fn named(self: &Arc<Self>, workload: &str) -> Option<Picked> {
        let member = self.members.iter().find(|m| m.endpoint.workload == workload)?;
        Some(self.take(&member.endpoint))
    }

    fn take(self: &Arc<Self>, endpoint: &Arc<Endpoint>) -> Picked {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        let cluster = (!self.policy.is_default()).then(|| self.clone());
        Picked { endpoint: endpoint.clone(), cluster, under_way: None }
    }

    /// True when every endpoint is reached by mutual TLS.
    pub fn is_mutual(&self) -> bool {
        self.members.iter().all(|m| m.endpoint.transport == Transport::Mesh)
    }

    /// True when at least one endpoint is in balancing.
    pub fn has_ready(&self) -> bool {
        self.members.iter().any(|m| m.ready)
    }
}

impl Endpoint {
    pub(crate) fn new(
        id: u64,
        cluster: &outrigger_wire::Cluster,
        server_name: ServerName<'static>,
        endpoint: &outrigger_wire::Endpoint,
    ) -> Self {
        Self {
            id,
            workload: endpoint.workload.clone(),
            address: endpoint.address,
            transport: endpoint.transport,
            identity: cluster.identity.clone(),
            server_name,
            instance: endpoint.instance.clone(),
            in_flight: AtomicU32::new(0),
            since: Instant::now(),
            avoid_until_ms: AtomicU64::new(0),
            standing: AtomicU64::new(0),
            removed: watch::Sender::new(false),
        }
    }

    /// True if a connection made to this one is as good as one made to what is described.
    pub(crate) fn is(
        &self,
        cluster: &outrigger_wire::Cluster,
        server_name: &ServerName<'static>,
        endpoint: &outrigger_wire::Endpoint,
    ) -> bool {
        self.workload == endpoint.workload
            && self.address == endpoint.address
            && self.transport == endpoint.transport
            && self.instance == endpoint.instance
            && self.identity == cluster.identity
            && self.server_name == *server_name
    }

    /// Requests and connections in flight, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A connection failed, or it answered "never delivered": avoided for a second while there is another.
    pub fn failed(&self) {
        let until = self.age_ms().saturating_add(AVOID.as_millis() as u64);
        self.avoid_until_ms.store(until, Ordering::Relaxed);
    }

    /// It was reached.
    pub fn reached(&self) {
        if self.avoid_until_ms.load(Ordering::Relaxed) != 0 {
            self.avoid_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// True while it should be avoided.
    pub fn is_avoided(&self) -> bool {
        let until = self.avoid_until_ms.load(Ordering::Relaxed);
        until != 0 && self.age_ms() < until
    }

    /// Resolves when no generation names it any more: idle connections to it should close.
    pub async fn removed(&self) {
        let mut removed = self.removed.subscribe();
        let _owner_gone = removed.wait_for(|removed| *removed).await;
    }

    /// True when no generation names it any more.
    pub fn is_removed(&self) -> bool {
        *self.removed.borrow()
    }

    pub(crate) fn remove(&self) {
        self.removed.send_replace(true);
    }

    fn age_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
