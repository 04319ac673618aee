//! Where calls go: one cluster for each port of each visible service, and for each backend that routes name.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use outrigger_model::policy::Zones;
use outrigger_model::{ServiceKey, Snapshot, Workload};
use outrigger_wire::{Catalog, Cluster, Endpoint, Shared, SpiffeId, Transport, port};

use crate::health::readiness;
use crate::identity;
use crate::policy::{balance, policy};
use crate::ports::ports_of;
use crate::routes::backends;
use crate::services::{Visible, milliseconds, shared_addresses};

/// Milliseconds to connect to an endpoint, TLS included: long for one host, short for a person. Unless mesh.yaml says another.
const CONNECT_TIMEOUT_MS: u64 = 2_000;

/// The `cluster` resources of one workload, by key (`cart.shop:8080`).
pub(crate) fn clusters(
    caller: &Workload,
    snapshot: &Snapshot,
    visible: &Visible<'_>,
) -> Catalog<Shared<Cluster>> {
    let mut clusters: BTreeMap<String, Shared<Cluster>> = BTreeMap::new();
    for (key, replicas) in visible.iter() {
        let Ok(identity) = identity(&snapshot.trust_domain, key) else { continue };
        for port in ports_of(replicas).into_keys() {
            clusters.insert(cluster_key(key, port), cluster(caller, key, replicas, port, &identity).into());
        }
        for backend in backends(key, replicas) {
            let Some(replicas) = visible.replicas(&backend.service) else { continue };
            let Ok(identity) = crate::identity(&snapshot.trust_domain, &backend.service) else { continue };
            clusters.entry(backend.cluster_key()).or_insert_with(|| {
                let mut cluster = cluster(caller, &backend.service, replicas, backend.port, &identity);
                let version = backend.version.as_deref();
                let replicas = replicas
                    .iter()
                    .filter(|replica| version.is_none() || replica.declared.version.as_deref() == version);
                cluster.endpoints =
                    replicas.filter_map(|replica| endpoint(caller, replica, backend.port)).collect();
                cluster.into()
            });
        }
    }
    clusters.into_iter().collect()
}

/// `cart.shop:8080`.
pub(crate) fn cluster_key(service: &ServiceKey, port: u16) -> String {
    format!("{service}:{port}")
}

fn cluster(
    caller: &Workload,
    key: &ServiceKey,
    replicas: &[&Workload],
    port: u16,
    identity: &SpiffeId,
) -> Cluster {
    let connect = replicas.first().and_then(|replica| replica.declared.timeouts.connect);
    // One service has one policy: where replicas have other labels, those of the first by name.
    let said = replicas.first().map(|replica| replica.declared.policy.clone()).unwrap_or_default();
    let (balance, hash_on) = balance(&said);
    Cluster {
        service: key.to_string(),
        port,
        identity: identity.clone(),
        connect_timeout_ms: connect.map_or(CONNECT_TIMEOUT_MS, milliseconds),
        policy: policy(&said),
        balance,
        hash_on,
        slow_start_ms: said.slow_start.map_or(0, milliseconds),
        endpoints: replicas.iter().filter_map(|replica| endpoint(caller, replica, port)).collect(),
    }
}

/// A replica without an address (not running) is no endpoint; one that is not ready is, so that it can be
/// called by its own name.
fn endpoint(caller: &Workload, replica: &Workload, port: u16) -> Option<Endpoint> {
    let mut addresses = shared_addresses(caller, replica);
    // Where there is no sidecar nobody would understand TLS, and nothing but the called port leads to the application.
    let (at, transport) = match &replica.outside {
        Some(outside) => (outside.port.unwrap_or(port), Transport::Plaintext),
        None => (replica.mesh_port.unwrap_or(port::MESH), Transport::Mesh),
    };
    Some(Endpoint {
        workload: replica.name.clone(),
        address: SocketAddr::new(addresses.next()?, at),
        also: addresses.collect(),
        transport,
        instance: replica.instance.clone().unwrap_or_default(),
        ready: readiness(replica, port).is_ok(),
        // One of 0 is not ready, which older sidecars understand, too.
        weight: replica.declared.weight.filter(|weight| *weight > 0).unwrap_or(Endpoint::WEIGHT),
        zone: replica.zone.clone().filter(|_| replica.declared.policy.zones != Some(Zones::Ignore)),
    })
}
