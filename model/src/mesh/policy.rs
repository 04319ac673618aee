//! `retries`, `health` and `limits`, which a service has and `defaults` as well: the table of their keys, and how they are
//! read.

mod balance;
mod check;
mod check_table;
mod keys;
mod print;

pub(super) use balance::{BALANCE, HASH_ON, SLOW_START, WORDS, ZONES, hash_on};
pub(super) use keys::{HEALTH, LIMITS, RETRIES};
pub(super) use print::print;

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault::Code;
use super::node::{Node, Value, shown};
use super::reader::{Fields, Reader, nearest};
use super::table::{Key, Kind, Section};
use super::{duration, text, value};
use crate::check::Check;
use crate::policy::{Bounds, Capacity, Outlier, Policy, Retries, RetryOn, SuccessRate};

/// Longest pause that may be asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Policy {
    pub(crate) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Self {
        let health = inner(reader, fields, "health", |reader, fields| {
            let check = fields.read(reader, "check", check::read).map(|said| said.value);
            Some((check, inner(reader, fields, "outlier", |reader, fields| Some(outlier(reader, fields)))))
        });
        let (check, outlier) = health.unwrap_or_default();
        Self {
            check,
            outlier,
            retries: inner(reader, fields, "retries", |reader, fields| Some(retries(reader, fields))),
            bounds: inner(reader, fields, "limits", |reader, fields| Some(bounds(reader, fields))),
            balance: fields.read(reader, "balance", balance::read).map(|said| said.value),
            slow_start: time(reader, fields, "slow-start"),
            zones: fields.read(reader, "zones", balance::zones).map(|said| said.value),
        }
    }

    /// Key by key: what `self` does not say, `other` does.
    pub(crate) fn or(&self, other: &Self) -> Self {
        fn both<T: Clone>(a: &Option<T>, b: &Option<T>, or: impl Fn(&T, &T) -> T) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(or(a, b)),
                (a, b) => a.clone().or_else(|| b.clone()),
            }
        }
        Self {
            check: both(&self.check, &other.check, Check::or),
            outlier: both(&self.outlier, &other.outlier, |a, b| Outlier {
                consecutive_errors: a.consecutive_errors.or(b.consecutive_errors),
                eject: a.eject.or(b.eject),
                most: a.most.or(b.most),
                panic: a.panic.or(b.panic),
                success_rate: both(&a.success_rate, &b.success_rate, |a, b| SuccessRate {
                    below: a.below.or(b.below),
                    requests: a.requests.or(b.requests),
                    replicas: a.replicas.or(b.replicas),
                    interval: a.interval.or(b.interval),
                }),
            }),
            retries: both(&self.retries, &other.retries, |a, b| Retries {
                attempts: a.attempts.or(b.attempts),
                on: a.on.clone().or_else(|| b.on.clone()),
                methods: a.methods.clone().or_else(|| b.methods.clone()),
                per_try_timeout: a.per_try_timeout.or(b.per_try_timeout),
                backoff: a.backoff.or(b.backoff),
                budget: a.budget.or(b.budget),
                budget_least: a.budget_least.or(b.budget_least),
            }),
            bounds: both(&self.bounds, &other.bounds, |a, b| Bounds {
                requests: a.requests.or(b.requests),
                streams: a.streams.or(b.streams),
                held: a.held.or(b.held),
                retries: a.retries.or(b.retries),
                replica: both(&a.replica, &b.replica, |a, b| Capacity {
                    requests: a.requests.or(b.requests),
                    pending: a.pending.or(b.pending),
                    connections: a.connections.or(b.connections),
                    streams: a.streams.or(b.streams),
                }),
            }),
            balance: self.balance.clone().or_else(|| other.balance.clone()),
            slow_start: self.slow_start.or(other.slow_start),
            zones: self.zones.or(other.zones),
        }
    }
}

/// Reads the mapping at a key.
fn inner<T>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    read: impl FnOnce(&mut Reader, &Fields<'_>) -> Option<T>,
) -> Option<T> {
    let said = fields.read(reader, name, |reader, node, key| {
        let Kind::Section(section) = key.kind else { return None };
        let section: &'static Section = section;
        let fields = reader.section(node, section);
        read(reader, &fields)
    });
    said.map(|said| said.value)
}

fn outlier(reader: &mut Reader, fields: &Fields<'_>) -> Outlier {
    Outlier {
        consecutive_errors: number(reader, fields, "consecutive-errors"),
        eject: time(reader, fields, "eject"),
        most: percent(reader, fields, "most"),
        panic: percent(reader, fields, "panic"),
        success_rate: inner(reader, fields, "success-rate", |reader, fields| {
            Some(success_rate(reader, fields))
        }),
    }
}

