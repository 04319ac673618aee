//! The sidecar's own side: where it listens and what stands behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use outrigger_model::{self as model, Capture, Workload};
use outrigger_wire::{
    InboundPort, Listener, ListenerKind, Mode, Protocol, Proxy, ProxyProtocol, SpiffeId, port,
};

use crate::check::check;
use crate::inbound;
use crate::ports::{ports_of, protocol};

/// The `proxy` resource of one workload; `listeners` are those of its capture.
pub(crate) fn proxy(
    workload: &Workload,
    identity: SpiffeId,
    mut listeners: BTreeMap<String, Listener>,
) -> Proxy {
    let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port::MESH);
    listeners.insert("mesh".to_owned(), Listener { address, kind: ListenerKind::Mesh });
    Proxy {
        identity,
        workload: workload.name.clone(),
        zone: workload.zone.clone(),
        mode: match workload.declared.mode {
            model::Mode::Permissive => Mode::Permissive,
            model::Mode::Strict => Mode::Strict,
        },
        edge: workload.edge().clone(),
        listeners,
        ports: inbound_ports(workload),
        seen_ports: true,
        rate_limits: inbound::rate_limits(workload),
        capacity: inbound::capacity(workload),
        hosts: matches!(workload.declared.capture, Capture::Names | Capture::Platform),
        check: check(workload),
    }
}

/// Declared and exposed ports, and those seen listening of which more is known than a look at the first bytes
/// would tell; the rest of the seen ones are open by `seen_ports`, so a port that comes or goes changes nothing here.
fn inbound_ports(workload: &Workload) -> BTreeMap<u16, InboundPort> {
    let said: BTreeSet<u16> = workload.declared.ports.keys().chain(&workload.exposed).copied().collect();
    let introduced = &workload.declared.proxy_protocol;
    let introduced = introduced.accept.union(&introduced.send).filter(|port| !port::RESERVED.contains(port));
    let mut ports: BTreeMap<u16, Protocol> =
        introduced.map(|port| (*port, protocol(*port, [workload]))).collect();
    let known = ports_of(&[workload]).into_iter();
    ports.extend(known.filter(|(port, protocol)| said.contains(port) || *protocol != Protocol::Detect));
    let inbound = |(port, protocol)| {
        let app_address = workload.declared.app_address.map(|ip| SocketAddr::new(ip, port));
        (port, InboundPort { protocol, app_address, proxy_protocol: proxy_protocol(workload, port) })
    };
    ports.into_iter().map(inbound).collect()
}

fn proxy_protocol(workload: &Workload, port: u16) -> ProxyProtocol {
    let said = &workload.declared.proxy_protocol;
    let accept = said.accept.contains(&port);
    let from = if accept { said.from.clone() } else { BTreeSet::new() };
    ProxyProtocol { accept, from, send: said.send.contains(&port) }
}
