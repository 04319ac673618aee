//! Ports of a service: published and exposed, in the short and in the long form.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_yaml::{Mapping, Value};

use crate::compose::tree::{field, is_open, items, split, text};

/// One entry of `ports` or `expose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// As it is written, for people.
    pub written: String,
    /// Where the application listens; none: a variable says.
    pub target: Option<RangeInclusive<u16>>,
    /// Where the host listens.
    pub host: Host,
}

/// Where the host listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Nowhere, or where the engine likes.
    Any,
    /// On one of so many ports.
    Fixed(u32),
    /// A variable says.
    Open,
}

/// All entries of `ports` and `expose`.
pub fn ports(body: &Mapping) -> Vec<Port> {
    let published = items(body.get("ports")).into_iter().filter_map(one);
    let exposed = items(body.get("expose")).into_iter().filter_map(text);
    let exposed =
        exposed.map(|written| Port { target: range(without_protocol(&written)), written, host: Host::Any });
    published.chain(exposed).collect()
}

/// The ports on which the application is said to listen.
pub fn targets(ports: &[Port]) -> BTreeSet<u16> {
    ports.iter().filter_map(|port| port.target.clone()).flatten().collect()
}

/// The ports of the application that the host publishes.
pub fn published(body: &Mapping) -> BTreeSet<u16> {
    let published: Vec<Port> = items(body.get("ports")).into_iter().filter_map(one).collect();
    targets(&published)
}

fn one(value: &Value) -> Option<Port> {
    if let Some(long) = value.as_mapping() {
        let target = field(long, "target").unwrap_or_default();
        let published = field(long, "published").unwrap_or_default();
        let written = format!("{published}:{target}");
        return Some(Port { written, target: range(&target), host: host(&published) });
    }
    let written = text(value)?;
    let parts = split(without_protocol(&written));
    let target = range(parts.last()?);
    let host = parts.len().checked_sub(2).and_then(|at| parts.get(at)).map_or(Host::Any, |part| host(part));
    Some(Port { target, host, written })
}

fn host(published: &str) -> Host {
    match range(published) {
        _ if published.is_empty() || published == "0" => Host::Any,
        Some(range) => Host::Fixed(u32::from(*range.end() - *range.start()) + 1),
        None => Host::Open,
    }
}

/// `8080` or `8080-8090`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = match text.split_once('-') {
        Some(_) if is_open(text) => return None,
        Some((first, last)) => (first, last),
        None => (text, text),
    };
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

fn without_protocol(written: &str) -> &str {
    match written.rsplit_once('/') {
        Some((ports, protocol)) if !protocol.contains('}') => ports,
        _ => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Vec<(Option<RangeInclusive<u16>>, Host)> {
        let body: Mapping = serde_yaml::from_str(yaml).unwrap();
        ports(&body).into_iter().map(|port| (port.target, port.host)).collect()
    }

    #[test]
    fn every_form_of_a_port_is_read() {
        let found = read(
            "ports: ['80', 8080, '1:2', '127.0.0.1:1:3', '127.0.0.1::4', '[::1]:1:5', '1-3:6/tcp', '10-12:20-22', '53:53/udp']",
        );
        let want = [
            (80, 80, Host::Any),
            (8080, 8080, Host::Any),
            (2, 2, Host::Fixed(1)),
            (3, 3, Host::Fixed(1)),
            (4, 4, Host::Any),
            (5, 5, Host::Fixed(1)),
            (6, 6, Host::Fixed(3)),
            (20, 22, Host::Fixed(3)),
            (53, 53, Host::Fixed(1)),
        ];
        assert_eq!(found, want.map(|(first, last, host)| (Some(first..=last), host)));
        let found = read(
            "ports: [{target: 80, published: '8080'}, {target: '81', published: 8000-8001}, {target: 82}]\nexpose: ['90', 91, 92-93/tcp]",
        );
        let want = [
            (80, 80, Host::Fixed(1)),
            (81, 81, Host::Fixed(2)),
            (82, 82, Host::Any),
            (90, 90, Host::Any),
            (91, 91, Host::Any),
            (92, 93, Host::Any),
        ];
        assert_eq!(found, want.map(|(first, last, host)| (Some(first..=last), host)));
    }

    #[test]
    fn a_variable_leaves_it_open_and_nothing_else() {
        assert_eq!(read("ports: ['127.0.0.1:${PORT:-}:8080']"), [(Some(8080..=8080), Host::Open)]);
        assert_eq!(read("ports: ['${BIND:-127.0.0.1}:80:${PORT:-8080}/tcp']"), [(None, Host::Fixed(1))]);
        assert_eq!(read("ports: ['$PORT']"), [(None, Host::Any)]);
        assert_eq!(read("expose: ['${A:-x/y}']"), [(None, Host::Any)]);
    }
}
