//! Picking where endpoints have different weights: each gets its share of what is balanced, whichever way that is done.
//!
//! Points on a line on which every candidate holds a stretch as long as its share are drawn by chance, or taken in
//! turn. Where latencies or keys count, the candidates run for the request, each at the speed of its share: the way is
//! drawn from the exponential distribution, so that each wins as often as its share says where nothing else counts.
//! A key says how long the way is: then the same one wins every time, and a weight that changes moves no more keys
//! than it must (weighted rendezvous hashing).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use outrigger_wire::Balance;

use super::balance::Tried;
use super::{Cluster, Endpoint, Member, key};

/// 2^64 divided by the golden ratio: multiples of it fall evenly into every range, however many there are.
pub(super) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// 2^64.
const WHOLE: f64 = 18_446_744_073_709_551_616.0;

impl Cluster {
    /// Like [`Cluster::pick`], by weights.
    pub(super) fn by_share(
        &self,
        tried: &Tried,
        key: Option<u64>,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Endpoint>> {
        let ejects = self.ejects();
        let faults = |member: &Member| tried.faults(&member.endpoint, ejects);
        let candidates = || self.members.iter().filter(|member| self.is_candidate(member, tried));
        let least = candidates().map(faults).min()?;
        let best: Vec<&Member> = candidates().filter(|member| faults(member) == least).collect();
        match (self.balance, key) {
            (Balance::RoundRobin, _) => {
                let turn = self.state.turn.fetch_add(1, Relaxed) as u64;
                self.at(&best, turn.wrapping_mul(GOLDEN) as f64 / WHOLE)
            }
            (Balance::Random, _) => self.at(&best, rng.f64()),
            (Balance::PeakEwma, _) => {
                first(&best, |m| m.endpoint.cost_with(-(1.0 - rng.f64()).ln()) / self.share(m))
            }
            (Balance::Hash, Some(key)) => {
                // Never quite 0, of which there is no logarithm.
                let drawn = |m: &Member| (key::score(key, m.endpoint.hash) as f64 + 1.0) / (WHOLE + 2.0);
                first(&best, |m| -drawn(m).ln() / f64::from(m.weight))
            }
            (Balance::LeastRequest | Balance::Hash, _) => {
                let two = [self.at(&best, rng.f64())?, self.at(&best, rng.f64())?];
                first(&two, |m| f64::from(m.endpoint.in_flight()) / self.share(m))
            }
        }
        .map(|member| &member.endpoint)
    }

    fn share(&self, member: &Member) -> f64 {
        f64::from(member.weight) * member.endpoint.warmth(self.slow_start)
    }

    /// Whose stretch holds a point, 0 to 1.
    fn at<'a>(&self, members: &[&'a Member], point: f64) -> Option<&'a Member> {
        let whole: f64 = members.iter().map(|member| self.share(member)).sum();
        let mut left = point * whole;
        let found = members.iter().find(|member| {
            left -= self.share(member);
            left < 0.0
        });
        // Rounding may leave a crumb.
        found.or(members.last()).copied()
    }
}

/// The one of which that is least; the first of equal ones.
fn first<'a>(members: &[&'a Member], mut way: impl FnMut(&Member) -> f64) -> Option<&'a Member> {
    let ways = members.iter().map(|member| (way(member), *member));
    ways.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, member)| member)
}

#[cfg(test)]
mod tests;
