//! Where calls leave their availability zone.

use std::collections::BTreeMap;

use super::answer::{Edge, Port, Status};

/// For each zone whose callers find too few replicas in it: what is called, and how much of the calls goes elsewhere. As sidecars
/// share it out (docs/resilience.md): a zone keeps as many of its calls as its share of the replicas is of its share of the callers.
pub fn notes(status: &Status) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    let mut last = None;
    for edge in &status.edges {
        // One for each protocol and each way to be secured.
        let key = (&edge.source, &edge.destination, edge.port);
        if last.replace(key) == Some(key) {
            continue;
        }
        let (Some(callers), Some(replicas)) = (callers(status, edge), replicas(status, edge)) else {
            continue;
        };
        let (all, ready) = (total(&callers), total(&replicas));
        for (zone, count) in &callers {
            let there = replicas.get(zone).copied().unwrap_or_default();
            // Of the zone's calls stay `there / ready` to `count / all`.
            let stay = (there * all * 100).div_ceil(ready * count).min(100);
            if stay < 100 {
                notes.push((
                    format!("zone {zone}"),
                    format!(
                        "{} % of the calls of {} to {}:{} leave it: {there} of {ready} ready replicas are there, and {count} of \
                         {all} callers",
                        100 - stay,
                        edge.source,
                        edge.destination,
                        edge.port
                    ),
                ));
            }
        }
    }
    notes
}

fn total(counts: &BTreeMap<&str, usize>) -> usize {
    counts.values().sum()
}

/// Callers by zone; none where one's is not known, or there is none.
fn callers<'a>(status: &'a Status, edge: &Edge) -> Option<BTreeMap<&'a str, usize>> {
    let own = status.sidecars.iter().filter(|sidecar| sidecar.service == edge.source);
    counted(own.map(|sidecar| sidecar.zone.as_deref()))
}

/// The same of ready replicas of what is called.
fn replicas<'a>(status: &'a Status, edge: &Edge) -> Option<BTreeMap<&'a str, usize>> {
    let called =
        status.services.iter().find(|one| format!("{}.{}", one.name, one.namespace) == edge.destination)?;
    let port: &Port = called.ports.iter().find(|port| port.port == edge.port)?;
    let ready = port.endpoints.iter().filter(|endpoint| endpoint.ready);
    counted(ready.map(|endpoint| endpoint.zone.as_deref()))
}

fn counted<'a>(zones: impl Iterator<Item = Option<&'a str>>) -> Option<BTreeMap<&'a str, usize>> {
    let mut counts = BTreeMap::new();
    for zone in zones {
        *counts.entry(zone?).or_default() += 1;
    }
    (!counts.is_empty()).then_some(counts)
}
