//! Endpoints of a cluster: which to pick. Knows no request types.

mod balance;
mod budget;
mod ejection;
pub(crate) mod key;
mod latency;
mod outlier;
mod rate;
mod shares;
mod state;
mod zones;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outrigger_wire::{Balance, HashOn, Policy, SpiffeId, Transport};
use rustls::pki_types::ServerName;
use tokio::sync::watch;

pub use balance::Tried;
pub use ejection::{Ejection, Why};
pub use rate::Behind;
pub use state::{Bound, RetryOutcome, State};
pub use zones::Whereabouts;

/// How long an endpoint that could not be reached is avoided while there is another.
const AVOID: Duration = Duration::from_secs(1);

/// Share of an endpoint that has just become ready, where the cluster starts slowly.
const COLD: f64 = 0.1;
/// Of an endpoint that was not ready yet.
const NEVER: u64 = u64::MAX;

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
    /// How one of them is picked.
    pub balance: Balance,
    /// What keeps requests together, where that is by hash.
    pub hash_on: HashOn,
    /// Their weights differ.
    pub weighted: bool,
    /// What each gets because of zones; none where they make no difference.
    pub(crate) zoned: Option<zones::Shares>,
    /// How long the share of an endpoint that became ready takes to rise; zero: no time.
    pub slow_start: Duration,
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
    /// Its share, against that of others; not 0 where it is in balancing.
    pub weight: u32,
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
    full_until_ms: AtomicU64,
    /// A packed [`outlier::Standing`].
    standing: AtomicU64,
    /// A packed [`rate::Tally`] since the last comparison.
    tally: AtomicU64,
    /// A packed [`latency::Latency`].
    latency: AtomicU64,
    /// Milliseconds of its age when it became ready; 0: it was when the cluster was first seen.
    ready_at_ms: AtomicU64,
    /// Of the workload's name.
    hash: u64,
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
    /// When, where it matters how long it takes.
    since: Option<Instant>,
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
        if let Some(since) = self.since {
            self.endpoint.took(since.elapsed(), failed);
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

    /// Prefers endpoints by where the caller is; `described` are those of the members.
    pub(crate) fn prefer(&mut self, caller: &Whereabouts, described: &[outrigger_wire::Endpoint]) {
        let zones: Vec<_> = described.iter().map(|endpoint| endpoint.zone.as_deref()).collect();
        self.zoned = caller.shares(&self.members, &zones);
    }

    fn take(self: &Arc<Self>, endpoint: &Arc<Endpoint>) -> Picked {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        let since = (self.balance == Balance::PeakEwma).then(Instant::now);
        let cluster = (!self.policy.is_default() || since.is_some()).then(|| self.clone());
        Picked { endpoint: endpoint.clone(), cluster, under_way: None, since }
    }

    /// Whether the weights of those in balancing differ.
    pub(crate) fn differ(members: &[Member]) -> bool {
        let mut weights = members.iter().filter(|member| member.ready).map(|member| member.weight);
        let first = weights.next();
        weights.any(|weight| Some(weight) != first)
    }

    /// True when every endpoint is reached by mutual TLS.
    pub fn is_mutual(&self) -> bool {
        self.members.iter().all(|m| m.endpoint.transport == Transport::Mesh)
    }

    /// True when mutual TLS reaches that endpoint.
    pub fn is_mutual_to(&self, workload: &str) -> bool {
        let member = self.members.iter().find(|m| m.endpoint.workload == workload);
        member.is_some_and(|m| m.endpoint.transport == Transport::Mesh)
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
            full_until_ms: AtomicU64::new(0),
            standing: AtomicU64::new(0),
            tally: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            ready_at_ms: AtomicU64::new(if endpoint.ready { 0 } else { NEVER }),
            hash: key::of(endpoint.workload.as_bytes()),
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

    /// It takes no more connections: avoided, and asked for none for a second. A handshake costs it more than an answer.
    pub fn full(&self) {
        self.failed();
        self.full_until_ms.store(self.avoid_until_ms.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// True while it should be asked for no more connections.
    pub fn is_full(&self) -> bool {
        let until = self.full_until_ms.load(Ordering::Relaxed);
        until != 0 && self.age_ms() < until
    }

    /// Says whether it is ready in the generation that comes; `new`: the cluster was there without it.
    pub(crate) fn becomes(&self, ready: bool, new: bool) {
        let was = self.ready_at_ms.load(Ordering::Relaxed);
        if !ready {
            self.ready_at_ms.store(NEVER, Ordering::Relaxed);
        } else if was == NEVER || new {
            self.ready_at_ms.store(self.age_ms().max(1), Ordering::Relaxed);
        }
    }

    /// Its share of what it would get, 0.1 to 1.
    fn warmth(&self, window: Duration) -> f64 {
        let since = self.ready_at_ms.load(Ordering::Relaxed);
        if window.is_zero() || since == 0 {
            return 1.0;
        }
        let passed = self.age_ms().saturating_sub(since) as f64 / window.as_millis().max(1) as f64;
        passed.clamp(COLD, 1.0)
    }

    fn took(&self, took: Duration, failed: bool) {
        let now = self.age_ms();
        let step = |packed| Some(latency::Latency::unpack(packed).step(took, failed, now).pack());
        let _always = self.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// What it would cost to wait for it: what it took lately, for each request in flight and this one. One of which
    /// nothing is known is tried by one request at a time.
    fn cost(&self) -> u64 {
        let us = latency::Latency::unpack(self.latency.load(Ordering::Relaxed)).us_at(self.age_ms());
        match (us, u64::from(self.in_flight())) {
            (0, 0) => 0,
            (0, waiting) => u64::MAX / 2 + waiting,
            (us, waiting) => u64::from(us) * (waiting + 1),
        }
    }

    /// The same, where requests have different lengths: `one` is that of this one.
    fn cost_with(&self, one: f64) -> f64 {
        let us = latency::Latency::unpack(self.latency.load(Ordering::Relaxed)).us_at(self.age_ms());
        match (us, self.in_flight()) {
            (0, 0) => 0.0,
            (0, waiting) => f64::from(u32::MAX) * (f64::from(waiting) + one),
            (us, waiting) => f64::from(us) * (f64::from(waiting) + one),
        }
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
