//! Reads single values: the same code for what a file and what a label says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::duration;
use super::fault::{Code, Origin};
use super::node::{Node, Value, shown};
use super::reader::{Reader, nearest};
use super::table::{Choice, Key, Kind};
use crate::{Capture, Mode, Protocol, Upstream};

/// What may stand for a protocol.
pub(crate) const PROTOCOLS: &[Choice] = &[
    Choice { word: "detect", about: "seen from the first bytes of each connection" },
    Choice { word: "http", about: "HTTP/1.x or HTTP/2" },
    Choice { word: "http2", about: "HTTP/2 with prior knowledge" },
    Choice { word: "grpc", about: "the same as http2" },
    Choice { word: "tcp", about: "bytes; right wherever the server speaks first" },
];

/// Ports of a sidecar, in the network namespace that it shares with its application.
pub const RESERVED_PORTS: [u16; 5] = [15001, 15006, 15008, 15020, 15053];

/// Words that say that outsiders reach no port.
pub(crate) const NONE: &str = "none";

/// One of the words of a choice.
pub(crate) fn choice(reader: &mut Reader, node: &Node, key: &Key) -> Option<&'static str> {
    let Kind::Choice(choices) = &key.kind else { return None };
    one_of(reader, node, choices)
}

/// The word `true`.
pub(crate) fn truth(reader: &mut Reader, node: &Node, key: &Key) -> Option<()> {
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => Some(()),
        _ => {
            let what = format!("{} stands where only true can", node.found());
            reader.fault(Code::BadValue, node, what, format!("write {}: true, or remove the key", key.name));
            None
        }
    }
}

