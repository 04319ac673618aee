//! What a hosted zone is to hold, and what has to change. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::wanted::Names;
use crate::status::Problem;

/// Seconds that resolvers keep an owner's record; nobody asks for it.
const OWNER_TTL: i64 = 60;
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
    /// As Route 53 writes them: text in quotes. In order.
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

/// A hosted zone, and what this mesh keeps in it.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'a> {
    /// With the final dot.
    pub name: &'a str,
    /// Whose records are ours.
    pub mesh: &'a str,
    /// Seconds that resolvers keep an address.
    pub ttl: i64,
    /// Types of our records: `A`, or `A` and `AAAA`.
    pub kinds: &'static [&'static str],
}

/// What makes `there` hold `wanted`, by name, and what cannot be had because others own it.
pub fn changes(there: &[Record], wanted: &Names, zone: Zone<'_>) -> (Vec<Vec<Change>>, BTreeSet<Problem>) {
    let there = ByName::of(there);
    let wanted: BTreeMap<String, &BTreeSet<IpAddr>> =
        wanted.iter().map(|(name, addresses)| (format!("{name}.{}", zone.name), addresses)).collect();
    let (mut changes, mut problems) = (Vec::new(), BTreeSet::new());
    for (name, addresses) in &wanted {
        let (found, owner) = (there.at(name), owner_of(name, zone.mesh));
        let ours = there.has(&owner);
        let foreign = found.iter().any(|found| !ours || !zone.kinds.contains(&found.kind.as_str()));
        if foreign || (!ours && !there.at(&owner.name).is_empty()) {
            problems.insert(taken(name));
            continue;
        }
        let records = zone.kinds.iter().map(|kind| (kind, record_of(name, addresses, kind, zone.ttl)));
        let steps: Vec<Change> = if ours {
            records.filter_map(|(kind, record)| step(there.kind(name, kind), record)).collect()
        } else {
            [owner].into_iter().chain(records.filter_map(|(_, record)| record)).map(Change::Create).collect()
        };
        if !steps.is_empty() {
            changes.push(steps);
        }
    }
    for name in there.owned(zone.mesh).filter(|name| !wanted.contains_key(*name)) {
        let ours = there.at(name).iter().filter(|record| zone.kinds.contains(&record.kind.as_str()));
        let ours = ours.map(|record| Change::Delete((*record).clone()));
        changes.push(ours.chain([Change::Delete(owner_of(name, zone.mesh))]).collect());
    }
    (changes, problems)
}

/// What a name of ours that has `found` needs to have `wanted`, both of one type.
fn step(found: Option<&Record>, wanted: Option<Record>) -> Option<Change> {
    match (found, wanted) {
        (found, Some(wanted)) => (found != Some(&wanted)).then_some(Change::Replace(wanted)),
        (Some(found), None) => Some(Change::Delete(found.clone())),
        (None, None) => None,
    }
}

/// The names that are ours, with the addresses they have.
pub fn ours(there: &[Record], zone: Zone<'_>) -> Names {
    let there = ByName::of(there);
    let named = there.owned(zone.mesh).filter_map(|full| {
        let name = full.strip_suffix(zone.name)?.strip_suffix('.')?;
        let records = there.at(full).iter().filter(|record| zone.kinds.contains(&record.kind.as_str()));
        let addresses = records.flat_map(|record| &record.values).filter_map(|value| value.parse().ok());
        Some((name.to_owned(), addresses.collect()))
    });
    named.filter(|(_, addresses): &(_, BTreeSet<_>)| !addresses.is_empty()).collect()
}

/// The records of a zone.
struct ByName<'a>(BTreeMap<&'a str, Vec<&'a Record>>);

impl<'a> ByName<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in records {
            by_name.entry(record.name.as_str()).or_default().push(record);
        }
        Self(by_name)
    }

    fn at(&self, name: &str) -> &[&'a Record] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn kind(&self, name: &str, kind: &str) -> Option<&'a Record> {
        self.at(name).iter().find(|record| record.kind == kind).copied()
    }

    fn has(&self, record: &Record) -> bool {
        self.at(&record.name).contains(&record)
    }

    /// Names beside which an owner's record of this mesh stands.
    fn owned(&self, mesh: &str) -> impl Iterator<Item = &'a str> {
        let names = self.0.keys().filter_map(|owner| owner.strip_prefix(OWNER));
        names.filter(move |name| self.has(&owner_of(name, mesh)))
    }
}

/// What a zone holds after a change.
pub fn apply(there: &mut Vec<Record>, change: Change) {
    let (Change::Create(record) | Change::Replace(record) | Change::Delete(record)) = &change;
    there.retain(|other| (&other.name, &other.kind) != (&record.name, &record.kind));
    if let Change::Create(record) | Change::Replace(record) = change {
        there.push(record);
    }
}

/// The addresses of one type; none where there are none.
fn record_of(name: &str, addresses: &BTreeSet<IpAddr>, kind: &str, ttl: i64) -> Option<Record> {
    let of = |address: &&IpAddr| kind == if address.is_ipv4() { "A" } else { "AAAA" };
    let mut values: Vec<_> = addresses.iter().filter(of).map(IpAddr::to_string).collect();
    values.sort();
    let record = Record { name: name.to_owned(), kind: kind.to_owned(), ttl, values };
    (!record.values.is_empty()).then_some(record)
}

fn owner_of(name: &str, mesh: &str) -> Record {
    let values = vec![format!("\"heritage=outrigger,mesh={mesh}\"")];
    Record { name: format!("{OWNER}{name}"), kind: "TXT".into(), ttl: OWNER_TTL, values }
}

fn taken(name: &str) -> Problem {
    let what = "the hosted zone has records of that name which this mesh did not make, and they are left alone: applications \
                that resolve it go there. Remove them, or give the mesh a zone of its own";
    Problem { kind: "names", subject: name.trim_end_matches('.').to_owned(), what: what.into() }
}

#[cfg(test)]
mod tests;
