//! Where the application is asked: where inbound traffic would go, seen from within its network namespace.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use outrigger_wire::InboundPort;

use crate::netns::Listening;

/// Where it is asked.
#[derive(Debug)]
pub(super) struct Target {
    /// To be tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// It wants to be told first who calls (PROXY protocol).
    pub introduced: bool,
}

/// Where it is asked, or the port on which nothing listens (none: on none at all).
pub(super) fn target(
    port: Option<u16>,
    declared: &BTreeMap<u16, InboundPort>,
    listening: &Listening,
) -> Result<Target, Option<u16>> {
    let port = port.or_else(|| lowest(declared, listening)).ok_or(None)?;
    let known = declared.get(&port);
    let introduced = known.is_some_and(|port| port.proxy_protocol.send);
    let addresses = match known.and_then(|port| port.app_address) {
        Some(address) => vec![address],
        None => seen(port, listening).ok_or(Some(port))?,
    };
    Ok(Target { addresses, introduced })
}

/// The addresses that lead to who listens on a port.
fn seen(port: u16, listening: &Listening) -> Option<Vec<SocketAddr>> {
    let at = listening.get(&port)?;
    let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    if at.iter().any(|ip| ip.is_unspecified() && ip.is_ipv4()) {
        return Some(vec![v4]);
    }
    if at.iter().any(IpAddr::is_unspecified) {
        // It takes IPv4 too, unless it was bound for IPv6 only, which nothing shows.
        return Some(vec![v4, v6]);
    }
    // Its own address goes before loopback, as for traffic.
    let own = at.iter().find(|ip| !ip.is_loopback()).or(at.first());
    own.map(|ip| vec![SocketAddr::new(*ip, port)])
}

/// The lowest port of the configuration, else the lowest that others reach, else the lowest of all.
fn lowest(declared: &BTreeMap<u16, InboundPort>, listening: &Listening) -> Option<u16> {
    let reached = listening.iter().find(|(_, at)| at.iter().any(|ip| !ip.is_loopback()));
    let seen = reached.or(listening.first_key_value()).map(|(port, _)| port);
    declared.keys().next().or(seen).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_asked_where_traffic_reaches_it() {
        let table: [(Option<u16>, &[&str], &str); 9] = [
            (Some(80), &["0.0.0.0:80"], "127.0.0.1:80"),
            (Some(80), &["[::]:80"], "127.0.0.1:80 [::1]:80"),
            (Some(80), &["127.0.0.1:80", "10.0.0.2:80"], "10.0.0.2:80"),
            (Some(80), &["127.0.0.1:80"], "127.0.0.1:80"),
            (Some(80), &["0.0.0.0:81"], "nothing on Some(80)"),
            (None, &["127.0.0.1:79", "0.0.0.0:81"], "127.0.0.1:81"),
            (None, &["127.0.0.1:79"], "127.0.0.1:79"),
            (None, &[], "nothing on None"),
            (Some(7000), &["0.0.0.0:7000"], "127.0.0.9:1"),
        ];
        for (port, listening, expected) in table {
            let mut seen = Listening::new();
            for at in listening.iter().map(|at| at.parse::<SocketAddr>().unwrap()) {
                seen.entry(at.port()).or_default().insert(at.ip());
            }
            let app_address = Some("127.0.0.9:1".parse().unwrap());
            let port_of =
                InboundPort { protocol: Default::default(), app_address, proxy_protocol: Default::default() };
            let declared = if port == Some(7000) { [(7000, port_of)].into() } else { BTreeMap::new() };
            let found = match target(port, &declared, &seen) {
                Ok(found) => found.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                Err(port) => format!("nothing on {port:?}"),
            };
            assert_eq!(found, expected, "{port:?} {listening:?}");
        }
    }
}
