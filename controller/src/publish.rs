//! What is sent to one sidecar: only what it does not hold, and one change at a time. No I/O.

use outrigger_wire::control::Delta;
use outrigger_wire::control::rpc::MAX_MESSAGE;
use outrigger_wire::{Hashes, Wanted};

/// The configuration of one sidecar on its way.
#[derive(Debug)]
pub struct Outbox {
    held: Holding,
    nonce: u64,
    awaited: Option<Awaited>,
    refused: Option<String>,
}

/// What a sidecar holds.
#[derive(Debug)]
enum Holding {
    /// As it said itself.
    Said(Hashes),
    /// As it was sent, and acknowledged.
    Sent(Wanted),
}

/// A change that was sent and not answered yet.
#[derive(Debug)]
struct Awaited {
    nonce: u64,
    version: String,
    wanted: Wanted,
}

/// What an offer comes to.
#[derive(Debug, PartialEq)]
pub enum Offer {
    /// An answer is awaited; offer again after it.
    Later,
    /// The sidecar holds it already.
    Held,
    /// The sidecar refused this very version; another one is needed.
    Refused,
    /// It is over the size of a message, bytes.
    Long(usize),
    /// Send this.
    Send(Delta),
}

impl Outbox {
    /// For a sidecar that said it holds these.
    pub fn new(held: Hashes) -> Self {
        Self { held: Holding::Said(held), nonce: 0, awaited: None, refused: None }
    }

    /// True while an answer is awaited.
    pub fn is_awaiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// What to do so that the sidecar holds `wanted`.
    pub fn offer(&mut self, wanted: &Wanted) -> Offer {
        if self.is_awaiting() {
            return Offer::Later;
        }
        let version = wanted.version();
        if self.refused.as_ref() == Some(&version) {
            return Offer::Refused;
        }
        let (upserts, removals) = match &self.held {
            Holding::Said(hashes) => wanted.delta(hashes),
            Holding::Sent(before) => wanted.delta_since(before),
        };
        if upserts.is_empty() && removals.is_empty() {
            self.refused = None;
            return Offer::Held;
        }
        self.nonce += 1;
        let delta = Delta { nonce: self.nonce, version: version.clone(), upserts, removals };
        let length = delta.length();
        if length > MAX_MESSAGE {
            return Offer::Long(length);
        }
        self.awaited = Some(Awaited { nonce: self.nonce, version, wanted: wanted.clone() });
        Offer::Send(delta)
    }

    /// The sidecar runs a change now; its version. `None`: that was not the question.
    pub fn acked(&mut self, nonce: u64) -> Option<String> {
        let awaited = self.awaited.take_if(|awaited| awaited.nonce == nonce)?;
        self.held = Holding::Sent(awaited.wanted);
        self.refused = None;
        Some(awaited.version)
    }

    /// The sidecar refused a change and runs what it ran before; false: that was not the question.
    pub fn nacked(&mut self, nonce: u64) -> bool {
        let Some(awaited) = self.awaited.take_if(|awaited| awaited.nonce == nonce) else { return false };
        self.refused = Some(awaited.version);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use outrigger_wire::{Mode, Proxy, ProxyConfig, Service, SpiffeId};

    use super::*;

    fn config(services: &[&str]) -> Wanted {
        let service = |key: &&str| {
            let service = Service {
                names: vec![(*key).to_owned()],
                virtual_addresses: Vec::new(),
                ports: BTreeMap::new(),
                replicas: BTreeMap::new(),
            };
            ((*key).to_owned(), service.into())
        };
        Wanted::of(&ProxyConfig {
            proxy: Proxy {
                identity: SpiffeId::new("a", "b", "c").unwrap(),
                workload: "c-1".into(),
                zone: None,
                mode: Mode::Permissive,
                edge: Default::default(),
                listeners: BTreeMap::new(),
                ports: BTreeMap::new(),
                seen_ports: true,
                rate_limits: Vec::new(),
                capacity: Default::default(),
                hosts: false,
                check: None,
            },
            services: services.iter().map(service).collect(),
            clusters: Default::default(),
        })
    }

    fn sent(offer: Offer) -> Delta {
        match offer {
            Offer::Send(delta) => delta,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_difference_travels_and_equal_is_nothing() {
        let mut outbox = Outbox::new(config(&["a", "b"]).hashes());
        assert_eq!(outbox.offer(&config(&["a", "b"])), Offer::Held);
        let delta = sent(outbox.offer(&config(&["b", "c"])));
        assert_eq!(delta.removals, ["service/a"]);
        assert_eq!(delta.upserts.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["service/c"]);
        assert_eq!(outbox.acked(delta.nonce), Some(config(&["b", "c"]).version()));
        assert_eq!(outbox.offer(&config(&["b", "c"])), Offer::Held);
    }

    #[test]
    fn one_change_is_on_its_way_and_the_newest_follows() {
        let mut outbox = Outbox::new(BTreeMap::new());
        let first = sent(outbox.offer(&config(&["a"])));
        assert_eq!(outbox.offer(&config(&["b"])), Offer::Later);
        assert_eq!(outbox.acked(first.nonce + 7), None, "another question");
        outbox.acked(first.nonce).unwrap();
        let second = sent(outbox.offer(&config(&["c"])));
        assert_eq!(second.removals, ["service/a"]);
    }

    #[test]
    fn a_refused_version_is_not_held_and_not_repeated() {
        let mut outbox = Outbox::new(config(&["a"]).hashes());
        let bad = sent(outbox.offer(&config(&["bad"])));
        assert!(outbox.nacked(bad.nonce));
        assert!(!outbox.nacked(bad.nonce));
        assert_eq!(outbox.offer(&config(&["bad"])), Offer::Refused);
        let good = sent(outbox.offer(&config(&["good"])));
        assert_eq!(good.removals, ["service/a"], "what was refused was never held");
        outbox.acked(good.nonce).unwrap();
        sent(outbox.offer(&config(&["bad"])));
    }

    #[test]
    fn back_to_what_is_held_forgets_the_refusal() {
        let mut outbox = Outbox::new(config(&["a"]).hashes());
        let bad = sent(outbox.offer(&config(&["bad"])));
        outbox.nacked(bad.nonce);
        assert_eq!(outbox.offer(&config(&["a"])), Offer::Held);
        sent(outbox.offer(&config(&["bad"])));
    }
}
