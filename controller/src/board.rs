//! All that the controller knows, in one place for the eyes of people: `status` is assembled from it.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_lifecycle::Readiness;
use outrigger_model::Snapshot;
use outrigger_wire::control::pin::Pin;
use tokio::sync::watch;

use crate::inject::gaps::Gaps;
use crate::inject::moves::Moves;
use crate::problems::Problems;
use crate::proxies::Proxies;
use crate::source::Source;
use crate::source::docker::neighbours::Neighbours;
use crate::source::file::watch::MeshFile;

/// Clones share.
#[derive(Clone)]
pub struct Board {
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Unix seconds at which the controller started.
    pub started: u64,
    /// What the platform shows.
    pub source: Source,
    /// The mesh file.
    pub file: watch::Receiver<MeshFile>,
    /// What is published.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// What sidecars say.
    pub proxies: Proxies,
    /// Whose the addresses are that call from outside the mesh.
    pub neighbours: Neighbours,
    /// What is wrong.
    pub problems: Problems,
    /// How long injections took.
    pub gaps: Gaps,
    /// How services stand that ask for injection.
    pub moves: Moves,
    /// Names the root to sidecars on other hosts; empty while it cannot be used.
    pub pin: Arc<OnceLock<Pin>>,
    /// What must still happen.
    pub readiness: Readiness,
}

impl Board {
    /// Nothing is known yet.
    pub fn new(
        trust_domain: &str,
        source: Source,
        file: watch::Receiver<MeshFile>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            source,
            file,
            snapshot,
            proxies: Proxies::default(),
            neighbours: Neighbours::default(),
            problems: Problems::default(),
            gaps: Gaps::default(),
            moves: Moves::default(),
            pin: Arc::default(),
            readiness: Readiness::default(),
        }
    }
}
