//! Labels: how compose users configure. Each describes only its own workload.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Capture, Declared, Mode, Protocol, Upstream};

/// Every label starts with this.
pub const PREFIX: &str = "outrigger.";
/// Labels that containers made by us carry; never set by users.
pub const MANAGED: &str = "outrigger.managed";
/// Which mesh made it.
pub const MESH: &str = "outrigger.mesh";
/// Value of [`MANAGED`] on a container that owns the network namespace of application and sidecar (static injection).
pub const HOLDER: &str = "holder";
/// On a holder: the compose service of the application, without a replica's number.
pub const APP: &str = "outrigger.app";
/// On a holder: which replica of the application, from 1.
pub const REPLICA: &str = "outrigger.replica";
/// The name that a workload's service is called by.
pub const SERVICE: &str = "outrigger.service";
/// Switches the mesh on for a workload.
pub const ENABLE: &str = "outrigger.enable";

const KNOWN: [&str; 9] =
    ["app-address", "capture", "edge", "enable", "mode", "port", "service", "upstreams", "version"];

/// One thing wrong with one label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label {label}={value:?}: {what}")]
pub struct Fault {
    /// The label's whole name.
    pub label: String,
    /// What was found.
    pub value: String,
    /// What is wrong, and what to write.
    pub what: String,
}

/// Reads the labels of one workload. `None`: it is not to be meshed. `service` is used where no label names one.
///
/// # Errors
/// Every fault, in the order of the labels: the workload is then left alone.
pub fn parse(labels: &BTreeMap<String, String>, service: &str) -> Result<Option<Declared>, Vec<Fault>> {
    let mut declared = Declared { service: service.to_owned(), ..Declared::default() };
    let mut enabled = false;
    let mut faults = Vec::new();
    for (label, value) in labels.range(PREFIX.to_owned()..) {
        let Some(key) = label.strip_prefix(PREFIX) else { break };
        let outcome = match key {
            "enable" => flag(value).map(|on| enabled = on),
            "service" => dns_label(value).map(|name| declared.service = name),
            "port" => ports(value).map(|ports| declared.ports = ports),
            "version" => dns_label(value).map(|version| declared.version = Some(version)),
            "capture" => capture(value).map(|capture| declared.capture = capture),
            "mode" => mode(value).map(|mode| declared.mode = mode),
            "edge" => edge(value).map(|edge| declared.edge = Some(edge)),
            "upstreams" => upstreams(value).map(|upstreams| declared.upstreams = upstreams),
            "app-address" => address(value).map(|address| declared.app_address = Some(address)),
            other => Err(unknown(other)),
        };
        if let Err(what) = outcome {
            faults.push(Fault { label: label.clone(), value: value.clone(), what });
        }
    }
    match (enabled, faults.is_empty()) {
        (_, false) => Err(faults),
        (true, true) => Ok(Some(declared)),
        (false, true) => Ok(None),
    }
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write \"true\" or \"false\"".into()),
    }
}

/// RFC 1123: 1 to 63 of `[a-z0-9-]` (and `_`, which compose allows), no `-` at the ends.
fn dns_label(value: &str) -> Result<String, String> {
    let ok = (1..=63).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        && !value.starts_with('-')
        && !value.ends_with('-');
    ok.then(|| value.to_owned()).ok_or_else(|| "write 1 to 63 of a-z, 0-9 and -, such as cart".into())
}

fn port(value: &str) -> Result<u16, String> {
    value.trim().parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        let value = value.trim();
        format!("{value:?} is not a port: write a number from 1 to 65535, such as 8080")
    })
}

fn ports(value: &str) -> Result<BTreeMap<u16, Protocol>, String> {
    value.split(',').map(port_and_protocol).collect()
}

fn port_and_protocol(item: &str) -> Result<(u16, Protocol), String> {
    let (number, protocol) = item.split_once('/').unwrap_or((item, ""));
    let protocol = match protocol.trim() {
        "" => Protocol::Detect,
        "http" => Protocol::Http,
        "http2" | "grpc" => Protocol::Http2,
        "tcp" => Protocol::Tcp,
        other => {
            return Err(format!(
                "{other:?} is not a protocol: write http, http2, grpc or tcp, as in 8080/http"
            ));
        }
    };
    Ok((port(number)?, protocol))
}

/// `none` says that outsiders reach no port, whatever is published.
fn edge(value: &str) -> Result<BTreeSet<u16>, String> {
    if value == "none" { Ok(BTreeSet::new()) } else { value.split(',').map(port).collect() }
}

