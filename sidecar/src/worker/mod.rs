//! One worker: a thread with a current-thread runtime, its own listeners and its own pools.
//! Nothing here is shared with other workers but the generation handle, endpoint counters and metrics.

mod crew;
mod ending;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use outrigger_lifecycle::Draining;
use outrigger_wire::{Balance, HashOn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::cluster::{Bound, Cluster, Picked, Tried, key};
use crate::downstream::Downstream;
use crate::handover::Succession;
use crate::http::Pools;
use crate::netns::Listening;
use crate::patience::Patience;
use crate::rate::{Admission, Capacity, Rates};
use crate::route::Routes;
use crate::runtime::{EdgeRoutes, Generation, Shared};
use crate::telemetry::Telemetry;
use crate::tls::Contexts;

pub(crate) use crew::{Crew, Listen};
pub(crate) use ending::Ending;

/// Requests and connections that one worker holds for want of an endpoint.
const MAX_HELD: usize = 1024;
/// Copies of requests that one worker has under way (`mirror` of a route).
const MAX_COPIES: usize = 128;
/// Longest time that one is held.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// Pause before all endpoints are tried again; doubles with each round.
const FIRST_ROUND: Duration = Duration::from_millis(25);
/// Rounds over endpoints that are ready but never take what is sent: about 0.8 s.
const MAX_ROUNDS: u32 = 5;

/// Bytes copied at once: with 64 KiB, system calls and waking the other side cost a twentieth more in bulk.
const SCRATCH: usize = 128 * 1024;

/// Handle of a worker; clones are the same worker. Stays on its thread.
#[derive(Clone)]
pub struct Worker(Rc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    pools: Pools,
    rng: RefCell<fastrand::Rng>,
    held: Cell<usize>,
    copies: Cell<usize>,
    permits: Arc<Semaphore>,
    full: Cell<bool>,
    scratch: RefCell<Box<[u8]>>,
}

/// Hashes what keeps a request together with others; asked only where the cluster balances by hash.
pub(crate) type Keyed<'a> = &'a dyn Fn(&HashOn) -> Option<u64>;

/// Why no endpoint could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The cluster is not in the configuration any more.
    #[error("the destination is not in the configuration any more")]
    NoCluster,
    /// None was ready within the time that the request may be held.
    #[error("no endpoint is ready")]
    NoneReady,
    /// As many are under way as may be.
    #[error("as many {} are under way as may be", .0.as_str())]
    TooMany(Bound),
    /// Endpoints are ready, but none of them took it.
    #[error("no endpoint took it")]
    NoneTook,
    /// Too many are held already.
    #[error("no endpoint is ready, and {MAX_HELD} are waiting for one already")]
    TooManyHeld,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let rng = RefCell::new(fastrand::Rng::new());
        let permits = Arc::new(Semaphore::new(shared.connections));
        let scratch = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
        let (held, copies, full) = (Cell::new(0), Cell::new(0), Cell::new(false));
        let pools = Pools::default();
        Self(Rc::new(Inner { shared, pools, rng, held, copies, permits, full, scratch }))
    }

    /// The configuration that runs now: read it once per request or connection.
    pub fn generation(&self) -> Arc<Generation> {
        self.0.shared.generation.load_full()
    }

    /// This worker's HTTP connections.
    pub fn pools(&self) -> &Pools {
        &self.0.pools
    }

    /// How long others may take.
    pub fn patience(&self) -> Patience {
        self.0.shared.patience
    }

    /// Metrics and access log.
    pub fn telemetry(&self) -> &Telemetry {
        &self.0.shared.telemetry
    }

    /// TLS configurations of the current identity; none as long as there is no certificate.
    pub fn tls(&self) -> Option<Arc<Contexts>> {
        self.0.shared.tls.load_full()
    }

    /// Told when the process stops: finish what runs, keep nothing alive.
    pub fn draining(&self) -> Draining {
        self.0.shared.draining.clone()
    }

    /// Told when peers are to be sent elsewhere: when the workload leaves the mesh, or with the drain.
    fn leaving(&self) -> Draining {
        self.0.shared.leaving.clone()
    }

    /// Takes connections that wait for a request, once a successor serves.
    pub(crate) fn succession(&self) -> &Succession {
        &self.0.shared.succession
    }

    /// Told when a connection must come to its end.
    pub(crate) fn ending(&self, downstream: &Downstream) -> Ending {
        Ending::new(self, downstream)
    }

    /// Told of every change of the configuration.
    fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.changes.subscribe()
    }

    /// Where the application listens, as last seen.
    pub fn listening(&self) -> watch::Receiver<Listening> {
        self.0.shared.listening.clone()
    }

    /// A place for one more connection; waits while this worker serves as many as it may.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.0.permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        if !self.0.full.replace(true) {
            let limit = self.0.shared.connections;
            tracing::warn!(limit, "as many connections as descriptors allow (ulimit -n): new ones wait");
        }
        let permit = self.0.permits.clone().acquire_owned().await.ok();
        self.0.full.set(false);
        permit
    }

    /// The worker's copy buffer, for the length of one poll: connections own no buffer while they wait.
    pub(crate) fn with_scratch<T>(&self, copy: impl FnOnce(&mut [u8]) -> T) -> T {
        copy(&mut self.0.scratch.borrow_mut())
    }

    /// Starts a task on this worker's thread. It ends when it returns, or with the worker.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    /// Picks an endpoint of a cluster that was not tried yet. Holds the caller for at most `hold` (10 s
    /// where that is less) as long as none is ready; when those that are ready were all tried, tries them again
    /// a few times over 0.8 s. `tried` is for "never delivered" only, so that trying again doubles nothing.
    ///
    /// # Errors
    /// See [`NoEndpoint`].
    pub(crate) async fn pick(
        &self,
        cluster: &str,
        tried: &mut Tried,
        hold: Duration,
        key: Keyed<'_>,
    ) -> Result<Picked, NoEndpoint> {
        match self.pick_now(cluster, tried, key)? {
            Some(picked) => Ok(picked),
            // Rare, and large: every request would carry room for it.
            None => Box::pin(self.hold(cluster, tried, hold.min(MAX_HOLD), key)).await,
        }
    }

    /// The routes of the port whose cluster that is; none where it has none.
    pub(crate) fn routes(&self, cluster: &str) -> Option<Arc<Routes>> {
        let generation = self.0.shared.generation.load();
        if generation.routes.is_empty() { None } else { generation.routes.get(cluster).cloned() }
    }

    /// How many requests the application gets in a time; none: as many as come.
    pub(crate) fn rates(&self) -> Option<Arc<Rates>> {
        self.0.shared.generation.load().rates.clone()
    }

    /// What is under way to the application and how much may be, if `bounds` says that it is bounded.
    pub(crate) fn capacity(
        &self,
        bounds: impl FnOnce(&outrigger_wire::Capacity) -> bool,
    ) -> Option<(Arc<Capacity>, outrigger_wire::Capacity)> {
        let generation = self.0.shared.generation.load();
        let said = &generation.config.proxy.capacity;
        bounds(said).then(|| (generation.capacity.clone(), *said))
    }

    /// A place for a connection of HTTP to the application. One that a predecessor `handed` over was let in there, and
    /// only moves.
    pub(crate) fn admit(&self, handed: bool) -> Admission {
        let generation = self.0.shared.generation.load();
        let most = if handed { 0 } else { generation.config.proxy.capacity.connections };
        generation.capacity.connection(most)
    }

    /// The routes of requests from outside the mesh to an edge port; none where it has none.
    pub(crate) fn edge_routes(&self, port: u16) -> Option<Arc<EdgeRoutes>> {
        let generation = self.0.shared.generation.load();
        if generation.edge_routes.is_empty() { None } else { generation.edge_routes.get(&port).cloned() }
    }

    /// Draws with this worker's random numbers.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.rng.borrow_mut())
    }

    /// A place for one more copy of a request; none while as many run as may.
    pub(crate) fn copy(&self) -> Option<Copying> {
        let copies = self.0.copies.get();
        (copies < MAX_COPIES).then(|| {
            self.0.copies.set(copies + 1);
            Copying(self.clone())
        })
    }

    /// One named endpoint of a cluster, ready or not.
    ///
    /// # Errors
    /// [`NoEndpoint::NoCluster`] when cluster or endpoint are gone.
    pub fn pick_named(&self, cluster: &str, workload: &str) -> Result<Picked, NoEndpoint> {
        let generation = self.generation();
        let found = generation.clusters.get(cluster).and_then(|cluster| cluster.named(workload));
        found.ok_or(NoEndpoint::NoCluster)
    }

    fn pick_now(&self, cluster: &str, tried: &Tried, key: Keyed<'_>) -> Result<Option<Picked>, NoEndpoint> {
        let generation = self.0.shared.generation.load();
        let cluster = generation.clusters.get(cluster).ok_or(NoEndpoint::NoCluster)?;
        let by_hash = cluster.balance == Balance::Hash;
        let key = if by_hash { self.key(&generation, &cluster.hash_on, key) } else { None };
        Ok(cluster.pick(tried, key, &mut self.0.rng.borrow_mut()))
    }

    /// What keeps a request together with others: what it says, or where it comes from, which is this workload but for
    /// outsiders.
    pub(crate) fn key(&self, generation: &Generation, on: &HashOn, key: Keyed<'_>) -> Option<u64> {
        let here = || on.is_default().then(|| key::of(generation.config.proxy.workload.as_bytes()));
        key(on).or_else(here)
    }

    async fn hold(
        &self,
        cluster: &str,
        tried: &mut Tried,
        hold: Duration,
        key: Keyed<'_>,
    ) -> Result<Picked, NoEndpoint> {
        let _held = self.held().ok_or(NoEndpoint::TooManyHeld)?;
        let _bounded = self.bounded(cluster)?;
        let until = Instant::now() + hold;
        let mut changes = self.changes();
        loop {
            if let Some(picked) = self.pick_now(cluster, tried, key)? {
                return Ok(picked);
            }
            let ready = self.0.shared.generation.load().clusters.get(cluster).is_some_and(|c| c.has_ready());
            if ready && tried.rounds >= MAX_ROUNDS {
                return Err(NoEndpoint::NoneTook);
            }
            let round = Instant::now() + FIRST_ROUND * 2u32.saturating_pow(tried.rounds);
            let wake = if ready { round.min(until) } else { until };
            let changed = tokio::time::timeout_at(wake, changes.changed()).await.is_ok();
            match (changed, ready) {
                (true, _) => {}
                (false, true) if wake < until => tried.next_round(),
                (false, true) => return Err(NoEndpoint::NoneTook),
                (false, false) => return Err(NoEndpoint::NoneReady),
            }
        }
    }

    /// Counts against what the cluster's policy allows to wait.
    fn bounded(&self, cluster: &str) -> Result<Option<Waiting>, NoEndpoint> {
        let generation = self.generation();
        let cluster = generation.clusters.get(cluster).ok_or(NoEndpoint::NoCluster)?;
        let Some(limits) = cluster.policy.limits else { return Ok(None) };
        let entered = cluster.state.enter(Bound::Held, limits.held);
        entered.then(|| Some(Waiting(cluster.clone()))).ok_or(NoEndpoint::TooMany(Bound::Held))
    }

    fn held(&self) -> Option<Held<'_>> {
        let held = self.0.held.get();
        (held < MAX_HELD).then(|| {
            self.0.held.set(held + 1);
            Held(&self.0.held)
        })
    }
}

/// A copy under way; counted until dropped.
pub(crate) struct Copying(Worker);

impl Drop for Copying {
    fn drop(&mut self) {
        let copies = &self.0.0.copies;
        copies.set(copies.get() - 1);
    }
}

struct Held<'a>(&'a Cell<usize>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// One that waits for an endpoint of a cluster with limits.
struct Waiting(Arc<Cluster>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state.leave(Bound::Held);
    }
}
