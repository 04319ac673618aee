//! The index of every service, from which its virtual address comes: kept in `indices.json` in the state
//! directory, so that an address a client remembers never belongs to another service.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outrigger_model::{ServiceKey, VirtualIndex};

use crate::state::replace;
use crate::status::Problem;

/// File name in the state directory.
const FILE: &str = "indices.json";

/// All indices ever given.
#[derive(Debug)]
pub struct Indices {
    file: PathBuf,
    given: BTreeMap<ServiceKey, VirtualIndex>,
    dirty: bool,
    problems: BTreeSet<Problem>,
}

impl Indices {
    /// Reads what was kept in `state`. A file that cannot be understood is moved aside and said so; one that
    /// cannot be read counts as none.
    pub fn load(state: &Path) -> Self {
        let file = state.join(FILE);
        let mut indices = Self { file, given: BTreeMap::new(), dirty: false, problems: BTreeSet::new() };
        match fs::read(&indices.file) {
            Ok(bytes) => match parse(&bytes) {
                Ok(given) => indices.given = given,
                Err(what) => indices.move_aside(&what),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => indices.trouble(format!(
                "cannot be read ({error}): check its owner; virtual addresses are given anew"
            )),
        }
        indices
    }

    /// Gives each of `services` an index if it has none, in order, and keeps them. What could not be written is
    /// tried again by the next call; indices are in memory all the same.
    pub fn assign(&mut self, services: &BTreeSet<ServiceKey>) {
        for service in services {
            if !self.given.contains_key(service) {
                let Some(index) = self.free() else { break };
                self.given.insert(service.clone(), index);
                self.dirty = true;
            }
        }
        if !self.dirty {
            return;
        }
        match write(&self.file, &self.given) {
            Ok(()) => {
                self.dirty = false;
                self.problems.clear();
            }
            Err(error) => self.trouble(format!(
                "cannot be written ({error}): free or fix that place; until then virtual addresses are only in memory"
            )),
        }
    }

    /// Some could not be written yet.
    pub fn unwritten(&self) -> bool {
        self.dirty
    }

    /// All that were ever given.
    pub fn given(&self) -> &BTreeMap<ServiceKey, VirtualIndex> {
        &self.given
    }

    /// What is wrong with the file.
    pub fn problems(&self) -> &BTreeSet<Problem> {
        &self.problems
    }

    /// One above the highest; the lowest hole once the range is used up.
    fn free(&self) -> Option<VirtualIndex> {
        let used: BTreeSet<u32> = self.given.values().map(|index| index.get()).collect();
        let above = used.last().map_or(1, |highest| highest + 1);
        VirtualIndex::new(above)
            .or_else(|| (1..above).find(|n| !used.contains(n)).and_then(VirtualIndex::new))
    }

    fn move_aside(&mut self, what: &str) {
        let aside = self.file.with_extension("json.corrupt");
        let moved = match fs::rename(&self.file, &aside) {
            Ok(()) => format!("it is now {}", aside.display()),
            Err(error) => format!("and could not be moved aside: {error}"),
        };
        self.trouble(format!(
            "cannot be understood ({what}); {moved}; virtual addresses are given anew: restart applications that cache DNS"
        ));
    }

    fn trouble(&mut self, what: String) {
        let subject = self.file.display().to_string();
        self.problems = BTreeSet::from([Problem { kind: "state", subject, what }]);
    }
}

/// `{"shop/cart": 1}`.
fn parse(bytes: &[u8]) -> Result<BTreeMap<ServiceKey, VirtualIndex>, String> {
    let read: BTreeMap<String, u32> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut seen = BTreeSet::new();
    let entry = |(key, index): (String, u32)| {
        let (namespace, service) =
            key.split_once('/').ok_or_else(|| format!("{key:?} is not namespace/service"))?;
        let service = ServiceKey { namespace: namespace.to_owned(), service: service.to_owned() };
        let index = VirtualIndex::new(index).ok_or_else(|| format!("{index} is out of range"))?;
        if seen.insert(index) { Ok((service, index)) } else { Err(format!("{} is given twice", index.get())) }
    };
    read.into_iter().map(entry).collect()
}

fn write(file: &Path, given: &BTreeMap<ServiceKey, VirtualIndex>) -> io::Result<()> {
    let text: BTreeMap<String, u32> = given
        .iter()
        .map(|(key, index)| (format!("{}/{}", key.namespace, key.service), index.get()))
        .collect();
    replace(file, &serde_json::to_vec_pretty(&text)?)
}

#[cfg(test)]
mod tests;
