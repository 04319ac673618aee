//! When to believe what is at the path of the mesh file: editors truncate and write, or move the old file away and
//! write a new one; nothing of that may flash through. A value: no I/O, no clock.

use std::time::Duration;

use outrigger_model::Mesh;
use outrigger_model::mesh::Fault;
use tokio::time::Instant;

use super::look::Found;

/// A text that nobody said is whole, and one with faults, may be half of a text: it must stay that long.
const TEXT: Duration = Duration::from_millis(50);
/// A text that says nothing where there was one is probably the first half of a save.
const BLANK: Duration = Duration::from_millis(250);
/// No file at all where there was one.
const MISSING: Duration = Duration::from_secs(1);

/// What is at the path, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What is there.
    pub found: Found,
    /// What it says; none where there is no text.
    pub mesh: Option<Result<Mesh, Vec<Fault>>>,
}

impl Reading {
    fn of(found: Found, path: &str) -> Self {
        let mesh = match &found {
            Found::Text(text) => Some(Mesh::read(text, path)),
            Found::Nothing | Found::NoFolder | Found::Unusable(_) => None,
        };
        Self { found, mesh }
    }

    /// The text, if there is one and it has no fault.
    pub(super) fn text_if_good(&self) -> Option<String> {
        match (&self.found, &self.mesh) {
            (Found::Text(text), Some(Ok(_))) => Some(text.clone()),
            _ => None,
        }
    }
}

/// What is believed, and what is not yet.
#[derive(Debug)]
pub(super) struct Patience {
    path: String,
    believed: Option<Reading>,
    doubted: Option<(Reading, Instant, Duration)>,
}

impl Patience {
    /// Nothing was seen yet. `path` stands in every fault.
    pub(super) fn new(path: String) -> Self {
        Self { path, believed: None, doubted: None }
    }

    /// Takes what was found; gives it when it is new and believed. `sure`: whoever wrote it said that it is whole.
    pub(super) fn see(&mut self, found: Found, sure: bool, now: Instant) -> Option<Reading> {
        if self.believed.as_ref().is_some_and(|believed| believed.found == found) {
            self.doubted = None;
            return None;
        }
        let (reading, since) = match self.doubted.take() {
            Some((reading, since, _)) if reading.found == found => (reading, since),
            _ => (Reading::of(found, &self.path), now),
        };
        let wait = self.wait(&reading, sure);
        if now < since + wait {
            self.doubted = Some((reading, since, wait));
            return None;
        }
        self.believed = Some(reading.clone());
        Some(reading)
    }

    /// Somebody is writing: what was doubted is out of date.
    pub(super) fn writing(&mut self) {
        self.doubted = None;
    }

    /// When to look again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.doubted.as_ref().map(|(_, since, wait)| *since + *wait)
    }

    fn wait(&self, reading: &Reading, sure: bool) -> Duration {
        let said = self.believed.as_ref().and_then(|believed| believed.mesh.as_ref());
        let nothing = Mesh::default();
        let something = said.is_some_and(|said| said.as_ref().map_or(true, |mesh| *mesh != nothing));
        match &reading.mesh {
            None if self.believed.is_none() => Duration::ZERO,
            None => MISSING,
            Some(Ok(mesh)) if *mesh == nothing && something => BLANK,
            Some(Ok(_)) if sure => Duration::ZERO,
            Some(Ok(_) | Err(_)) => TEXT,
        }
    }
}

#[cfg(test)]
mod tests;
