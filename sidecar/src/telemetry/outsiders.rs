//! Who calls in plaintext from outside the mesh, and what was refused of it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outrigger_wire::control::Outsider;

/// Outsiders remembered, each an address and the port it called.
const REMEMBERED: usize = 64;
/// Refused connections are told at most once in this time, with the number of those before.
const PAUSE: Duration = Duration::from_secs(1);

/// Outsiders since the sidecar started.
#[derive(Debug, Default)]
pub(super) struct Outsiders {
    seen: HashMap<(IpAddr, u16), Seen>,
    turns: u64,
    refused: BTreeMap<Option<u16>, u64>,
    told: Option<Instant>,
    untold: u64,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    connections: u64,
    refused: u64,
    edge: bool,
    /// Orders them, where a second is too coarse.
    turn: u64,
    /// Unix seconds.
    last: u64,
}

impl Outsiders {
    /// A connection was let through.
    pub fn served(&mut self, from: IpAddr, port: u16, edge: bool) {
        self.see(from, port).edge = edge;
        self.forget();
    }

    /// A connection was refused. A port that the application does not have is counted without its number, and who
    /// called it is not remembered: there are as many of these as somebody cares to try.
    pub fn refused(&mut self, from: IpAddr, port: u16, known: bool) {
        *self.refused.entry(known.then_some(port)).or_default() += 1;
        if known {
            let seen = self.see(from, port);
            seen.edge = false;
            seen.refused += 1;
            self.forget();
        }
    }

    /// How many refusals were not told, if one may be told now.
    pub fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// Refused connections by port; none is all ports that the application does not have.
    pub fn refusals(&self) -> BTreeMap<Option<u16>, u64> {
        self.refused.clone()
    }

    /// All that are remembered, by port and address.
    pub fn report(&self) -> Vec<Outsider> {
        let mut sorted: Vec<_> = self.seen.iter().collect();
        sorted.sort_by_key(|((address, port), _)| (*port, *address));
        let outsider = |((address, port), seen): (&(IpAddr, u16), &Seen)| Outsider {
            address: address.to_string(),
            port: (*port).into(),
            connections: seen.connections,
            refused: seen.refused,
            last_seen: seen.last,
        };
        sorted.into_iter().map(outsider).collect()
    }

    fn see(&mut self, from: IpAddr, port: u16) -> &mut Seen {
        self.turns += 1;
        let seen = self.seen.entry((from.to_canonical(), port)).or_default();
        seen.connections += 1;
        seen.turn = self.turns;
        seen.last = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        seen
    }

    /// An edge port has as many callers as there are people; they must not push out who would break.
    fn forget(&mut self) {
        if self.seen.len() <= REMEMBERED {
            return;
        }
        let oldest = self.seen.iter().min_by_key(|(_, seen)| (!seen.edge, seen.turn)).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn callers_of_an_edge_port_never_push_out_who_would_break() {
        let mut outsiders = Outsiders::default();
        outsiders.served(address(1), 5432, false);
        for last in 0..=255 {
            outsiders.served(address(last), 80, true);
        }
        let report = outsiders.report();
        assert_eq!(report.len(), REMEMBERED);
        assert!(report.iter().any(|outsider| outsider.port == 5432), "{report:?}");
        for last in 0..=255 {
            outsiders.refused(address(last), 6379, true);
        }
        let report = outsiders.report();
        assert_eq!(report.len(), REMEMBERED);
        assert!(report.iter().all(|outsider| outsider.port == 6379 && outsider.refused == 1), "{report:?}");
        assert_eq!(report.last().map(|last| last.address.as_str()), Some("192.0.2.255"), "the latest stay");
    }

    #[test]
    fn an_address_is_one_in_both_families_and_its_connections_add_up() {
        let mut outsiders = Outsiders::default();
        outsiders.served(address(1), 80, false);
        outsiders.refused("::ffff:192.0.2.1".parse().unwrap(), 80, true);
        let report = outsiders.report();
        assert_eq!(report.len(), 1);
        assert_eq!((report[0].connections, report[0].refused), (2, 1));
        assert!(report[0].last_seen > 1_600_000_000);
    }

    #[test]
    fn tried_ports_are_counted_together_and_nobody_is_remembered() {
        let mut outsiders = Outsiders::default();
        for port in 1..=9000 {
            outsiders.refused(address(1), port, port == 8080);
        }
        assert_eq!(outsiders.refusals(), BTreeMap::from([(None, 8999), (Some(8080), 1)]));
        assert_eq!(outsiders.report().len(), 1);
    }

    #[test]
    fn a_flood_is_told_once_a_second_with_its_size() {
        let mut outsiders = Outsiders::default();
        let begun = Instant::now();
        assert_eq!(outsiders.tell(begun), Some(0));
        assert_eq!(outsiders.tell(begun + PAUSE / 2), None);
        assert_eq!(outsiders.tell(begun + PAUSE / 2), None);
        assert_eq!(outsiders.tell(begun + PAUSE), Some(2));
    }
}
