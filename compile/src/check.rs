//! How a sidecar asks its application: what the mesh file says, with the rest filled in.

use outrigger_model::Workload;
use outrigger_model::check::{Ask, HttpAsk};
use outrigger_wire as wire;

use crate::services::milliseconds;

/// The check of one workload; none: nobody asked for one.
pub(crate) fn check(workload: &Workload) -> Option<wire::Check> {
    let said = workload.declared.policy.check.as_ref()?;
    let ask = match said.ask.clone().unwrap_or(Ask::Tcp) {
        Ask::Off => return None,
        Ask::Tcp => wire::Ask::Tcp,
        Ask::Grpc(service) => wire::Ask::Grpc { service },
        Ask::Http(HttpAsk { path, host, headers, status, body }) => {
            wire::Ask::Http { path, host, headers, status, body }
        }
    };
    let preset = wire::Check::new(ask);
    Some(wire::Check {
        port: said.port.or_else(|| known_port(workload)),
        interval_ms: said.interval.map_or(preset.interval_ms, milliseconds),
        timeout_ms: said.timeout.map_or(preset.timeout_ms, milliseconds),
        healthy: said.healthy.unwrap_or(preset.healthy),
        unhealthy: said.unhealthy.unwrap_or(preset.unhealthy),
        ask: preset.ask,
    })
}

/// The lowest declared port, else the lowest exposed one. Ports that are only seen are the sidecar's to choose from: they
/// come and go.
fn known_port(workload: &Workload) -> Option<u16> {
    let own = |port: &&u16| !wire::port::RESERVED.contains(*port);
    let declared = workload.declared.ports.keys().find(own);
    declared.or_else(|| workload.exposed.iter().find(own)).copied()
}
