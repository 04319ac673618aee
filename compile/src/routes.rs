//! Where requests go: routes as a sidecar reads them, and the clusters that they name.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::mesh::ServiceName;
use outrigger_model::route::{self, whole};
use outrigger_model::{ServiceKey, Snapshot, Workload};
use outrigger_wire as wire;

use crate::clusters::cluster_key;
use crate::policy::hash_on;
use crate::ports::ports_of;
use crate::service_key;
use crate::services::{Visible, milliseconds};

/// What a backend of a route stands for: a port of a service, or only the workloads of one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subset {
    pub service: ServiceKey,
    pub port: u16,
    pub version: Option<String>,
}

impl Subset {
    fn of(owner: &ServiceKey, called: u16, backend: &route::Backend) -> Self {
        let service = backend.service.as_ref().map_or_else(|| owner.clone(), |name| resolved(owner, name));
        Self { service, port: backend.port.unwrap_or(called), version: backend.version.clone() }
    }

    /// `cart.shop:8080`, or `cart.shop:8080/v2`.
    pub(crate) fn cluster_key(&self) -> String {
        let whole = cluster_key(&self.service, self.port);
        self.version.as_ref().map_or_else(|| whole.clone(), |version| format!("{whole}/{version}"))
    }
}

/// `cart` in the namespace of the service that has the route, or `cart.shop`.
fn resolved(owner: &ServiceKey, name: &str) -> ServiceKey {
    let said = ServiceName::parse(name);
    let namespace = said.as_ref().and_then(|said| said.namespace.clone());
    ServiceKey {
        namespace: namespace.unwrap_or_else(|| owner.namespace.clone()),
        service: said.map_or_else(|| name.to_owned(), |said| said.service),
    }
}

/// Routes come from the mesh file by the service's name, so all replicas have the same.
fn said<'a>(replicas: &[&'a Workload]) -> &'a [route::Route] {
    replicas.first().map_or(&[], |replica| &replica.declared.routes)
}

/// Byte streams are not routed.
pub(crate) fn is_routed(protocol: wire::Protocol) -> bool {
    protocol != wire::Protocol::Tcp
}

fn named(route: &route::Route) -> impl Iterator<Item = &route::Backend> {
    route.backends.iter().chain(route.filters.mirror.as_ref().map(|mirror| &mirror.to))
}

/// All that the routes of a service name.
pub(crate) fn backends(owner: &ServiceKey, replicas: &[&Workload]) -> BTreeSet<Subset> {
    let named: Vec<&route::Backend> = said(replicas).iter().flat_map(named).collect();
    if named.is_empty() {
        return BTreeSet::new();
    }
    let of_port = |port| named.iter().map(move |backend| Subset::of(owner, port, backend));
    let routed = ports_of(replicas).into_iter().filter(|(_, protocol)| is_routed(*protocol));
    routed.flat_map(|(port, _)| of_port(port)).collect()
}

/// The routes of one port of a service.
pub(crate) fn routes(
    owner: &ServiceKey,
    port: u16,
    replicas: &[&Workload],
    visible: &Visible<'_>,
) -> Vec<wire::Route> {
    let cluster = |backend: &route::Backend| {
        let subset = Subset::of(owner, port, backend);
        visible.replicas(&subset.service).is_some().then(|| subset.cluster_key())
    };
    let backend =
        |backend: &route::Backend| wire::Backend { cluster: cluster(backend), weight: backend.weight };
    let route = |(number, route): (usize, &route::Route)| wire::Route {
        name: name(number, route),
        matches: route.matches.iter().map(|said| one_match(owner, said)).collect(),
        backends: route.backends.iter().map(backend).collect(),
        sticky: route.sticky.as_ref().map(hash_on),
        request_ms: route.timeout.map(milliseconds),
        stream_ms: route.stream.map(milliseconds),
        stream_idle_ms: route.stream_idle.map(milliseconds),
        mirror: route
            .filters
            .mirror
            .as_ref()
            .map(|mirror| wire::Mirror { cluster: cluster(&mirror.to), share: mirror.share.0 }),
        ..filters(&route.filters)
    };
    (1..).zip(said(replicas)).map(route).collect()
}

/// A route with all of its filters but the mirror.
fn filters(said: &route::Filters) -> wire::Route {
    let edits = |edits: &route::HeaderEdits| wire::HeaderEdits {
        set: edits.set.clone(),
        add: edits.add.clone(),
        remove: edits.remove.clone(),
    };
    let path = |edit: &route::PathEdit| match edit {
        route::PathEdit::Prefix(path) => wire::PathEdit::Prefix(path.clone()),
        route::PathEdit::Full(path) => wire::PathEdit::Full(path.clone()),
    };
    let rewrite =
        wire::Rewrite { path: said.rewrite_path.as_ref().map(path), host: said.rewrite_host.clone() };
    wire::Route {
        request_headers: edits(&said.request_headers),
        response_headers: edits(&said.response_headers),
        rewrite: (rewrite != wire::Rewrite::default()).then_some(rewrite),
        redirect: said.redirect.as_ref().map(|redirect| wire::Redirect {
            scheme: redirect.scheme.clone(),
            host: redirect.host.clone(),
            path: redirect.path.as_ref().map(path),
            port: redirect.port,
            status: redirect.status,
        }),
        respond: said.respond.as_ref().map(|respond| wire::Respond {
            status: respond.status,
            body: respond.body.clone(),
            headers: respond.headers.clone(),
        }),
        fault: said.fault.as_ref().map(|fault| wire::Injected {
            delay_ms: fault.delay.map(milliseconds),
            abort: fault.abort,
            share: fault.share.0,
        }),
        ..wire::Route::default()
    }
}

