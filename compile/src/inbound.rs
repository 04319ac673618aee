//! What a workload's own sidecar does about requests to its application.

use outrigger_model::rate::{Per, RateLimit};
use outrigger_model::{Workload, route};
use outrigger_wire::{self as wire, inbound};

use crate::routes::one_match;
use crate::service_key;

/// In the order of the mesh file.
pub(crate) fn rate_limits(workload: &Workload) -> Vec<wire::RateLimit> {
    let owner = service_key(workload);
    let matches = |said: &[route::RouteMatch]| said.iter().map(|said| one_match(&owner, said)).collect();
    let limit = |(number, said): (usize, &RateLimit)| wire::RateLimit {
        name: said.name.clone().unwrap_or_else(|| number.to_string()),
        matches: matches(&said.matches),
        per: said.per.as_ref().map(|per| match per {
            Per::Caller => inbound::Per::Caller,
            Per::Source => inbound::Per::Source,
            Per::Header(name) => inbound::Per::Header(name.clone()),
        }),
        requests: said.rate.requests,
        window_s: u32::try_from(said.rate.unit.time().as_secs()).unwrap_or(u32::MAX),
        burst: said.burst.unwrap_or_else(|| said.rate.burst()),
    };
    (1..).zip(workload.declared.rate_limits.iter()).map(limit).collect()
}

/// How much may be under way to the application.
pub(crate) fn capacity(workload: &Workload) -> wire::Capacity {
    let said = workload.declared.policy.bounds.and_then(|bounds| bounds.replica).unwrap_or_default();
    wire::Capacity {
        requests: said.requests.unwrap_or(0),
        pending: said.pending.unwrap_or(0),
        connections: said.connections.unwrap_or(0),
        streams: said.streams.unwrap_or(0),
    }
}
