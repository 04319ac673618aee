//! The sidecar's own side: where it listens and what stands behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use outrigger_model::{self as model, Workload};
use outrigger_wire::{InboundPort, Listener, ListenerKind, Mode, Protocol, Proxy, SpiffeId, Target, port};

use crate::ports::{ports_of, protocol};

/// The `proxy` resource of one workload.
pub(crate) fn proxy(workload: &Workload, identity: SpiffeId) -> Proxy {
    Proxy {
        identity,
        workload: workload.name.clone(),
        mode: match workload.declared.mode {
            model::Mode::Permissive => Mode::Permissive,
            model::Mode::Strict => Mode::Strict,
        },
        edge: workload.edge().clone(),
        listeners: listeners(),
        ports: inbound_ports(workload),
        seen_ports: true,
        hosts: false,
    }
}

/// The four listeners of `transparent` capture. All but DNS bind `[::]`: a redirect of IPv6 lands on `::1`,
/// which some namespaces lack, while `[::]` binds everywhere and takes IPv4 as well.
fn listeners() -> BTreeMap<String, Listener> {
    let any = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let target = Target::OriginalDestination;
    let listeners = [
        ("outbound", any(port::OUTBOUND), ListenerKind::Outbound { target: target.clone() }),
        ("inbound", any(port::INBOUND), ListenerKind::Inbound { target }),
        ("mesh", any(port::MESH), ListenerKind::Mesh),
        ("dns", loopback(port::DNS), ListenerKind::Dns { forward: Vec::new() }),
    ];
    listeners.into_iter().map(|(name, address, kind)| (name.to_owned(), Listener { address, kind })).collect()
}

/// Declared and exposed ports, and those seen listening of which more is known than a look at the first bytes
/// would tell; the rest of the seen ones are open by `seen_ports`, so a port that comes or goes changes nothing here.
fn inbound_ports(workload: &Workload) -> BTreeMap<u16, InboundPort> {
    let said: BTreeSet<u16> = workload.declared.ports.keys().chain(&workload.exposed).copied().collect();
    let ports = ports_of(&[workload]).into_keys();
    ports
        .map(|port| (port, protocol(port, [workload])))
        .filter(|(port, protocol)| said.contains(port) || *protocol != Protocol::Detect)
        .map(|(port, protocol)| {
            let app_address = workload.declared.app_address.map(|ip| SocketAddr::new(ip, port));
            (port, InboundPort { protocol, app_address })
        })
        .collect()
}
