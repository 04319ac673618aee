//! Which ports a service has, and what is spoken there.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::{self as model, Workload};
use outrigger_wire::{Protocol, port};

/// Ports whose protocols let the server speak first, or are no HTTP for sure: bytes unless declared otherwise
/// (IANA service names: ftp, ssh, smtp, pop3, imap, submission, ldap, mssql, oracle, nfs, mysql, rdp, postgresql,
/// amqp, redis, zookeeper, cassandra, kafka, memcached, mongodb, nats, mqtt).
const OPAQUE: [u16; 33] = [
    21, 22, 25, 110, 143, 389, 465, 587, 636, 993, 995, 1433, 1521, 1883, 2049, 2181, 3306, 3389, 4222, 5432,
    5433, 5671, 5672, 6379, 6380, 8883, 9042, 9092, 9093, 11211, 27017, 27018, 27019,
];

/// What is spoken on a port, from what its replicas say about it. A declaration wins; replicas that declare
/// different things are detected; nothing declared on a well-known server-first port is bytes.
pub fn protocol<'a>(port: u16, replicas: impl IntoIterator<Item = &'a Workload>) -> Protocol {
    let mut declared = replicas
        .into_iter()
        .filter_map(|workload| workload.declared.ports.get(&port))
        .filter_map(|protocol| spoken(*protocol))
        .collect::<BTreeSet<_>>()
        .into_iter();
    match (declared.next(), declared.next()) {
        (Some(only), None) => only,
        (None, _) if OPAQUE.contains(&port) => Protocol::Tcp,
        _ => Protocol::Detect,
    }
}

/// A port without a protocol says nothing about what is spoken.
fn spoken(protocol: model::Protocol) -> Option<Protocol> {
    match protocol {
        model::Protocol::Detect => None,
        model::Protocol::Http => Some(Protocol::Http),
        model::Protocol::Http2 => Some(Protocol::Http2),
        model::Protocol::Tcp => Some(Protocol::Tcp),
    }
}

/// The ports of a service with what is spoken there: declared, exposed, or seen listening at any replica.
/// The sidecar's own ports are never among them.
pub fn ports_of(replicas: &[&Workload]) -> BTreeMap<u16, Protocol> {
    let ports: BTreeSet<u16> = replicas.iter().flat_map(|workload| own_ports(workload)).collect();
    ports.into_iter().map(|port| (port, protocol(port, replicas.iter().copied()))).collect()
}

fn own_ports(workload: &Workload) -> impl Iterator<Item = u16> {
    let listening = workload.observed.iter().flat_map(|observed| &observed.listening);
    let all = workload.declared.ports.keys().chain(&workload.exposed).chain(listening).copied();
    all.filter(|port| !port::RESERVED.contains(port))
}

#[cfg(test)]
mod tests {
    use outrigger_model::mesh::RESERVED_PORTS;
    use outrigger_wire::port;

    #[test]
    fn the_mesh_file_refuses_the_ports_that_sidecars_use() {
        assert_eq!(RESERVED_PORTS, port::RESERVED);
    }
}
