//! What protects the own application from too much: how many requests it gets in a time, and how much may be under way to
//! it. Where nothing is limited there is none of this.

mod buckets;
mod capacity;
mod fields;
mod pace;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri};
use outrigger_wire::{self as wire, inbound};

pub use capacity::{Admission, Bound, Capacity, Place};
pub use fields::Fields;

use crate::route::{Rule, field};
use buckets::Buckets;
use pace::Pace;

/// All limits of a generation, in their order.
#[derive(Debug)]
pub struct Rates {
    limits: Vec<Limit>,
}

#[derive(Debug)]
struct Limit {
    said: wire::RateLimit,
    /// Empty: it counts every request.
    matches: Vec<Match>,
    per: Per,
    buckets: Arc<Buckets>,
    /// As `RateLimit-Policy` lists it.
    policy: String,
    /// Looked up with its first refusal.
    refused: OnceLock<Arc<AtomicU64>>,
}

#[derive(Debug)]
struct Match {
    /// Callers (`web.shop`); empty: whoever.
    from: BTreeSet<String>,
    rule: Rule,
}

#[derive(Debug)]
enum Per {
    All,
    Caller,
    Source,
    Header(HeaderName),
}

/// A request as limits see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// What it asks for.
    pub uri: &'a Uri,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// It is a call of gRPC.
    pub grpc: bool,
    /// Who calls (`web.shop`), where that is proven; none on plaintext.
    pub caller: Option<&'a str>,
    /// Its address.
    pub source: IpAddr,
}

/// A request that is over a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit.
    pub limit: String,
    /// Until there is room for it.
    pub wait: Duration,
    fields: Fields,
}

impl Refusal {
    /// Tells who asked.
    pub fn write(&self, headers: &mut HeaderMap, grpc: bool) {
        self.fields.write(headers);
        fields::retry_after(headers, self.wait, grpc);
    }
}

impl Rates {
    /// Makes them ready; those that say the same as `before` go on with its buckets. `None`: nothing is limited.
    ///
    /// # Errors
    /// What cannot be matched, for a person: a pattern, a method, a header's name.
    pub fn new(limits: &[wire::RateLimit], before: Option<&Self>) -> Result<Option<Arc<Self>>, String> {
        if limits.is_empty() {
            return Ok(None);
        }
        let limit = |said: &wire::RateLimit| {
            let same = before.and_then(|before| before.limits.iter().find(|old| old.said == *said));
            Limit::new(said, same).map_err(|why| format!("rate limit {}: {why}", said.name))
        };
        let limits = limits.iter().map(limit).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Self { limits })))
    }

    /// Counts a request at all limits that take it. It counts at none if one of them has no room. (If another worker takes
    /// the last place between the look and the taking, the limits before that one count a request that is refused: at
    /// worst too few come through, never too many.)
    ///
    /// # Errors
    /// A limit has no room.
    pub fn admit(
        &self,
        asked: Asked<'_>,
        now: Instant,
        counted: impl FnOnce(&str) -> Arc<AtomicU64>,
    ) -> Result<Option<Fields>, Box<Refusal>> {
        let taking: Vec<(&Limit, Vec<u8>)> = self
            .limits
            .iter()
            .filter(|limit| limit.takes(asked))
            .map(|limit| (limit, limit.key(asked)))
            .collect();
        let mut full = if taking.len() > 1 {
            taking.iter().position(|(limit, key)| limit.buckets.level(key, now).left == 0)
        } else {
            None
        };
        if full.is_none() {
            full = taking.iter().position(|(limit, key)| limit.buckets.take(key, now).is_err());
        }
        let (mut fields, mut wait) = (Fields::default(), Duration::ZERO);
        for (limit, key) in &taking {
            let level = limit.buckets.level(key, now);
            fields.add(&limit.said.name, &limit.policy, level);
            if level.left == 0 {
                wait = wait.max(level.next);
            }
        }
        match full.and_then(|n| taking.get(n)) {
            None => Ok((!taking.is_empty()).then_some(fields)),
            Some((limit, _)) => {
                limit.refused.get_or_init(|| counted(&limit.said.name)).fetch_add(1, Ordering::Relaxed);
                Err(Box::new(Refusal { limit: limit.said.name.clone(), wait, fields }))
            }
        }
    }
}

impl Limit {
    fn new(said: &wire::RateLimit, same: Option<&Self>) -> Result<Self, String> {
        let matching = |(n, one): (usize, &wire::RouteMatch)| {
            Ok::<_, String>(Match { from: one.from.clone(), rule: Rule::new(one, n)? })
        };
        let per = match &said.per {
            None => Per::All,
            Some(inbound::Per::Caller) => Per::Caller,
            Some(inbound::Per::Source) => Per::Source,
            Some(inbound::Per::Header(name)) => {
                let name = HeaderName::from_bytes(name.as_bytes());
                Per::Header(name.map_err(|_| "its header cannot be one".to_owned())?)
            }
        };
        let window = Duration::from_secs(said.window_s.into());
        let new = || {
            let pace = Pace::new(said.requests, window, said.burst);
            Arc::new(Buckets::new(pace, !matches!(per, Per::All)))
        };
        Ok(Self {
            matches: said.matches.iter().enumerate().map(matching).collect::<Result<_, _>>()?,
            buckets: same.map_or_else(new, |same| same.buckets.clone()),
            per,
            policy: fields::policy(&said.name, said.requests, said.window_s),
            refused: OnceLock::new(),
            said: said.clone(),
        })
    }

    fn takes(&self, asked: Asked<'_>) -> bool {
        let Asked { method, uri, headers, grpc, caller, .. } = asked;
        self.matches.is_empty()
            || self.matches.iter().any(|one| {
                (one.from.is_empty() || caller.is_some_and(|caller| one.from.contains(caller)))
                    && one.rule.takes(method, uri, headers, grpc)
            })
    }

    fn key(&self, asked: Asked<'_>) -> Vec<u8> {
        match &self.per {
            Per::All => Vec::new(),
            Per::Caller => asked.caller.unwrap_or_default().as_bytes().to_vec(),
            Per::Source => match asked.source.to_canonical() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            },
            Per::Header(name) => field(asked.uri, asked.headers, name).unwrap_or_default().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
