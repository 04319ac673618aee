//! What all requests of one accepted connection have in common.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use outrigger_wire::Timeouts;

use super::error::BadMessage;
use super::head::Request;
use super::hop::{self, CLIENT_CERT, Caller};
use super::limits::Client;
use super::open::Attempts;
use super::pool::Announced;
use super::routed::Taken;
use super::time_left::GRPC_TIMEOUT;
use super::trace;
use crate::downstream::{Destination, Direction, Downstream, HttpKind};
use crate::rate::Admission;
use crate::telemetry::{Access, Carried, Edge, EdgeKey};
use crate::worker::{Ending, Worker};

/// An accepted connection.
pub(super) struct Origin {
    pub worker: Worker,
    pub downstream: Downstream,
    pub kind: HttpKind,
    pub ending: Ending,
    /// Connections to an application that wants PROXY headers.
    pub announced: Option<Box<Announced>>,
    _admission: Admission,
    caller: Caller,
    http: OnceCell<Arc<Edge>>,
    grpc: OnceCell<Arc<Edge>>,
}

impl Origin {
    pub fn new(worker: Worker, downstream: Downstream, kind: HttpKind, admission: Admission) -> Self {
        let ending = worker.ending(&downstream);
        let caller = Caller::new(downstream.remote.ip(), downstream.identity.as_ref());
        let announced = downstream.announce.clone().map(|header| Box::new(Announced::new(header)));
        Self {
            worker,
            downstream,
            kind,
            ending,
            announced,
            _admission: admission,
            caller,
            http: OnceCell::new(),
            grpc: OnceCell::new(),
        }
    }

    /// A peer's sidecar is at the other end: it understands "never delivered".
    pub fn is_mesh(&self) -> bool {
        self.downstream.is_mesh()
    }

    /// Who asks, as limits tell them apart.
    pub fn client(&self) -> Client {
        match self.downstream.direction {
            Direction::Outbound => Client::Application,
            Direction::Inbound if self.is_mesh() => Client::Mesh,
            Direction::Inbound => Client::Outside,
        }
    }

    /// A peer's sidecar had better send elsewhere what it sends now: this workload stops. (Where only the sidecar is
    /// replaced, the application serves on.)
    pub fn is_leaving(&self) -> bool {
        self.is_mesh() && self.ending.has_begun() && !self.worker.succession().has_begun()
    }

    /// This connection, while it waits for a request, is not to be waited for: a successor takes it, or it is forbidden.
    pub fn moves(&self) -> bool {
        self.worker.succession().has_begun() || self.ending.is_forbidden()
    }

    /// This connection takes no request after the one that runs. A successor takes plaintext ones over as they are.
    pub fn is_ending(&self) -> bool {
        let moves = !self.is_mesh() && self.worker.succession().has_begun();
        self.ending.is_forbidden() || (self.ending.has_begun() && !moves)
    }

    /// Who calls, where no route reads or changes what the application is told of it, and it is told in HTTP/1.
    pub fn told_in_text(&self) -> Option<&Caller> {
        let own = matches!(self.downstream.destination, Destination::Application(_));
        (own && self.is_mesh() && self.kind != HttpKind::Http2).then_some(&self.caller)
    }

    /// Counters of the traffic it belongs to.
    pub fn edge(&self, grpc: bool) -> &Edge {
        let (cell, carried) = if grpc { (&self.grpc, Carried::Grpc) } else { (&self.http, Carried::Http) };
        cell.get_or_init(|| self.worker.telemetry().edge(&self.edge_key(carried)))
    }

    /// A line of the access log; `received` are bytes of the request's body.
    pub fn log(
        &self,
        request: &Request,
        status: u16,
        received: u64,
        took: Duration,
        attempts: &Attempts,
        error: Option<&str>,
    ) {
        let key = self.edge(attempts.grpc).key();
        self.worker.telemetry().access(&Access {
            direction: key.direction.as_str(),
            peer: &key.peer,
            remote: &self.downstream.remote.to_string(),
            port: key.port,
            protocol: key.carried.as_str(),
            mtls: key.mtls,
            method: Some(request.method.as_str()),
            path: Some(attempts.asked(request)),
            status: Some(status),
            received,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            upstream: attempts.endpoint(),
            route: attempts.taken.as_ref().map(|taken| taken.route.name.as_str()),
            error,
            trace_id: trace::id(&request.headers),
            sent: None,
        });
    }

    fn edge_key(&self, carried: Carried) -> EdgeKey {
        let (down, generation) = (&self.downstream, self.worker.generation());
        let (peer, mtls) = (down.peer(&generation), down.mtls(&generation));
        EdgeKey { direction: down.direction, peer, port: down.port, mtls, carried }
    }

