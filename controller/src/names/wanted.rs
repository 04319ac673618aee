//! Names that tasks of the mesh are to find, and those of services that went a short while ago. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use outrigger_compile::{service_key, virtual_address};
use outrigger_model::{Capture, ServiceKey, Snapshot};

/// A service that is gone keeps its names so long, since its only task may be replaced: resolvers keep the answer that there is no
/// such name for 15 minutes, as a new zone's SOA record says.
const LINGER: Duration = Duration::from_secs(600);

/// Names without a zone behind them, each with its addresses, at least one.
pub type Names = BTreeMap<String, BTreeSet<IpAddr>>;

/// Every service of a snapshot, and how each is called in a zone.
pub struct Services(BTreeSet<ServiceKey>);

impl Services {
    pub fn of(snapshot: &Snapshot) -> Self {
        let workloads = snapshot.workloads.values().filter(|workload| !workload.one_off);
        Self(workloads.map(|workload| service_key(workload)).collect())
    }

    /// `cart.shop`, and `cart` where one namespace alone has such a service; those with addresses.
    pub fn named(&self, addresses: impl Fn(&ServiceKey) -> BTreeSet<IpAddr>) -> Names {
        let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
        for key in &self.0 {
            *owners.entry(&key.service).or_default() += 1;
        }
        let mut names = Names::new();
        for key in &self.0 {
            let addresses = addresses(key);
            if addresses.is_empty() {
                continue;
            }
            let alone = owners.get(key.service.as_str()) == Some(&1);
            let short = alone.then(|| key.service.clone());
            for name in short.into_iter().chain([key.to_string()]) {
                let name = name.to_ascii_lowercase();
                if is_name(&name) {
                    // A service may be called as another one in its namespace is: `cart.shop`.
                    names.entry(name).or_insert_with(|| addresses.clone());
                }
            }
        }
        names
    }
}

/// The names of all services with their virtual addresses.
pub fn inside(snapshot: &Snapshot, capture: Capture) -> Names {
    Services::of(snapshot).named(|key| {
        let index = snapshot.indices.get(key);
        index.map(|index| virtual_address(capture, *index).into()).into_iter().collect()
    })
}

/// Names that were wanted lately, and since when they are not.
#[derive(Default)]
pub struct Lately(BTreeMap<String, (BTreeSet<IpAddr>, Option<Instant>)>);

impl Lately {
    /// As if `names` had been wanted until `now`.
    pub fn left(names: Names, now: Instant) -> Self {
        Self(names.into_iter().map(|(name, addresses)| (name, (addresses, Some(now)))).collect())
    }

    /// `wanted`, and what was wanted less than ten minutes ago.
    pub fn and(&mut self, wanted: Names, now: Instant) -> Names {
        for (name, (_, gone)) in &mut self.0 {
            if !wanted.contains_key(name) {
                gone.get_or_insert(now);
            }
        }
        self.0.extend(wanted.into_iter().map(|(name, addresses)| (name, (addresses, None))));
        self.0.retain(|_, (_, gone)| gone.is_none_or(|gone| now.duration_since(gone) < LINGER));
        self.0.iter().map(|(name, (addresses, _))| (name.clone(), addresses.clone())).collect()
    }
}

/// Letters, digits, `-` and `_`, parts of at most 63: Route 53 writes nothing else as it was given.
fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.split('.').all(|part| (1..=63).contains(&part.len()) && part.bytes().all(letter))
}

#[cfg(test)]
mod tests;
