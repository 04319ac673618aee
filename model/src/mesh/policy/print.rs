//! A policy as in a mesh file.

use std::fmt;
use std::time::Duration;

use super::check;
use crate::mesh::duration;
use crate::policy::{Balance, Capacity, HashOn, Policy, SuccessRate, Zones};

/// One line for each part that is said.
pub(in crate::mesh) fn print(f: &mut fmt::Formatter<'_>, indent: &str, policy: &Policy) -> fmt::Result {
    let Policy { check, outlier, retries, bounds, balance, slow_start, zones } = policy;
    let outlier = outlier.map(|said| {
        mapping([
            ("consecutive-errors", said.consecutive_errors.map(number)),
            ("eject", said.eject.map(duration::print)),
            ("most", said.most.map(percent)),
            ("panic", said.panic.map(percent)),
            ("success-rate", said.success_rate.map(success_rate)),
        ])
    });
    if check.is_some() || outlier.is_some() {
        let keys = [("check", check.as_ref().map(check::print)), ("outlier", outlier)];
        writeln!(f, "{indent}health: {}", mapping(keys))?;
    }
    if let Some(said) = retries {
        let keys = [
            ("attempts", said.attempts.map(number)),
            ("on", said.on.as_ref().map(|on| list(on.iter().map(ToString::to_string)))),
            (
                "methods",
                said.methods.as_ref().map(|methods| list(methods.iter().map(|m| format!("\"{m}\"")))),
            ),
            ("per-try-timeout", said.per_try_timeout.map(duration::print)),
            ("backoff", said.backoff.map(range)),
            ("budget", said.budget.map(percent)),
            ("budget-least", said.budget_least.map(number)),
        ];
        writeln!(f, "{indent}retries: {}", mapping(keys))?;
    }
    if let Some(said) = bounds {
        let keys = [
            ("requests", said.requests.map(number)),
            ("streams", said.streams.map(number)),
            ("held", said.held.map(number)),
            ("retries", said.retries.map(number)),
            ("replica", said.replica.map(capacity)),
        ];
        writeln!(f, "{indent}limits: {}", mapping(keys))?;
    }
    if let Some(said) = balance {
        let said = match said {
            Balance::LeastRequest => "least-request".to_owned(),
            Balance::PeakEwma => "peak-ewma".to_owned(),
            Balance::RoundRobin => "round-robin".to_owned(),
            Balance::Random => "random".to_owned(),
            Balance::Hash(HashOn::Source) => "{ hash: source }".to_owned(),
            Balance::Hash(HashOn::Header(name)) => format!("{{ hash: {{ header: \"{name}\" }} }}"),
            Balance::Hash(HashOn::Cookie(name)) => format!("{{ hash: {{ cookie: \"{name}\" }} }}"),
        };
        writeln!(f, "{indent}balance: {said}")?;
    }
    if let Some(said) = slow_start {
        writeln!(f, "{indent}slow-start: {}", duration::print(*said))?;
    }
    if let Some(said) = zones {
        let said = match said {
            Zones::Prefer => "prefer",
            Zones::Ignore => "ignore",
        };
        writeln!(f, "{indent}zones: {said}")?;
    }
    Ok(())
}

fn success_rate(said: SuccessRate) -> String {
    mapping([
        ("below", said.below.map(percent)),
        ("requests", said.requests.map(number)),
        ("replicas", said.replicas.map(number)),
        ("interval", said.interval.map(duration::print)),
    ])
}

fn capacity(said: Capacity) -> String {
    mapping([
        ("requests", said.requests.map(number)),
        ("pending", said.pending.map(number)),
        ("connections", said.connections.map(number)),
        ("streams", said.streams.map(number)),
    ])
}

fn mapping<const N: usize>(keys: [(&str, Option<String>); N]) -> String {
    let said = keys.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    let said: Vec<_> = said.collect();
    if said.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", said.join(", ")) }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[ {} ]", items.collect::<Vec<_>>().join(", "))
}

fn number(number: u32) -> String {
    number.to_string()
}

fn percent(percent: u32) -> String {
    format!("{percent}%")
}

fn range((least, most): (Duration, Duration)) -> String {
    format!("{}ms..{}ms", least.as_millis(), most.as_millis())
}
