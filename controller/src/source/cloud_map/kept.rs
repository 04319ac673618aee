//! The last good answers, in `cloud-map.json` in the state directory: a controller that starts while Cloud Map is away goes on with
//! what the one before it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_model::Health;
use serde::{Deserialize, Serialize};

use super::address::check;
use super::record::{Answer, Instance, Lookup};
use crate::state::replace;

/// File name in the state directory.
const FILE: &str = "cloud-map.json";

type Instances = Arc<[Instance]>;

/// By what was asked.
#[derive(Debug, Default)]
pub struct Kept {
    /// None: only in memory.
    file: Option<PathBuf>,
    known: BTreeMap<Lookup, Instances>,
    dirty: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    namespace: String,
    service: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    instances: Vec<Replica>,
}

#[derive(Serialize, Deserialize)]
struct Replica {
    id: String,
    addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unhealthy: bool,
}

impl Kept {
    /// Reads what was kept in `state`. What cannot be read is as good as nothing: Cloud Map is asked anyway.
    pub fn load(state: &Path) -> Self {
        let file = state.join(FILE);
        let known = match std::fs::read(&file).map(|bytes| serde_json::from_slice::<Vec<Entry>>(&bytes)) {
            Ok(Ok(entries)) => entries.into_iter().map(Entry::read).collect(),
            Ok(Err(error)) => {
                tracing::warn!(file = %file.display(), %error, "what Cloud Map said last cannot be understood");
                BTreeMap::new()
            }
            Err(_none) => BTreeMap::new(),
        };
        Self { file: Some(file), known, dirty: false }
    }

    /// What is known of a lookup.
    pub fn of(&self, lookup: &Lookup) -> Option<Instances> {
        self.known.get(lookup).cloned()
    }

    /// A lookup takes the place of another: until it is answered, what was known of that one holds.
    pub fn inherit(&mut self, lookup: &Lookup, before: Option<&Lookup>) {
        if !self.known.contains_key(lookup)
            && let Some(known) = before.and_then(|before| self.of(before))
        {
            self.known.insert(lookup.clone(), known);
            self.dirty = true;
        }
    }

    /// Takes a good answer.
    pub fn know(&mut self, lookup: &Lookup, answer: Option<&Answer>) {
        let Some(instances) = answer.and_then(|answer| answer.instances.as_ref()) else { return };
        if self.known.get(lookup) != Some(instances) {
            self.known.insert(lookup.clone(), instances.clone());
            self.dirty = true;
        }
    }

    /// Forgets what is not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&Lookup) -> bool) {
        let before = self.known.len();
        self.known.retain(|lookup, _| wanted(lookup));
        self.dirty |= self.known.len() != before;
    }

    /// Puts it on disk where it is not there yet. What cannot be written is tried again with the next change.
    pub fn save(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.dirty) else { return };
        self.dirty = false;
        let entries: Vec<Entry> = self.known.iter().map(Entry::of).collect();
        let text = serde_json::to_vec(&entries).expect("texts and numbers can be written as JSON");
        if let Err(error) = replace(file, &text) {
            tracing::warn!(file = %file.display(), %error, "what Cloud Map says cannot be kept for a restart");
        }
    }
}

impl Entry {
    fn of((lookup, instances): (&Lookup, &Instances)) -> Self {
        let Lookup { namespace, service, attributes } = lookup.clone();
        let replica = |instance: &Instance| {
            let Instance { id, addresses, port, zone, cluster, health } = instance.clone();
            Replica { id, addresses, port, zone, cluster, unhealthy: health == Health::Unhealthy }
        };
        Self { namespace, service, attributes, instances: instances.iter().map(replica).collect() }
    }

    /// An address that no answer would be believed is not believed here.
    fn read(self) -> (Lookup, Instances) {
        let lookup = Lookup { namespace: self.namespace, service: self.service, attributes: self.attributes };
        let good = |replica: &Replica| replica.addresses.iter().all(|address| check(*address).is_ok());
        let instance = |replica: Replica| {
            let health = if replica.unhealthy { Health::Unhealthy } else { Health::Unchecked };
            let Replica { id, addresses, port, zone, cluster, .. } = replica;
            Instance { id, addresses, port, zone, cluster, health }
        };
        (lookup, self.instances.into_iter().filter(good).map(instance).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(service: &str) -> Lookup {
        let attributes = [("stage".to_owned(), "prod".to_owned())].into();
        Lookup { namespace: "shop.internal".into(), service: service.into(), attributes }
    }

    fn answer(addresses: &[&str]) -> Answer {
        let instance = |address: &&str| Instance {
            id: format!("i-{address}"),
            addresses: vec![address.parse().unwrap()],
            port: Some(8080),
            zone: Some("eu-west-1a".into()),
            cluster: Some("legacy".into()),
            health: Health::Unchecked,
        };
        Answer { instances: Some(addresses.iter().map(instance).collect()), ..Answer::default() }
    }

    #[test]
    fn what_was_said_last_is_there_after_a_restart() {
        let state = std::env::temp_dir().join(format!("outrigger-cloud-map-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let mut kept = Kept::load(&state);
        assert_eq!(kept.of(&lookup("billing")), None);
        kept.know(&lookup("billing"), Some(&answer(&["10.0.0.1", "fd12::1"])));
        kept.know(&lookup("evil"), Some(&answer(&["169.254.169.254"])));
        kept.know(&lookup("gone"), Some(&answer(&["10.0.0.2"])));
        kept.know(&lookup("away"), Some(&Answer::default()));
        kept.retain(|lookup| lookup.service != "gone");
        kept.save();
        let again = Kept::load(&state);
        assert_eq!(again.of(&lookup("billing")), answer(&["10.0.0.1", "fd12::1"]).instances);
        assert_eq!(again.of(&lookup("evil")).map(|instances| instances.len()), Some(0));
        assert_eq!((again.of(&lookup("gone")), again.of(&lookup("away"))), (None, None));
        std::fs::write(state.join(FILE), "[{").unwrap();
        assert_eq!(Kept::load(&state).of(&lookup("billing")), None);
        std::fs::remove_dir_all(&state).unwrap();
    }
}