fn success_rate(reader: &mut Reader, fields: &Fields<'_>) -> SuccessRate {
    SuccessRate {
        below: percent(reader, fields, "below"),
        requests: number(reader, fields, "requests"),
        replicas: number(reader, fields, "replicas"),
        interval: time(reader, fields, "interval"),
    }
}

fn retries(reader: &mut Reader, fields: &Fields<'_>) -> Retries {
    let methods = fields.read(reader, "methods", text::texts);
    Retries {
        attempts: number(reader, fields, "attempts"),
        on: fields.read(reader, "on", conditions).map(|said| said.value),
        methods: methods.map(|said| said.value.into_iter().collect()),
        per_try_timeout: time(reader, fields, "per-try-timeout"),
        backoff: fields.read(reader, "backoff", backoff).map(|said| said.value),
        budget: percent(reader, fields, "budget"),
        budget_least: number(reader, fields, "budget-least"),
    }
}

fn bounds(reader: &mut Reader, fields: &Fields<'_>) -> Bounds {
    Bounds {
        requests: number(reader, fields, "requests"),
        streams: number(reader, fields, "streams"),
        held: number(reader, fields, "held"),
        retries: number(reader, fields, "retries"),
        replica: inner(reader, fields, "replica", |reader, fields| Some(capacity(reader, fields))),
    }
}

fn capacity(reader: &mut Reader, fields: &Fields<'_>) -> Capacity {
    Capacity {
        requests: number(reader, fields, "requests"),
        pending: number(reader, fields, "pending"),
        connections: number(reader, fields, "connections"),
        streams: number(reader, fields, "streams"),
    }
}

fn number(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<u32> {
    fields.read(reader, name, text::number).map(|said| said.value)
}

fn time(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<Duration> {
    fields.read(reader, name, value::time).map(|said| said.value)
}

fn percent(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<u32> {
    let said = fields.read(reader, name, |reader, node, key| match &node.value {
        Value::Scalar { text, plain: true } if text.parse::<u8>().is_ok_and(|number| number <= 100) => {
            reader.fault(Code::WrongType, node, format!("{text} is no percentage"), format!("write {text}%"));
            None
        }
        _ => text::text(reader, node, key),
    })?;
    said.value.trim_end_matches('%').parse().ok()
}

/// `25ms..250ms`.
fn backoff(reader: &mut Reader, node: &Node, key: &Key) -> Option<(Duration, Duration)> {
    let text = text::text(reader, node, key)?;
    let (least, most) = text.split_once("..")?;
    let (least, most) = (duration::parse(least)?, duration::parse(most)?);
    if !least.is_zero() && least <= most && most <= LONGEST_PAUSE {
        return Some((least, most));
    }
    let what = format!("{} cannot be: the first is more than 0 and at most the second", shown(&text));
    let help = format!("write {}, say; {} is the longest", key.example, duration::print(LONGEST_PAUSE));
    reader.fault(Code::OutOfRange, node, what, help);
    None
}

/// A list of words and status codes.
fn conditions(reader: &mut Reader, node: &Node, key: &Key) -> Option<BTreeSet<RetryOn>> {
    let Value::List(items) = &node.value else {
        let what = format!("{} stands where a list is wanted", node.found());
        reader.fault(Code::WrongType, node, what, format!("write {}", key.example));
        return None;
    };
    let items = items.iter().enumerate();
    let read: Vec<_> =
        items.map(|(n, item)| reader.within(&n.to_string(), |reader| condition(reader, item))).collect();
    read.into_iter().collect()
}

fn condition(reader: &mut Reader, node: &Node) -> Option<RetryOn> {
    let status = |text: &str| text.parse().ok().filter(|status| matches!(status, 429 | 500..=599));
    let found = match &node.value {
        Value::Scalar { text, plain } => RetryOn::WORDS
            .into_iter()
            .find(|word| word.to_string() == *text)
            .or_else(|| status(text).filter(|_| *plain && text.len() == 3).map(RetryOn::Status)),
        Value::Null | Value::List(_) | Value::Mapping(_) => None,
    };
    if found.is_none() {
        let words = keys::CONDITIONS.iter().map(|choice| choice.word);
        let near = node.text().and_then(|text| nearest(text, words));
        let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
        let what = format!("{} is no reason to send a request again", node.found());
        let help = "write connect-failure, reset, timeout, unavailable, 429, or a number from 500 to 599";
        reader.fault(Code::BadValue, node, what, near + help);
    }
    found
}