/// `cart:8080=9001,redis:6379`: the service, its port, and the local port where that differs.
fn upstreams(value: &str) -> Result<BTreeMap<u16, Upstream>, String> {
    let mut upstreams = BTreeMap::new();
    for item in value.split(',').map(str::trim) {
        let (upstream, local) = item.split_once('=').map_or((item, None), |(u, local)| (u, Some(local)));
        let Some((service, number)) = upstream.rsplit_once(':') else {
            return Err(format!(
                "{item:?} is not an upstream: write cart:8080, or cart:8080=9001 for another local port"
            ));
        };
        let service = service.split('.').map(dns_label).collect::<Result<Vec<_>, _>>()?.join(".");
        let number = port(number)?;
        let local = local.map_or(Ok(number), port)?;
        if let Some(other) = upstreams.insert(local, Upstream { service, port: number }) {
            return Err(format!(
                "local port {local} is taken by {}:{}: give one of them another, as in {upstream}=9001",
                other.service, other.port
            ));
        }
    }
    Ok(upstreams)
}

fn capture(value: &str) -> Result<Capture, String> {
    let all = [Capture::Transparent, Capture::Names, Capture::Platform, Capture::Explicit];
    let known = all.into_iter().find(|capture| capture.as_str() == value);
    known.ok_or_else(|| "write transparent, names, platform or explicit".into())
}

fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "permissive" => Ok(Mode::Permissive),
        "strict" => Ok(Mode::Strict),
        _ => Err("write permissive or strict".into()),
    }
}

fn address(value: &str) -> Result<std::net::IpAddr, String> {
    value.parse().map_err(|_| "write the IP address where the application listens, such as 127.0.0.1".into())
}

fn unknown(key: &str) -> String {
    let near =
        KNOWN.iter().min_by_key(|known| distance(known, key)).filter(|known| distance(known, key) <= 3);
    match near {
        Some(known) => format!("unknown label; did you mean {PREFIX}{known}?"),
        None => format!("unknown label; known are {PREFIX}{{{}}}", KNOWN.join(", ")),
    }
}

/// Levenshtein distance, over bytes: what users name is ASCII in practice.
pub fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn without_the_label_nothing_is_meshed() {
        assert_eq!(parse(&labels(&[("com.example", "x")]), "cart"), Ok(None));
        assert_eq!(parse(&labels(&[("outrigger.enable", "false")]), "cart"), Ok(None));
    }

    #[test]
    fn ports_carry_their_protocol() {
        let found =
            parse(&labels(&[(ENABLE, "true"), ("outrigger.port", "8080/http, 6379/tcp,9000")]), "cart");
        let declared = found.unwrap().unwrap();
        assert_eq!(declared.service, "cart");
        let want = [(8080, Protocol::Http), (6379, Protocol::Tcp), (9000, Protocol::Detect)];
        assert_eq!(declared.ports, want.into_iter().collect());
    }

    #[test]
    fn upstreams_have_local_ports_of_their_own() {
        let of = |value| upstreams(value);
        let upstream = |service: &str, port| Upstream { service: service.into(), port };
        let want = [(8080, upstream("cart", 8080)), (9001, upstream("redis.shop", 6379))];
        assert_eq!(of("cart:8080, redis.shop:6379=9001"), Ok(want.into_iter().collect()));
        assert!(of("cart:8080,web:8080").unwrap_err().contains("local port 8080 is taken by cart:8080"));
        assert!(of("cart").unwrap_err().contains("write cart:8080"));
        assert!(of("Cart:80").is_err());
    }

    #[test]
    fn no_edge_can_be_said() {
        assert_eq!(edge("none"), Ok(BTreeSet::new()));
        assert_eq!(edge("80, 443"), Ok([80, 443].into_iter().collect()));
        assert!(edge("").is_err());
    }

    #[test]
    fn every_fault_is_reported_with_what_to_write() {
        let faults = parse(
            &labels(&[
                (ENABLE, "yes"),
                ("outrigger.ports", "1"),
                ("outrigger.port", "80/htp,0"),
                ("outrigger.zzzzzz", ""),
            ]),
            "cart",
        )
        .unwrap_err();
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                r#"label outrigger.enable="yes": write "true" or "false""#,
                r#"label outrigger.port="80/htp,0": "htp" is not a protocol: write http, http2, grpc or tcp, as in 8080/http"#,
                r#"label outrigger.ports="1": unknown label; did you mean outrigger.port?"#,
                r#"label outrigger.zzzzzz="": unknown label; known are outrigger.{app-address, capture, edge, enable, mode, port, service, upstreams, version}"#,
            ]
        );
    }
}