    /// From the head sent to the response's head; none where nobody set a limit.
    pub fn request_limit(&self, request: &Request, grpc: bool, taken: Option<&Taken>) -> Option<Duration> {
        let routed = taken.and_then(|taken| taken.route.timeout);
        if grpc {
            // A stream of events may be silent for hours before its first; the caller's own deadline counts, and a
            // route's, which is meant for it.
            let asked = request.headers.get(GRPC_TIMEOUT).and_then(grpc_timeout);
            let routed = routed.filter(|limit| !limit.is_zero());
            return asked.into_iter().chain(routed).min();
        }
        if let Some(limit) = routed {
            return (!limit.is_zero()).then_some(limit);
        }
        self.timeouts(taken).map(|t| t.request_ms).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// How long a request and its response may last, and how long nothing of them may move; none where nobody says.
    pub fn stream_limits(&self, taken: Option<&Taken>) -> (Option<Duration>, Option<Duration>) {
        let (said, route) = (self.timeouts(taken), taken.map(|taken| &taken.route));
        let one = |routed: Option<Duration>, ms: Option<u64>| {
            routed.or(ms.map(Duration::from_millis)).filter(|limit| !limit.is_zero())
        };
        (
            one(route.and_then(|route| route.stream), said.map(|said| said.stream_ms)),
            one(route.and_then(|route| route.stream_idle), said.map(|said| said.stream_idle_ms)),
        )
    }

    /// Whether requests carry the time that is left for them.
    pub fn passes_time_on(&self, taken: Option<&Taken>) -> bool {
        self.timeouts(taken).is_some_and(|timeouts| timeouts.pass_on)
    }

    /// No byte on an upgraded connection.
    pub fn idle_limit(&self) -> Option<Duration> {
        let ms = self.timeouts(None).unwrap_or_default().idle_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    fn timeouts(&self, taken: Option<&Taken>) -> Option<Timeouts> {
        if let Some(timeouts) = taken.and_then(|taken| taken.timeouts) {
            return Some(timeouts);
        }
        match &self.downstream.destination {
            Destination::Cluster { timeouts, .. } => Some(*timeouts),
            destination @ Destination::Endpoint { .. } => {
                Some(self.worker.generation().timeouts(destination))
            }
            Destination::Application(_) | Destination::Passthrough(_) => None,
        }
    }

    /// Makes a request ready to be sent on.
    ///
    /// # Errors
    /// CONNECT, or an HTTP/2 head that makes no HTTP/1 head: its authority and `host` differ, its path is none.
    pub fn prepare(&self, request: &mut Request) -> Result<(), BadMessage> {
        if request.method == http::Method::CONNECT {
            return Err(BadMessage::Connect);
        }
        let path = request.uri.path_and_query().map_or(request.uri.path(), PathAndQuery::as_str);
        let whole = path == "*" && request.method == http::Method::OPTIONS;
        if !path.starts_with('/') && !whole {
            return Err(BadMessage::Malformed(":path"));
        }
        let (host, several) = hop::host(&request.headers);
        match (request.uri.authority(), host) {
            _ if several => return Err(BadMessage::Malformed("host: more than one")),
            (Some(authority), Some(host)) if authority.as_str().as_bytes() != host.as_bytes() => {
                return Err(BadMessage::Malformed("host: differs from :authority"));
            }
            (Some(authority), ..) if authority.as_str().contains('@') => {
                return Err(BadMessage::Malformed(":authority"));
            }
            (None, None) => self.name_host(&mut request.headers),
            _ => {}
        }
        if self.downstream.direction == Direction::Inbound {
            if self.told_in_text().is_some() {
                // Only ours may be believed, here as there.
                if hop::has(&request.headers, &CLIENT_CERT) {
                    request.headers.remove(CLIENT_CERT);
                }
            } else {
                let authority = request.uri.authority().map(http::uri::Authority::as_str);
                self.caller.tell(&mut request.headers, authority);
            }
        }
        Ok(())
    }

    /// Gives a request that is in no trace a new one.
    pub fn begin_trace(&self, request: &mut Request) {
        trace::begin(&mut request.headers, || self.draw_trace());
    }

    /// A new trace, for a head in text.
    pub fn new_trace(&self) -> trace::New {
        trace::new(self.draw_trace())
    }

    fn draw_trace(&self) -> (u128, u64) {
        self.worker.draw(|rng| (rng.u128(..), rng.u64(..)))
    }

    /// RFC 9112 section 3.2: HTTP/1.0 need not say whom it calls, but what we send on must.
    fn name_host(&self, headers: &mut HeaderMap) {
        let name = match &self.downstream.destination {
            Destination::Cluster { cluster, .. } | Destination::Endpoint { cluster, .. } => cluster.clone(),
            Destination::Application(address) | Destination::Passthrough(address) => address.to_string(),
        };
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(header::HOST, name);
        }
    }
}

/// `application/grpc` and its variants, not `application/grpc-web`.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = hop::first(headers, &header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// gRPC over HTTP/2: up to 8 digits and a unit.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|n| *n < 100_000_000)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_grpc_and_when_it_is_late() {
        let grpc = |kind: &'static str| {
            is_grpc(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(grpc("application/grpc") && grpc("application/grpc+proto") && grpc("application/grpc;x=y"));
        assert!(!grpc("application/grpc-web") && !grpc("application/json"));
        let late = |text: &'static str| grpc_timeout(&HeaderValue::from_static(text));
        assert_eq!(late("200m"), Some(Duration::from_millis(200)));
        assert_eq!(late("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "m", "5", "-5m", "123456789S", "1x"] {
            assert_eq!(late(bad), None, "{bad}");
        }
    }
}
