//! Which endpoint takes a request. By load it is the better of two random ready ones; of all of them where they are few.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use outrigger_wire::Balance;

use super::{Cluster, Endpoint, Member, Picked, key};

/// Up to this many candidates are compared all; two random ones are nearly as good beyond.
const FEW: usize = 4;

/// Endpoints that one request or connection was already refused by.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    ids: Vec<u64>,
    /// Not again while there is another.
    rather_not: Vec<u64>,
    pub(crate) rounds: u32,
}

impl Tried {
    /// None yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Do not pick it again for this request.
    pub fn add(&mut self, endpoint: &Endpoint) {
        self.ids.push(endpoint.id);
    }

    /// True if it was tried.
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.ids.contains(&endpoint.id)
    }

    /// Pick another for this request, if there is one.
    pub(crate) fn rather_not(&mut self, endpoint: &Endpoint) {
        self.rather_not.push(endpoint.id);
    }

    /// What speaks against an endpoint, the weightiest first.
    pub(super) fn faults(&self, endpoint: &Endpoint, ejects: bool) -> (bool, bool, bool) {
        (ejects && endpoint.is_out(), self.rather_not.contains(&endpoint.id), endpoint.is_avoided())
    }

    pub(crate) fn next_round(&mut self) {
        self.ids.clear();
        self.rounds += 1;
    }
}

impl Cluster {
    /// Picks a ready endpoint that was not tried; one that is avoided or ejected only if there is no other. `key` is
    /// what keeps requests together, where balancing is by hash. `None` if there is none left.
    pub fn pick(
        self: &Arc<Self>,
        tried: &Tried,
        key: Option<u64>,
        rng: &mut fastrand::Rng,
    ) -> Option<Picked> {
        if let (Some(shares), None) = (&self.zoned, key)
            && let Some(endpoint) = self.by_zone(shares, tried, rng)
        {
            return Some(self.take(endpoint));
        }
        if self.weighted {
            return self.by_share(tried, key, rng).map(|endpoint| self.take(endpoint));
        }
        let best = self.choose(tried, key, rng)?;
        let cold = !self.slow_start.is_zero() && key.is_none();
        if cold && rng.f64() >= best.warmth(self.slow_start) {
            // Somebody who is warm takes it, if there is anybody.
            let warm = |member: &Member| {
                self.is_candidate(member, tried) && member.endpoint.warmth(self.slow_start) >= 1.0
            };
            if let Some(warm) = self.best(warm, tried, key, rng) {
                return Some(self.take(warm));
            }
        }
        Some(self.take(best))
    }

    fn choose(&self, tried: &Tried, key: Option<u64>, rng: &mut fastrand::Rng) -> Option<&Arc<Endpoint>> {
        let drawn = match self.balance {
            _ if self.members.len() <= FEW => None,
            Balance::LeastRequest | Balance::PeakEwma => self.better_of_two(tried, rng),
            Balance::Random => self.draw(tried, rng),
            Balance::Hash if key.is_none() => self.better_of_two(tried, rng),
            Balance::Hash | Balance::RoundRobin => None,
        };
        drawn.or_else(|| self.best(|member| self.is_candidate(member, tried), tried, key, rng))
    }

    pub(super) fn is_candidate(&self, member: &Member, tried: &Tried) -> bool {
        member.ready && !tried.contains(&member.endpoint)
    }

    /// Looks at all of them.
    fn best(
        &self,
        candidate: impl Fn(&Member) -> bool,
        tried: &Tried,
        key: Option<u64>,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Endpoint>> {
        let ejects = self.ejects();
        let in_turn = self.balance == Balance::RoundRobin;
        let first =
            if in_turn { self.state.turn.fetch_add(1, Relaxed) % self.members.len().max(1) } else { 0 };
        let (before, from) = self.members.split_at_checked(first)?;
        let mut best: Option<(_, &Arc<Endpoint>)> = None;
        let mut equals = 0;
        for member in from.iter().chain(before).filter(|member| candidate(member)) {
            let endpoint = &member.endpoint;
            let rank = (tried.faults(endpoint, ejects), self.load(endpoint, key));
            let order = best.as_ref().map_or(Ordering::Less, |(best, _)| rank.cmp(best));
            equals = match order {
                Ordering::Less => 1,
                Ordering::Equal => equals + 1,
                Ordering::Greater => continue,
            };
            if order == Ordering::Less || !in_turn && rng.u32(..equals) == 0 {
                best = Some((rank, endpoint));
            }
        }
        best.map(|(_, endpoint)| endpoint)
    }

    /// `None` when the two drawn are not both good: then all are looked at.
    fn better_of_two(&self, tried: &Tried, rng: &mut fastrand::Rng) -> Option<&Arc<Endpoint>> {
        let (a, b) = (self.draw(tried, rng)?, self.draw(tried, rng)?);
        Some(if self.load(b, None) < self.load(a, None) { b } else { a })
    }

    fn draw(&self, tried: &Tried, rng: &mut fastrand::Rng) -> Option<&Arc<Endpoint>> {
        let member = self.members.get(rng.usize(..self.members.len()))?;
        let endpoint = &member.endpoint;
        let good = self.is_candidate(member, tried) && !endpoint.is_avoided();
        let out = self.policy.outlier.is_some() && endpoint.is_out();
        (good && !out && !tried.rather_not.contains(&endpoint.id)).then_some(endpoint)
    }

    /// Less is better.
    pub(super) fn load(&self, endpoint: &Endpoint, key: Option<u64>) -> u64 {
        match (self.balance, key) {
            (Balance::RoundRobin | Balance::Random, _) => 0,
            (Balance::PeakEwma, _) => endpoint.cost(),
            (Balance::Hash, Some(key)) => u64::MAX - key::score(key, endpoint.hash),
            (Balance::LeastRequest | Balance::Hash, _) => endpoint.in_flight().into(),
        }
    }
}

#[cfg(test)]
mod tests;