fn one_of(reader: &mut Reader, node: &Node, choices: &'static [Choice]) -> Option<&'static str> {
    let words = || choices.iter().map(|choice| choice.word);
    let help = || format!("write {}", any_of(&words().collect::<Vec<_>>()));
    let Some(text) = node.text() else {
        reader.fault(
            Code::WrongType,
            node,
            format!("{} stands where one word is wanted", node.found()),
            help(),
        );
        return None;
    };
    let found = words().find(|word| *word == text);
    if found.is_none() {
        let near = nearest(text, words()).map_or_else(String::new, |near| format!("did you mean {near}? "));
        reader.fault(Code::BadValue, node, format!("{} is not known here", shown(text)), near + &help());
    }
    found
}

/// `a, b or c`.
fn any_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

pub(crate) fn mode(reader: &mut Reader, node: &Node, key: &Key) -> Option<Mode> {
    let word = choice(reader, node, key)?;
    Mode::ALL.into_iter().find(|mode| mode.as_str() == word)
}

pub(crate) fn capture(reader: &mut Reader, node: &Node, key: &Key) -> Option<Capture> {
    let word = choice(reader, node, key)?;
    Capture::ALL.into_iter().find(|capture| capture.as_str() == word)
}

/// A length of time within the key's range; `0` is zero: off.
pub(crate) fn time(reader: &mut Reader, node: &Node, key: &Key) -> Option<Duration> {
    let Kind::Duration { least, most, off } = key.kind else { return None };
    let like = format!("write a number with its unit, such as {}", key.example);
    let Some(text) = node.text() else {
        reader.fault(Code::WrongType, node, format!("{} stands where a time is wanted", node.found()), like);
        return None;
    };
    let Some(time) = duration::parse(text) else {
        let help = match text.parse::<u32>() {
            Ok(number) => format!("write the unit too: {number}s, or {number}ms"),
            Err(_) => like + "; units are h, m, s and ms",
        };
        reader.fault(Code::BadValue, node, format!("{} is not a length of time", shown(text)), help);
        return None;
    };
    let switched_off = off && time.is_zero();
    if switched_off || (least..=most).contains(&time) {
        return Some(time);
    }
    let range = format!("write {} to {}", duration::print(least), duration::print(most));
    let help = if off { range + ", or 0 for none" } else { range };
    reader.fault(
        Code::OutOfRange,
        node,
        format!("{text} is too {}", if time < least { "short" } else { "long" }),
        help,
    );
    None
}

/// An IP address.
pub(crate) fn address(reader: &mut Reader, node: &Node, _: &Key) -> Option<IpAddr> {
    let help = "write the IP address where the application listens, such as 127.0.0.1";
    let Some(text) = node.text() else {
        reader.fault(
            Code::WrongType,
            node,
            format!("{} stands where an address is wanted", node.found()),
            help,
        );
        return None;
    };
    let address = text.parse().ok();
    if address.is_none() {
        reader.fault(Code::BadValue, node, format!("{} is not an IP address", shown(text)), help);
    }
    address
}

/// Ports with protocols (`{ 8080: http }`), or only ports (`[ 8080 ]`).
pub(crate) fn ports(reader: &mut Reader, node: &Node, _: &Key) -> Option<BTreeMap<u16, Protocol>> {
    if let Value::List(_) = node.value {
        let ports = port_list(reader, node)?;
        return Some(ports.into_iter().map(|port| (port, Protocol::Detect)).collect());
    }
    let before = reader.faults.len();
    let entries = reader.mapping(node, "{ 8080: http }, or a list: [ 8080, 9000 ]")?;
    let mut ports = BTreeMap::new();
    for (name, key, value) in entries {
        let spoken = reader.within(name, |reader| {
            let number = port_of_text(reader, key, name);
            let protocol = match value.value {
                Value::Null => Some(Protocol::Detect),
                _ => one_of(reader, value, PROTOCOLS).and_then(Protocol::from_word),
            };
            Some((number?, protocol?))
        });
        ports.extend(spoken);
    }
    (reader.faults.len() == before).then_some(ports)
}

/// A list of ports, or `none`.
pub(crate) fn port_list_or_none(reader: &mut Reader, node: &Node, _: &Key) -> Option<BTreeSet<u16>> {
    if node.text() == Some(NONE) {
        return Some(BTreeSet::new());
    }
    port_list(reader, node)
}

fn port_list(reader: &mut Reader, node: &Node) -> Option<BTreeSet<u16>> {
    let Value::List(items) = &node.value else {
        let help = match node.text().and_then(port_number) {
            Some(port) => format!("write [ {port} ]"),
            None => format!("write a list such as [ 80, 443 ], or {NONE}"),
        };
        reader.fault(
            Code::WrongType,
            node,
            format!("{} stands where a list of ports is wanted", node.found()),
            help,
        );
        return None;
    };
    let before = reader.faults.len();
    let mut ports = BTreeSet::new();
    for (n, item) in items.iter().enumerate() {
        let port = reader.within(&n.to_string(), |reader| port(reader, item));
        if let Some(twice) = port.filter(|port| ports.contains(port)) {
            reader.fault(
                Code::BadValue,
                item,
                format!("port {twice} is in the list already"),
                "remove one of the two",
            );
        }
        ports.extend(port);
    }
    (reader.faults.len() == before).then_some(ports)
}

/// A port as a value: a number, not text.
pub(super) fn port(reader: &mut Reader, node: &Node) -> Option<u16> {
    match &node.value {
        Value::Scalar { text, plain: true } => port_of_text(reader, node, text),
        Value::Scalar { text, plain: false } if port_number(text).is_some() => {
            reader.fault(
                Code::WrongType,
                node,
                format!("{} is text", shown(text)),
                format!("write {text}, without quotes"),
            );
            None
        }
        _ => {
            let what = format!("{} stands where a port is wanted", node.found());
            reader.fault(Code::WrongType, node, what, "write a number from 1 to 65535");
            None
        }
    }
}

pub(super) fn port_of_text(reader: &mut Reader, node: &Node, text: &str) -> Option<u16> {
    let port = port_number(text);
    if port.is_none() {
        let help = "write a number from 1 to 65535, such as 8080";
        reader.fault(Code::BadValue, node, format!("{} is not a port", shown(text)), help);
    }
    // In a label it is for the one who meshes to refuse, with the workload that says so.
    let in_file = matches!(node.origin, Origin::File { .. });
    if let Some(taken) = port.filter(|port| in_file && RESERVED_PORTS.contains(port)) {
        let help = "move the application to another port";
        reader.fault(Code::BadValue, node, format!("port {taken} is the sidecar's"), help);
        return None;
    }
    port
}

/// Decimal, without sign and leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

/// `{ 9001: "cart:8080" }`: the local port, and the service with its port; or `[ "cart:8080" ]`, where both are the same.
pub(crate) fn upstreams(reader: &mut Reader, node: &Node, _: &Key) -> Option<BTreeMap<u16, Upstream>> {
    let before = reader.faults.len();
    let mut upstreams = BTreeMap::new();
    match &node.value {
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                reader.within(&n.to_string(), |reader| {
                    let Some(upstream) = upstream(reader, item) else { return };
                    add(reader, item, &mut upstreams, upstream.port, upstream);
                });
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let name = key.text().unwrap_or_default();
                reader.within(name, |reader| {
                    let (local, upstream) = (port_of_text(reader, key, name), upstream(reader, value));
                    let (Some(local), Some(upstream)) = (local, upstream) else { return };
                    add(reader, key, &mut upstreams, local, upstream);
                });
            }
        }
        Value::Null | Value::Scalar { .. } => {
            let what = format!("{} stands where upstreams are wanted", node.found());
            let help = "write { 9001: \"cart:8080\" }, or a list: [ \"cart:8080\" ]";
            reader.fault(Code::WrongType, node, what, help);
        }
    }
    (reader.faults.len() == before).then_some(upstreams)
}

fn add(
    reader: &mut Reader,
    node: &Node,
    upstreams: &mut BTreeMap<u16, Upstream>,
    local: u16,
    upstream: Upstream,
) {
    if let Some(other) = upstreams.get(&local) {
        let what = format!("local port {local} is taken by {}:{}", other.service, other.port);
        let (service, port) = (&upstream.service, upstream.port);
        let help = match node.origin {
            Origin::File { .. } => {
                format!("give one of them another, as in {{ 9001: \"{service}:{port}\" }}")
            }
            Origin::Label { .. } => format!("give one of them another, as in {service}:{port}=9001"),
        };
        reader.fault(Code::DuplicateKey, node, what, help);
    }
    upstreams.entry(local).or_insert(upstream);
}

/// `cart:8080` or `cart.shop:8080`.
fn upstream(reader: &mut Reader, node: &Node) -> Option<Upstream> {
    let parsed = node.text().and_then(|text| text.rsplit_once(':')).and_then(|(service, port)| {
        let service = super::ServiceName::parse(service)?.to_string();
        Some(Upstream { service, port: port_number(port)? })
    });
    if parsed.is_none() {
        let what = format!("{} is not a service and its port", node.found());
        reader.fault(
            Code::BadValue,
            node,
            what,
            "write cart:8080, or cart.shop:8080 for one of another namespace",
        );
    }
    parsed
}
