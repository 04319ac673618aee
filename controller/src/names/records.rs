//! What a hosted zone is to hold, and what has to change. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use outrigger_compile::{service_key, virtual_address};
use outrigger_model::{Capture, ServiceKey, Snapshot};

use crate::status::Problem;

/// Seconds that resolvers keep an answer: addresses do not change, services come and go.
pub(super) const TTL: i64 = 60;
/// A service that is gone keeps its names so long, since its only task may be replaced: resolvers keep the answer that there is no
/// such name for 15 minutes, as a new zone's SOA record says.
const LINGER: Duration = Duration::from_secs(600);
/// Stands before the name of an owner's record: `_outrigger.cart.mesh.internal`.
const OWNER: &str = "_outrigger.";

/// All records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Lower case, with the final dot.
    pub name: String,
    /// `A`, `TXT`…
    pub kind: String,
    /// Seconds.
    pub ttl: i64,
    /// As Route 53 writes them: text in quotes.
    pub values: Vec<String>,
}

/// One step; those of one name stand together and are taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There must be none yet.
    Create(Record),
    /// One of ours takes the place of the one that is there.
    Replace(Record),
    /// Exactly as it is there.
    Delete(Record),
}

/// The names of services and their addresses, without a zone behind them: `cart.shop`, and `cart` where one namespace alone
/// has such a service.
pub fn wanted(snapshot: &Snapshot, capture: Capture) -> BTreeMap<String, Ipv4Addr> {
    let workloads = snapshot.workloads.values().filter(|workload| !workload.one_off);
    let services: BTreeSet<ServiceKey> = workloads.map(service_key).collect();
    let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
    for key in &services {
        *owners.entry(&key.service).or_default() += 1;
    }
    let mut names = BTreeMap::new();
    for key in &services {
        let Some(index) = snapshot.indices.get(key) else { continue };
        let address = virtual_address(capture, *index);
        let alone = owners.get(key.service.as_str()) == Some(&1);
        let short = alone.then(|| key.service.clone());
        for name in short.into_iter().chain([key.to_string()]) {
            let name = name.to_ascii_lowercase();
            if is_name(&name) {
                // A service may be called as another one in its namespace is: `cart.shop`.
                names.entry(name).or_insert(address);
            }
        }
    }
    names
}

/// Names that were wanted lately, and since when they are not.
#[derive(Default)]
pub struct Lately(BTreeMap<String, (Ipv4Addr, Option<Instant>)>);

impl Lately {
    /// `wanted`, and what was wanted less than ten minutes ago.
    pub fn and(&mut self, wanted: BTreeMap<String, Ipv4Addr>, now: Instant) -> BTreeMap<String, Ipv4Addr> {
        for (name, (_, gone)) in &mut self.0 {
            if !wanted.contains_key(name) {
                gone.get_or_insert(now);
            }
        }
        self.0.extend(wanted.into_iter().map(|(name, address)| (name, (address, None))));
        self.0.retain(|_, (_, gone)| gone.is_none_or(|gone| now.duration_since(gone) < LINGER));
        self.0.iter().map(|(name, (address, _))| (name.clone(), *address)).collect()
    }
}

/// What makes `there` hold `wanted`, by name, and what cannot be had because others own it. `zone` with its final dot.
pub fn changes(
    there: &[Record],
    wanted: &BTreeMap<String, Ipv4Addr>,
    (zone, mesh): (&str, &str),
) -> (Vec<Vec<Change>>, BTreeSet<Problem>) {
    let mut by_name: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in there {
        by_name.entry(&record.name).or_default().push(record);
    }
    let at = |name: &str| by_name.get(name).map(Vec::as_slice).unwrap_or_default();
    let wanted: BTreeMap<String, Ipv4Addr> =
        wanted.iter().map(|(name, address)| (format!("{name}.{zone}"), *address)).collect();
    let (mut changes, mut problems) = (Vec::new(), BTreeSet::new());
    for (name, address) in &wanted {
        let (record, owner) = (address_of(name, *address), owner_of(name, mesh));
        let ours = at(&owner.name).contains(&&owner);
        let found = at(name);
        let foreign = found.iter().any(|found| !ours || found.kind != "A");
        if foreign || (!ours && !at(&owner.name).is_empty()) {
            problems.insert(taken(name));
        } else if !ours {
            changes.push(vec![Change::Create(owner), Change::Create(record)]);
        } else if found != [&record] {
            changes.push(vec![Change::Replace(record)]);
        }
    }
    let gone = by_name
        .keys()
        .filter_map(|owner| owner.strip_prefix(OWNER))
        .filter(|name| !wanted.contains_key(*name));
    for name in gone {
        let owner = owner_of(name, mesh);
        if at(&owner.name).contains(&&owner) {
            let address = at(name).iter().find(|record| record.kind == "A");
            let deleted = address.into_iter().map(|record| Change::Delete((*record).clone()));
            changes.push(deleted.chain([Change::Delete(owner)]).collect());
        }
    }
    (changes, problems)
}

/// What a zone holds after a change.
pub fn apply(there: &mut Vec<Record>, change: Change) {
    let (Change::Create(record) | Change::Replace(record) | Change::Delete(record)) = &change;
    there.retain(|other| (&other.name, &other.kind) != (&record.name, &record.kind));
    if let Change::Create(record) | Change::Replace(record) = change {
        there.push(record);
    }
}

fn address_of(name: &str, address: Ipv4Addr) -> Record {
    Record { name: name.to_owned(), kind: "A".into(), ttl: TTL, values: vec![address.to_string()] }
}

fn owner_of(name: &str, mesh: &str) -> Record {
    let values = vec![format!("\"heritage=outrigger,mesh={mesh}\"")];
    Record { name: format!("{OWNER}{name}"), kind: "TXT".into(), ttl: TTL, values }
}

fn taken(name: &str) -> Problem {
    let what = "the hosted zone has records of that name which this mesh did not make, and they are left alone: applications \
                that resolve it go there. Remove them, or give the mesh a zone of its own";
    Problem { kind: "names", subject: name.trim_end_matches('.').to_owned(), what: what.into() }
}

/// Letters, digits, `-` and `_`, parts of at most 63: Route 53 writes nothing else as it was given.
fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.split('.').all(|part| (1..=63).contains(&part.len()) && part.bytes().all(letter))
}

#[cfg(test)]
mod tests;
