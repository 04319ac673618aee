//! What must outlive the controller: which service is in motion, and how often each was moved. One file of the state directory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::view::Breaker;

/// The file.
pub const FILE: &str = "ecs-injections.json";

/// Revisions remembered for each service; those moved longest ago are forgotten first.
const MOST_REVISIONS: usize = 16;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// By service, then by the revision that it was moved from.
    pub tries: BTreeMap<String, BTreeMap<String, Try>>,
    /// The one service in motion.
    pub motion: Option<Motion>,
}

/// How it went with one revision of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Times that the service was moved from it: the first is the injection, others heal drift.
    pub moves: u32,
    /// Unix seconds of the last one.
    pub last: u64,
    /// Why it is not tried again.
    pub failed: Option<String>,
    /// What was to be made of it (`Revision::wanted`): something else, such as a newer sidecar, is another try.
    #[serde(default)]
    pub wanted: String,
    /// ARN of what was made of it.
    #[serde(default)]
    pub to: String,
}

/// A service on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Motion {
    /// ARN of the service.
    pub service: String,
    /// Its name, for people.
    pub label: String,
    /// ARN of the revision that it had.
    pub from: String,
    /// ARN of the meshed one.
    pub to: String,
    /// What it was made to be (`Revision::wanted`).
    #[serde(default)]
    pub wanted: String,
    /// Id of the deployment that it had: as long as it is the primary one, what was ordered is not seen yet, or ECS went back.
    pub earlier: String,
    /// The circuit breaker as it was; none: unknown, and left alone.
    pub before: Option<Breaker>,
    /// Where it is.
    pub stage: Stage,
    /// Unix seconds at which ECS took the last order; none: it is not known to have taken it.
    pub ordered: Option<u64>,
    /// Most tasks of the new revision that were seen to run.
    pub best: i32,
    /// Unix seconds of the last sign of progress.
    pub progress: u64,
}

/// Where a motion is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// To the meshed revision.
    Going,
    /// Back to the earlier one.
    Returning {
        /// Why.
        why: String,
    },
    /// Over; the circuit breaker's setting is to be put back.
    Settling,
}

impl Memory {
    /// Of the state directory; empty where there is none.
    ///
    /// # Errors
    /// There is one, and it cannot be read: counts would be lost.
    pub fn load(state: &Path) -> io::Result<Self> {
        match std::fs::read(state.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Puts it into the state directory, whole or not at all.
    ///
    /// # Errors
    /// It is as it was.
    pub fn save(&self, state: &Path) -> io::Result<()> {
        crate::state::replace(&state.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// How it went with a revision, as long as the same is to be made of it.
    pub fn tried(&self, service: &str, from: &str, wanted: &str) -> Option<&Try> {
        self.tries.get(service)?.get(from).filter(|tried| tried.wanted == wanted)
    }

    /// The same, to be changed. What was made of it earlier, with another sidecar, is forgotten.
    pub fn tried_mut(&mut self, service: &str, from: &str, wanted: &str) -> &mut Try {
        let tries = self.tries.entry(service.to_owned()).or_default();
        if tries.len() >= MOST_REVISIONS && !tries.contains_key(from) {
            let oldest = tries.iter().min_by_key(|(_, tried)| tried.last).map(|(from, _)| from.clone());
            oldest.and_then(|oldest| tries.remove(&oldest));
        }
        let tried = tries.entry(from.to_owned()).or_default();
        if tried.wanted != wanted {
            *tried = Try { wanted: wanted.to_owned(), ..Try::default() };
        }
        tried
    }

    /// A revision was made for a service, and just so: it is not made anew, however ECS writes it out.
    pub fn made(&self, service: &str, revision: &str, wanted: &str) -> bool {
        let mut tries = self.tries.get(service).into_iter().flat_map(BTreeMap::values);
        tries.any(|tried| tried.to == revision && tried.wanted == wanted)
    }
}
