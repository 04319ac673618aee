//! What routes say of one request.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::Uri;
use outrigger_wire::{HashOn, Timeouts};

use super::error::{BadMessage, RequestError};
use super::head::Request;
use super::inbound;
use super::open::Attempts;
use super::origin::Origin;
use super::sides::Down;
use super::sticky;
use super::time_left;
use super::trace;
use crate::downstream::Destination;
use crate::route::{Called, Drawn, Fault, Own, Route, is_copy};
use crate::telemetry::{RouteCounters, RouteKey};

/// A request that a route has taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The route.
    pub route: Arc<Route>,
    /// Where the request goes, if not to the called port's own cluster.
    pub cluster: Option<Arc<str>>,
    /// What the request is held to where it came from outside the mesh and goes on over it.
    pub timeouts: Option<Timeouts>,
    /// Where a copy goes.
    pub mirror: Option<Arc<str>>,
    /// What is done to it on purpose, before it is sent on.
    pub fault: Fault,
    /// What was asked for, where the route changes it.
    pub asked: Option<Box<Uri>>,
}

impl Taken {
    /// The counters of its route.
    pub fn counters(&self, origin: &Origin) -> &RouteCounters {
        self.route.counters.get_or_init(|| {
            let generation = origin.worker.generation();
            let destination = match &origin.downstream.destination {
                Destination::Application(_) => generation.own_service(),
                _ => origin.downstream.peer(&generation),
            };
            let (port, route) = (origin.downstream.port, self.route.name.clone());
            origin.worker.telemetry().route(RouteKey { destination, port, route })
        })
    }
}

/// Where a request goes, and how long it may take; or what a route answers itself.
///
/// # Errors
/// It goes nowhere: it is no request, this workload stops, it is over a rate limit, no route takes it, or its time is up.
pub(super) fn begin(
    origin: &Origin,
    request: &mut Request,
    attempts: &mut Attempts,
) -> Result<Option<Own>, RequestError> {
    origin.prepare(request)?;
    attempts.untraced = trace::is_unsaid(&request.headers) && !origin.worker.telemetry().logs_access();
    if !attempts.untraced {
        origin.begin_trace(request);
    }
    if origin.is_leaving() {
        return Err(RequestError::Draining);
    }
    attempts.rated = inbound::admit(origin, request, attempts)?;
    let own = take(origin, request, attempts)?;
    time_left::bound(origin, request, attempts)?;
    Ok(own)
}

/// Finds the route of a request and does to it what the route says. A port without routes leaves it as it is; some routes
/// answer themselves.
///
/// # Errors
/// The port has routes, and none takes the request, or the one that does leads nowhere, or puts a fault in.
fn take(
    origin: &Origin,
    request: &mut Request,
    attempts: &mut Attempts,
) -> Result<Option<Own>, RequestError> {
    let down = &origin.downstream;
    let (routes, edge) = match &down.destination {
        Destination::Cluster { cluster, .. } => (origin.worker.routes(cluster), None),
        // What comes over the mesh was routed by the caller's sidecar: never twice.
        Destination::Application(_) => match down.plaintext_port() {
            Some(port) => {
                let edge = origin.worker.edge_routes(port);
                (edge.as_ref().map(|edge| edge.routes.clone()), edge)
            }
            None => return Ok(None),
        },
        Destination::Endpoint { .. } | Destination::Passthrough(_) => return Ok(None),
    };
    let Some(routes) = routes else { return Ok(None) };
    if routes.speak_of_traces {
        attempts.begin_trace(origin, request);
    }
    let Request { method, uri, headers, .. } = &*request;
    let Some(found) = routes.find(method, uri, headers, attempts.grpc) else {
        return Err(RequestError::NoRoute(down.called(edge.as_deref())));
    };
    let (route, prefix, worker) = (found.route, found.prefix, &origin.worker);
    let called = if edge.is_some() { Called::from_outside(uri, headers) } else { Called::within(down.port) };
    let own = route.filters.own_answer(uri, headers, prefix, called);
    let taken = attempts.taken.insert(Taken {
        route: route.clone(),
        cluster: None,
        timeouts: None,
        mirror: worker.draw(|rng| route.filters.mirror(rng)).filter(|_| !is_copy(headers)),
        fault: Fault::default(),
        asked: None,
    });
    if own.is_some() {
        return Ok(own);
    }
    taken.fault = worker.draw(|rng| route.filters.fault(rng));
    let keyed = |on: &HashOn| sticky::key(origin, on, request);
    let key = route.sticky.as_ref().and_then(|on| worker.key(&worker.generation(), on, &keyed));
    match worker.draw(|rng| route.draw(rng, key)) {
        Drawn::Own => {}
        Drawn::Cluster(cluster) if edge.as_ref().is_some_and(|edge| edge.is_own(&cluster)) => {}
        Drawn::Cluster(cluster) => {
            taken.cluster = Some(cluster);
            taken.timeouts = edge.map(|edge| edge.timeouts);
        }
        Drawn::Nowhere => return Err(RequestError::NoBackend(route.name.clone())),
    }
    if route.filters.changes_uri() {
        taken.asked = Some(Box::new(uri.clone()));
    }
    let edited = route.filters.edit_request(&mut request.uri, &mut request.headers, prefix);
    edited.map_err(|what| RequestError::Bad(BadMessage::Malformed(what)))?;
    Ok(None)
}

/// Puts a fault in before the request is sent on.
///
/// # Errors
/// The fault says so, or the client left meanwhile.
pub(super) async fn injected(down: &mut Down<'_>, fault: Fault) -> Result<(), RequestError> {
    let mut delay = pin!(tokio::time::sleep(fault.delay.unwrap_or_default()));
    poll_fn(|cx| match (delay.as_mut().poll(cx), down.poll_failed(cx)) {
        (_, Poll::Ready(gone)) => Poll::Ready(Err(RequestError::ClientGone(gone))),
        (Poll::Ready(()), _) => Poll::Ready(Ok(())),
        (Poll::Pending, Poll::Pending) => Poll::Pending,
    })
    .await?;
    fault.abort.map_or(Ok(()), |status| Err(RequestError::Injected(status)))
}
