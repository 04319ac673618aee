//! Plaintext from outside the mesh: who would break if strict were switched on, and for whom it can be.

use std::collections::BTreeMap;

use super::answer::{Outsider, Service, Sidecar, Status};
use super::draw::span;
use super::table::{Cell, Paint, Table, cell, painted, printable, wrap};

/// What is known of one service's sidecars.
struct Guarded {
    strict: bool,
    permissive: bool,
    bypassable: bool,
    /// Every sidecar has reported, so that nobody seen means something.
    reported: bool,
}

/// Everybody who calls in plaintext, with what strict does to it.
pub fn table(status: &Status, now: u64) -> Table {
    let services = services(status);
    let mut table = Table::new(&["FROM", "TO", ">CALLS", ">REFUSED", ">LAST", "STRICT"]);
    for outsider in &status.outsiders {
        let refused = match outsider.refused {
            0 => cell("0"),
            refused => painted(refused.to_string(), Paint::Bad),
        };
        table.row([
            cell(&outsider.from),
            cell(format!("{}:{}", outsider.service, outsider.port)),
            cell(outsider.connections.to_string()),
            refused,
            cell(format!("{} ago", span(now.saturating_sub(outsider.last_seen)))),
            match services.get(outsider.service.as_str()) {
                _ if !outsider.would_break => painted("edge", Paint::Good),
                Some(Guarded { strict: true, permissive: false, .. }) => painted("refused", Paint::Bad),
                _ => painted("would break", Paint::Warn),
            },
        ]);
    }
    table
}

/// For whom strict can be switched on, if for anybody; as lines.
pub fn advice(status: &Status) -> Option<String> {
    let free: Vec<String> = services(status)
        .into_iter()
        .filter(|(name, service)| {
            let breaks = breaking(status).any(|outsider| outsider.service == *name);
            service.permissive && service.reported && !service.bypassable && !breaks
        })
        .map(|(name, _)| name.to_owned())
        .collect();
    (!free.is_empty()).then(|| {
        let text = "Strict can be switched on for";
        wrap(
            &format!(
                "{text} {}: nobody outside would break, as far as their sidecars have seen.",
                free.join(", ")
            ),
            0,
        )
    })
}

/// `strict` or `permissive`, and where it cannot be enforced.
pub fn mode(status: &Status, service: &Service) -> Cell {
    let name = format!("{}.{}", service.name, service.namespace);
    match services(status).get(name.as_str()) {
        None if service.outside.is_some() => painted("outside", Paint::Warn),
        None => cell("–"),
        Some(Guarded { bypassable: true, .. }) => painted("bypassable", Paint::Warn),
        Some(Guarded { strict: true, permissive: true, .. }) => painted("mixed", Paint::Warn),
        Some(Guarded { strict: true, .. }) => painted("strict", Paint::Good),
        Some(_) => cell("permissive"),
    }
}

/// What keeps strict from being switched on for `wanted` (all where none is named): none, and it can be.
pub fn check(status: &Status, wanted: &[String]) -> Vec<String> {
    let services = services(status);
    let is = |wanted: &str, name: &str| wanted == name || name.split('.').next() == Some(wanted);
    let mut against = Vec::new();
    for wanted in wanted.iter().filter(|wanted| !services.keys().any(|name| is(wanted, name))) {
        let known = services.keys().copied().collect::<Vec<_>>().join(", ");
        against.push(format!("{wanted}: there is no such service with a sidecar; known are: {known}"));
    }
    let meant = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| is(wanted, name));
    for (name, service) in services.iter().filter(|(name, _)| meant(name)) {
        if service.bypassable {
            against.push(format!(
                "{name}: connections from outside can reach the application without its sidecar (capture)"
            ));
        } else if !service.reported {
            against.push(format!("{name}: a sidecar of it has not reported yet, so nothing is known"));
        }
    }
    against.extend(breaking(status).filter(|outsider| meant(&outsider.service)).map(|outsider| {
        let Outsider { service, port, from, connections, .. } = outsider;
        format!("{service}: {} calls port {port} in plaintext ({connections} connections)", printable(from))
    }));
    against
}

fn breaking(status: &Status) -> impl Iterator<Item = &Outsider> {
    status.outsiders.iter().filter(|outsider| outsider.would_break)
}

fn services(status: &Status) -> BTreeMap<&str, Guarded> {
    let mut services = BTreeMap::new();
    for sidecar in &status.sidecars {
        let Sidecar { service, mode, bypassable, report_age_s, .. } = sidecar;
        let none = Guarded { strict: false, permissive: false, bypassable: false, reported: true };
        let guarded = services.entry(service.as_str()).or_insert(none);
        guarded.strict |= mode == "strict";
        guarded.permissive |= mode == "permissive";
        guarded.bypassable |= *bypassable;
        guarded.reported &= report_age_s.is_some();
    }
    services
}