pub(crate) fn one_match(owner: &ServiceKey, said: &route::RouteMatch) -> wire::RouteMatch {
    let text = |(name, value): (&String, &route::TextMatch)| {
        let value = match value {
            route::TextMatch::Exact(text) => wire::TextMatch::Exact(text.clone()),
            route::TextMatch::Regex(pattern) => wire::TextMatch::Regex(whole(pattern)),
        };
        (name.clone(), value)
    };
    let path = said.path.as_ref().map(|path| match path {
        route::PathMatch::Exact(path) => wire::PathMatch::Exact(path.clone()),
        route::PathMatch::Prefix(path) => wire::PathMatch::Prefix(path.clone()),
        route::PathMatch::Regex(pattern) => wire::PathMatch::Regex(whole(pattern)),
    });
    wire::RouteMatch {
        from: said.from.iter().map(|name| resolved(owner, name).to_string()).collect(),
        path: path.or_else(|| said.grpc.as_ref().and_then(call)),
        method: said.method.clone(),
        headers: said.headers.iter().map(text).collect(),
        query: said.query.iter().map(text).collect(),
        grpc: said.grpc.is_some(),
    }
}

/// gRPC over HTTP/2: the path is `/` service `/` method.
fn call(said: &route::GrpcMatch) -> Option<wire::PathMatch> {
    match (&said.service, &said.method) {
        (Some(service), Some(method)) => Some(wire::PathMatch::Exact(format!("/{service}/{method}"))),
        (Some(service), None) => Some(wire::PathMatch::Prefix(format!("/{service}"))),
        (None, Some(method)) => Some(wire::PathMatch::Call(method.clone())),
        (None, None) => None,
    }
}

/// A backend or mirror of a route that leads to nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadEnd {
    /// There is no such service.
    #[error(
        "route {route} of {service} leads to {backend}, and there is no such service: its share is answered with 500. Correct \
         mesh.yaml, or start it"
    )]
    NoService {
        /// The service that has the route.
        service: ServiceKey,
        /// The route.
        route: String,
        /// What it names.
        backend: ServiceKey,
    },
    /// No workload of the service has that version.
    #[error(
        "route {route} of {service} leads to version {version} of {backend}, and no workload has it: its share waits, and is \
         answered with 503. Start one with outrigger.version={version}, or correct mesh.yaml{known}"
    )]
    NoVersion {
        /// The service that has the route.
        service: ServiceKey,
        /// The route.
        route: String,
        /// Of which service.
        backend: ServiceKey,
        /// The version that it names.
        version: String,
        /// ` (there are v1, v2)`, or nothing.
        known: String,
    },
}

/// Backends with a weight, and mirrors, that lead to nobody in the whole mesh. What a single caller shares no network with
/// is not among them.
pub fn dead_ends(snapshot: &Snapshot) -> Vec<DeadEnd> {
    let mut services: BTreeMap<ServiceKey, Vec<&Workload>> = BTreeMap::new();
    for workload in snapshot.workloads.values().filter(|workload| !workload.one_off) {
        services.entry(service_key(workload)).or_default().push(workload);
    }
    let mut dead = Vec::new();
    for (service, replicas) in &services {
        for (number, route) in (1..).zip(said(replicas)) {
            for backend in named(route).filter(|backend| backend.weight > 0) {
                // Which port says nothing here.
                let subset = Subset::of(service, 0, backend);
                dead.extend(dead_end(service, &name(number, route), subset, &services));
            }
        }
    }
    dead
}

fn dead_end(
    service: &ServiceKey,
    route: &str,
    to: Subset,
    services: &BTreeMap<ServiceKey, Vec<&Workload>>,
) -> Option<DeadEnd> {
    let (service, route, backend) = (service.clone(), route.to_owned(), to.service);
    let Some(replicas) = services.get(&backend) else {
        return Some(DeadEnd::NoService { service, route, backend });
    };
    let version = to.version?;
    let known: BTreeSet<&str> = replicas.iter().filter_map(|w| w.declared.version.as_deref()).collect();
    if known.contains(version.as_str()) {
        return None;
    }
    let known = match known.is_empty() {
        true => String::new(),
        false => format!(" (there are {})", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Some(DeadEnd::NoVersion { service, route, backend, version, known })
}

fn name(number: usize, route: &route::Route) -> String {
    route.name.clone().unwrap_or_else(|| number.to_string())
}
