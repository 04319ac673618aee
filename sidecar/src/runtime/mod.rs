//! What runs: one configuration generation behind one `ArcSwap`, its listeners, the workers that serve them.

mod addresses;
mod bind;
mod generation;
mod hosts;
mod state;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_lifecycle::{DrainGuard, Draining};
use outrigger_wire::{ListenerKind, ProxyConfig};
use tokio::sync::{mpsc, watch};

use crate::dns::{Names, Resolver};
use crate::handover::{Inherited, Kept, Succession};
use crate::hosts::{Hosts, names_of};
use crate::identity::Identity;
use crate::netns::Listening;
use crate::patience::Patience;
use crate::telemetry::Telemetry;
use crate::tls::{Contexts, TlsError};

pub(crate) use bind::Bound;
pub use generation::{EdgeRoutes, Found, Generation};
use state::{Open, State};

/// What all workers share.
pub(crate) struct Shared {
    pub generation: ArcSwap<Generation>,
    /// Bumped after every swap of `generation`.
    pub changes: watch::Sender<u64>,
    pub tls: Arc<ArcSwapOption<Contexts>>,
    pub telemetry: Telemetry,
    pub draining: Draining,
    /// Told with the drain, or before: when the workload leaves the mesh.
    pub leaving: Draining,
    pub succession: Succession,
    pub listening: watch::Receiver<Listening>,
    /// Connections one worker serves at a time.
    pub connections: usize,
    pub patience: Patience,
}

/// A bound resolver, to be served outside the workers.
pub(crate) struct Resolving {
    pub resolver: Resolver,
    pub names: watch::Receiver<Arc<Names>>,
    /// Ends the resolver when its sender is gone.
    pub stop: watch::Receiver<()>,
    /// The drain waits for queries that are under way.
    pub guard: DrainGuard,
}

/// What a runtime is made with.
pub(crate) struct Parts {
    pub workers: usize,
    pub connections: usize,
    pub patience: Patience,
    pub telemetry: Telemetry,
    pub draining: Draining,
    /// Peers are sent elsewhere.
    pub left: watch::Sender<bool>,
    /// Keeps the drain from ending until listeners are closed.
    pub guard: Option<DrainGuard>,
    /// Sockets of a predecessor.
    pub inherited: Inherited,
    pub succession: Succession,
    pub listening: watch::Receiver<Listening>,
    pub resolvers: mpsc::UnboundedSender<Resolving>,
    /// Where names are kept for the application; none: nowhere.
    pub hosts: Option<Hosts>,
}

/// Applies configurations and identities; clones are the same runtime.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    tls: Arc<ArcSwapOption<Contexts>>,
    configured: watch::Sender<Option<Arc<Generation>>>,
    identities: watch::Sender<u64>,
    telemetry: Telemetry,
}

