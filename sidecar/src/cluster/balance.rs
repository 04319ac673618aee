//! Least requests: the less loaded of two random ready endpoints; of all of them where they are few.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Cluster, Endpoint, Picked};

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

    pub(crate) fn next_round(&mut self) {
        self.ids.clear();
        self.rounds += 1;
    }
}

impl Cluster {
    /// Picks a ready endpoint that was not tried; one that is avoided or ejected only if there is no other. `None` if
    /// there is none left.
    pub fn pick(self: &Arc<Self>, tried: &Tried, rng: &mut fastrand::Rng) -> Option<Picked> {
        if self.members.len() > FEW
            && let Some(picked) = self.better_of_two(tried, rng)
        {
            return Some(picked);
        }
        let ejects = self.ejects();
        let load = |endpoint: &Endpoint| load(endpoint, tried, ejects);
        let mut best: Option<&Arc<Endpoint>> = None;
        let mut equals = 0;
        for member in self.members.iter().filter(|m| m.ready && !tried.contains(&m.endpoint)) {
            let order = best.map_or(Ordering::Less, |best| load(&member.endpoint).cmp(&load(best)));
            equals = match order {
                Ordering::Less => 1,
                Ordering::Equal => equals + 1,
                Ordering::Greater => continue,
            };
            if order == Ordering::Less || rng.u32(..equals) == 0 {
                best = Some(&member.endpoint);
            }
        }
        best.map(|best| self.take(best))
    }

    /// `None` when the two drawn are not both good: then all are looked at.
    fn better_of_two(self: &Arc<Self>, tried: &Tried, rng: &mut fastrand::Rng) -> Option<Picked> {
        let ejects = self.policy.outlier.is_some();
        let mut draw = || {
            let member = self.members.get(rng.usize(..self.members.len()))?;
            let endpoint = &member.endpoint;
            let good = member.ready && !tried.contains(endpoint) && !endpoint.is_avoided();
            let good = good && !tried.rather_not.contains(&endpoint.id) && !(ejects && endpoint.is_out());
            good.then_some(endpoint)
        };
        let (a, b) = (draw()?, draw()?);
        Some(self.take(if b.in_flight() < a.in_flight() { b } else { a }))
    }
}

/// Order of preference: ejected ones last, then those that failed this request, then avoided ones, then by requests
/// in flight.
fn load(endpoint: &Endpoint, tried: &Tried, ejects: bool) -> (bool, bool, bool, u32) {
    let out = ejects && endpoint.is_out();
    (out, tried.rather_not.contains(&endpoint.id), endpoint.is_avoided(), endpoint.in_flight())
}
