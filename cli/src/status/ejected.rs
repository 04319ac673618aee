//! Replicas that callers send nothing to for a while: which, by whom, why, and how much longer.

use std::collections::BTreeMap;

use super::answer::{Ejection, Status};
use super::draw::span;

/// What is said of each replica and port that anybody ejects at `now` (Unix seconds).
pub fn notes(status: &Status, now: u64) -> Vec<(String, String)> {
    let mut callers: BTreeMap<(&str, u16), Vec<String>> = BTreeMap::new();
    for ejection in status.ejections.iter().filter(|ejection| ejection.until_ms > now * 1000) {
        let key = (ejection.endpoint.as_str(), ejection.port);
        callers.entry(key).or_default().push(caller(ejection, now));
    }
    let said = callers.into_iter().map(|((endpoint, port), callers)| {
        (format!("endpoint {endpoint}:{port}"), format!("ejected by {}", callers.join("; ")))
    });
    said.collect()
}

fn caller(ejection: &Ejection, now: u64) -> String {
    let why = match (ejection.errors, ejection.percent, ejection.others_percent) {
        (Some(1), ..) => "1 error".to_owned(),
        (Some(errors), ..) => format!("{errors} errors in a row"),
        (None, Some(own), Some(others)) => {
            format!("{own}% of its requests succeeded, {others}% of the others'")
        }
        _ => "it failed".to_owned(),
    };
    let whole = span((ejection.until_ms.saturating_sub(ejection.since_ms)).div_ceil(1000));
    let left = span((ejection.until_ms - now * 1000).div_ceil(1000));
    let overruled =
        if ejection.overruled { ", and called all the same: too few others are left" } else { "" };
    format!("{} ({why}) for {whole}, {left} left{overruled}", ejection.by)
}