impl Runtime {
    pub(crate) fn new(parts: Parts) -> Self {
        let telemetry = parts.telemetry.clone();
        let names = watch::Sender::default();
        let listeners = BTreeMap::new();
        let state = State { parts, names, next_id: 0, running: None, listeners, in_hosts: None };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            tls: Arc::default(),
            configured: watch::Sender::new(None),
            identities: watch::Sender::new(0),
            telemetry,
        }))
    }

    /// Applies a configuration whole, or not at all: then what ran before still runs, and every reason is named.
    ///
    /// # Errors
    /// For a person: dangling references, listeners that cannot bind.
    pub fn apply(&self, config: ProxyConfig) -> Result<(), Vec<String>> {
        self.apply_as(config, None)
    }

    /// The same, of which the version is known: with 1,000 services, to find it out takes longer than all the rest.
    ///
    /// # Errors
    /// As [`Runtime::apply`].
    pub fn apply_as(&self, config: ProxyConfig, version: Option<String>) -> Result<(), Vec<String>> {
        let mut state = self.state();
        let before = state.running.as_ref().map(|running| running.shared.generation.load_full());
        let mut next_id = state.next_id;
        let next = Arc::new(Generation::new(config, version, before.as_deref(), &mut next_id)?);
        let (new, mut reasons) = state.bind(&next.config);
        let hosts = names_of(&next.config);
        reasons.extend(state.hosts_refusal(&next.config, &hosts));
        if !reasons.is_empty() {
            return Err(reasons);
        }
        state.start(&next, &self.0.tls).map_err(|error| vec![error])?;
        state.next_id = next_id;
        self.0.telemetry.configured(&next);
        let same_names = before.as_ref().is_some_and(|before| Names::are_same(&before.config, &next.config));
        if let Some(before) = before {
            before.retire(&next);
        }
        if !same_names {
            state.names.send_replace(Arc::new(Names::of(&next.config)));
        }
        state.open(new, &next.config, self.0.tls.load().is_some());
        // After the listeners: a name that resolves is one that can be called.
        state.keep_hosts(hosts);
        drop(state);
        tracing::info!(version = %next.version, services = next.config.services.len(), "configured");
        self.0.configured.send_replace(Some(next));
        self.compare();
        Ok(())
    }

    /// Takes a new identity: new connections use it, those that run keep theirs. The first one opens the mesh listeners.
    ///
    /// # Errors
    /// The identity cannot be used; the one before stays.
    pub fn identify(&self, identity: &Identity) -> Result<(), TlsError> {
        let contexts = Contexts::new(identity)?;
        tracing::info!(identity = %contexts.own(), not_after = contexts.not_after(), "certified");
        self.0.telemetry.certified(identity.not_before, identity.not_after);
        self.0.tls.store(Some(Arc::new(contexts)));
        self.compare();
        self.state().open_waiting();
        self.0.identities.send_modify(|identities| *identities += 1);
        Ok(())
    }

    /// Says so when certificate and configuration name different workloads: peers will refuse this one.
    fn compare(&self) {
        let (configured, tls) = (self.0.configured.borrow(), self.0.tls.load());
        if let (Some(generation), Some(contexts)) = (&*configured, &*tls)
            && generation.config.proxy.identity != *contexts.own()
        {
            let (certificate, configuration) = (contexts.own(), &generation.config.proxy.identity);
            tracing::error!(%certificate, %configuration, "certificate and configuration differ: peers will refuse");
        }
    }

    /// Version of what runs; none before the first apply.
    pub fn version(&self) -> Option<String> {
        self.0.configured.borrow().as_ref().map(|generation| generation.version.clone())
    }

    /// What runs, and every change of it; none before the first apply.
    pub fn configured(&self) -> watch::Receiver<Option<Arc<Generation>>> {
        self.0.configured.subscribe()
    }

    /// How many identities were taken.
    pub fn identities(&self) -> watch::Receiver<u64> {
        self.0.identities.subscribe()
    }

    /// Where each listener is bound.
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.state().listeners.iter().map(|(name, open)| (name.clone(), open.address)).collect()
    }

    /// Metrics.
    pub fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    /// Duplicates of all that listens, for a successor.
    pub(crate) fn sockets(&self) -> Vec<Kept> {
        let state = self.state();
        state.listeners.values().flat_map(|open| &open.kept).filter_map(Kept::duplicate).collect()
    }

    /// Serves a connection that a predecessor had accepted, at whichever listener it came in; `named` is whom its PROXY
    /// header named.
    pub(crate) fn adopt(&self, tcp: TcpStream, named: Option<SocketAddr>) {
        let Ok(local) = tcp.local_addr() else { return };
        let state = self.state();
        let at = |open: &Open| {
            let ip = open.address.ip();
            open.address.port() == local.port()
                && (ip.is_unspecified() || ip.to_canonical() == local.ip().to_canonical())
        };
        let listener = state.listeners.iter().find(|(_, open)| at(open));
        if let (Some((name, _)), Some(running)) = (listener, &state.running) {
            running.crew.adopt(name, tcp, named);
        }
    }

    /// Takes nothing new from peers, for good: their listener closes, their requests are refused as never delivered. What
    /// the application calls, and what comes from outside the mesh, goes on.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.listeners.retain(|_, open| open.config.kind != ListenerKind::Mesh);
        state.parts.left.send_replace(true);
    }

    /// Closes listeners. Their connections run on, and the drain ends with the last of them.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        // Before the listeners: names would lead to where nobody listens any more.
        state.empty_hosts();
        state.listeners.clear();
        state.parts.left.send_replace(true);
        state.parts.guard = None;
    }

    /// Ends the workers and what still runs on them.
    pub(crate) fn stop(&self) {
        let running = self.state().running.take();
        if let Some(running) = running {
            running.crew.stop();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
