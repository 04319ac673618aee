//! Which endpoints a caller prefers because they are in its own zone.
//!
//! Every endpoint is to get what it would get without zones, and as little as possible is to cross between them. So a zone
//! sends to its own endpoints what they can carry: as many of its calls as the zone's share of the endpoints is of its
//! share of the callers. What is left goes to zones that have more endpoints than callers, by what they have more. Callers
//! are the replicas of the calling service; where they are not known, there are as many in each zone.
//!
//! Endpoints that get nothing so are there for what others could not take: the share of one that is out, or was tried,
//! goes to all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use outrigger_wire::{Balance, ProxyConfig};

use super::balance::Tried;
use super::shares::GOLDEN;
use super::{Cluster, Endpoint, Member};

/// 2^64.
const WHOLE: f64 = 18_446_744_073_709_551_616.0;

/// Where a caller and the others of its service are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    own: String,
    /// Replicas of the own service by zone; empty: not known.
    callers: BTreeMap<String, u32>,
}

/// What endpoints get because of zones.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    /// Indices of members, each with the end of its stretch on a line of length 1.
    line: Vec<(usize, f64)>,
}

impl Whereabouts {
    /// What a configuration says; none where the own zone is not known.
    pub fn of(config: &ProxyConfig) -> Option<Self> {
        let own = config.proxy.zone.clone()?;
        let identity = &config.proxy.identity;
        let service = format!("{}.{}", identity.service(), identity.namespace());
        // All ports have the same replicas.
        let port = config.services.get(service.as_str()).and_then(|service| service.ports.values().next());
        let replicas = port.and_then(|port| config.clusters.get(port.cluster.as_str()));
        let mut callers = BTreeMap::new();
        for zone in replicas.iter().flat_map(|cluster| &cluster.endpoints).filter_map(|e| e.zone.as_ref()) {
            *callers.entry(zone.clone()).or_default() += 1;
        }
        if !callers.is_empty() {
            callers.entry(own.clone()).or_insert(1);
        }
        Some(Self { own, callers })
    }

    /// What each of the endpoints gets; `None` where zones make no difference: all are in one, or of one it is not known
    /// where it is.
    pub(super) fn shares(&self, members: &[Member], zones: &[Option<&str>]) -> Option<Shares> {
        let mut weights: BTreeMap<&str, f64> = BTreeMap::new();
        let ready = || members.iter().zip(zones).enumerate().filter(|(_, (member, _))| member.ready);
        for (_, (member, zone)) in ready() {
            *weights.entry((*zone)?).or_default() += f64::from(member.weight);
        }
        if weights.len() < 2 {
            return None;
        }
        let sent = self.sent(&weights);
        let mut end = 0.0;
        let mut line = Vec::with_capacity(members.len());
        for (index, (member, zone)) in ready() {
            let zone = (*zone)?;
            let share = sent.get(zone).copied().unwrap_or(0.0);
            if share > 0.0 {
                end += share * f64::from(member.weight) / weights.get(zone)?;
                line.push((index, end));
            }
        }
        Some(Shares { line })
    }

    /// What goes to each zone; all together 1. `weights`: of the endpoints in each zone.
    fn sent<'a>(&self, weights: &BTreeMap<&'a str, f64>) -> BTreeMap<&'a str, f64> {
        let all: f64 = weights.values().sum();
        let callers: f64 = self.callers.values().map(|count| f64::from(*count)).sum();
        let zones = weights.len() + usize::from(!weights.contains_key(self.own.as_str()));
        let calls = |zone: &str| match self.callers.is_empty() {
            true => 1.0 / zones as f64,
            false => f64::from(self.callers.get(zone).copied().unwrap_or(0)) / callers,
        };
        let more = |zone: &str, weight: f64| weight / all - calls(zone);
        let own = weights.get(self.own.as_str()).map_or(0.0, |weight| weight / all / calls(&self.own));
        let own = own.min(1.0);
        let others = || weights.iter().filter(|(zone, _)| **zone != self.own);
        let surplus: f64 = others().map(|(zone, weight)| more(zone, *weight).max(0.0)).sum();
        // What is a crumb of rounding is no surplus.
        let rest = if surplus > 1e-9 { (1.0 - own) / surplus } else { 0.0 };
        let sent = others().map(|(zone, weight)| (*zone, rest * more(zone, *weight).max(0.0)));
        let mut sent: BTreeMap<&str, f64> = sent.filter(|(_, share)| *share > 1e-9).collect();
        if let Some((zone, _)) = weights.get_key_value(self.own.as_str()) {
            sent.insert(zone, own);
        }
        sent
    }
}

impl Cluster {
    /// An endpoint by zone; `None` where the one whose turn it is cannot take it, or is not to be preferred: then zones do
    /// not count.
    pub(super) fn by_zone(
        &self,
        shares: &Shares,
        tried: &Tried,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Endpoint>> {
        let point = match self.balance {
            Balance::RoundRobin => {
                let turn = self.state.turn.fetch_add(1, Relaxed) as u64;
                turn.wrapping_mul(GOLDEN) as f64 / WHOLE
            }
            _ => rng.f64(),
        };
        let first = self.good(shares.at(point)?, tried)?;
        if !self.slow_start.is_zero() && rng.f64() >= first.warmth(self.slow_start) {
            return None;
        }
        let compares = matches!(self.balance, Balance::LeastRequest | Balance::PeakEwma | Balance::Hash);
        let second =
            if compares { shares.at(rng.f64()).and_then(|index| self.good(index, tried)) } else { None };
        // Drawn by their shares: both are compared as they are.
        Some(second.filter(|second| self.load(second, None) < self.load(first, None)).unwrap_or(first))
    }

    fn good(&self, index: usize, tried: &Tried) -> Option<&Arc<Endpoint>> {
        let member = self.members.get(index)?;
        let endpoint = &member.endpoint;
        let out = self.policy.outlier.is_some() && endpoint.is_out();
        let faulty = tried.faults(endpoint, false) != (false, false, false);
        (self.is_candidate(member, tried) && !out && !faulty).then_some(endpoint)
    }
}

impl Shares {
    /// Whose stretch holds a point, 0 to 1.
    fn at(&self, point: f64) -> Option<usize> {
        let index = self.line.partition_point(|(_, end)| *end <= point);
        // Rounding may leave a crumb.
        self.line.get(index).or(self.line.last()).map(|(member, _)| *member)
    }
}

#[cfg(test)]
mod tests;
