//! Where a request goes: an endpoint, or the own application, over a connection that is there or a new one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use outrigger_wire::Transport;
use tokio::time::Instant;

use super::error::{Broken, RequestError};
use super::h1::Conn;
use super::h2stream::H2Stream;
use super::head::{Request, Response};
use super::inbound;
use super::link::{Links, To};
use super::origin::Origin;
use super::pump::Pump;
use super::reply::is_overloaded;
use super::retry::{self, Retry};
use super::routed::Taken;
use super::sides::{Park, Up};
use super::sticky;
use crate::cluster::{Bound, Endpoint, Picked, Tried};
use crate::downstream::{Destination, HttpKind};
use crate::rate::{Fields, Place};
use crate::stream::Stream;
use crate::tls::Alpn;
use crate::upstream::{self, ConnectError};
use crate::worker::NoEndpoint;

/// To connect where no cluster says how long it may take.
const CONNECT: Duration = Duration::from_secs(2);
/// The same where a request has no shorter limit of its own.
const HOLD: Duration = Duration::from_secs(10);
/// Times that a request goes to a destination that is only one.
const MAX_SAME: u32 = 3;

/// What was tried for one request.
pub(super) struct Attempts {
    /// It is a call of gRPC, as it came.
    pub grpc: bool,
    /// What a route says, where the port has any.
    pub taken: Option<Taken>,
    /// What the client is told of rate limits that have let the request through.
    pub rated: Option<Box<Fields>>,
    /// Its place among those under way to the own application.
    pub place: Option<Place>,
    /// It brought no trace, and none was begun for it yet.
    pub untraced: bool,
    /// How long all attempts together may take; none: as long as they take.
    pub whole: Option<Duration>,
    pub(super) started: Instant,
    pub(super) tried: Tried,
    pub(super) picked: Option<Picked>,
    /// Take a new connection.
    fresh: bool,
    reused: bool,
    repeated: bool,
    /// A replica takes no more connections.
    crowded: bool,
    pub(super) count: u32,
    /// Informational responses that went out.
    pub(super) interim: u32,
    pub(super) retry: Option<Box<Retry>>,
}

/// How a request is to be sent.
pub(super) struct Terms {
    /// A connection that was used before will do, if it may still wait at that moment; none: it must be a new one.
    used: Option<Instant>,
    /// Longest wait for a stream.
    pub hold: Duration,
    /// The head is all there is.
    pub ended: bool,
    /// What goes out as text is to begin a trace.
    untraced: bool,
}

impl Attempts {
    /// None yet.
    pub fn new(started: Instant, grpc: bool) -> Self {
        let (tried, picked, retry) = (Tried::none(), None, None);
        let (fresh, reused, repeated, crowded) = (false, false, false, false);
        Self {
            grpc,
            taken: None,
            rated: None,
            place: None,
            untraced: false,
            whole: None,
            started,
            tried,
            picked,
            fresh,
            reused,
            repeated,
            crowded,
            count: 0,
            interim: 0,
            retry,
        }
    }

    /// Begins the trace of a request that brought none: somebody here speaks of it, or it may be sent again.
    pub fn begin_trace(&mut self, origin: &Origin, request: &mut Request) {
        if std::mem::take(&mut self.untraced) {
            origin.begin_trace(request);
        }
    }

    /// The request is on its way.
    pub fn sent_on(&mut self, up: &Up) {
        self.reused = up.was_reused();
    }

    /// When this attempt began. The clock is not read where nothing was waited for since the request came.
    pub fn began(&self) -> Instant {
        let delayed = self.taken.as_ref().is_some_and(|taken| taken.fault.delay.is_some());
        if self.count == 0 && !delayed { self.started } else { Instant::now() }
    }

    /// A connection that was used before will do, if it may still wait at that moment; none: it must be a new one.
    fn used(&self) -> Option<Instant> {
        (!self.fresh).then(|| self.began())
    }

    /// Longest wait for an endpoint, or for a stream of its connections.
    fn hold(&self) -> Duration {
        self.whole.unwrap_or(HOLD).min(HOLD)
    }

    fn terms(&self, ended: bool) -> Terms {
        let hold = self.limit().unwrap_or(HOLD).min(HOLD);
        Terms { used: self.used(), hold, ended, untraced: self.untraced }
    }

    /// The cluster that a route sends it to.
    fn cluster(&self) -> Option<&Arc<str>> {
        self.taken.as_ref()?.cluster.as_ref()
    }

    /// The path that the client asked for.
    pub fn asked<'a>(&'a self, request: &'a Request) -> &'a str {
        let asked = self.taken.as_ref().and_then(|taken| taken.asked.as_ref());
        asked.map_or_else(|| request.uri.path(), |asked| asked.path())
    }

    /// The endpoint that it was sent to last.
    pub fn endpoint(&self) -> Option<&str> {
        self.picked.as_ref().map(|picked| picked.endpoint.workload.as_str())
    }

    /// True if the request may be sent once more, by what is known of the last attempt.
    pub fn again(&mut self, origin: &Origin, error: &RequestError, request: &Request, upload: &Pump) -> bool {
        if upload.kept().is_none() || request.upgrade.is_some() && upload.bytes > 0 {
            return false;
        }
        let many = self.has_others(origin);
        match error {
            RequestError::Crowded(_) if many => {
                self.crowded = true;
                self.elsewhere()
            }
            RequestError::Connect { .. } if many => self.elsewhere(),
            RequestError::NotDelivered(_) if many => {
                if let Some(picked) = &self.picked {
                    picked.endpoint.failed();
                }
                self.elsewhere()
            }
            RequestError::NotDelivered(_) => {
                self.fresh = true;
                self.count < MAX_SAME
            }
            RequestError::Upstream(broken) => {
                // RFC 9110 section 9.2.2: idempotent methods may be repeated when a connection that was kept
                // alive breaks; once.
                let again = self.reused && !self.repeated && is_idempotent(&request.method) && is_end(broken);
                if let Some(picked) = self.picked.as_ref().filter(|_| is_end(broken)) {
                    picked.endpoint.failed();
                }
                self.repeated = true;
                self.fresh = true;
                again
            }
            _ => false,
        }
    }

    /// An upgrade that a full replica did not take, as byte streams are offered to others: no policy repeats one. To each
    /// once: each time is a connection.
    pub(super) fn is_sent_away(
        &self,
        origin: &Origin,
        request: &Request,
        response: &Response,
        upload: &Pump,
    ) -> bool {
        let to_peer = self.picked.as_ref().is_some_and(|picked| picked.endpoint.transport == Transport::Mesh);
        request.upgrade.is_some()
            && is_overloaded(&response.headers)
            && upload.bytes == 0
            && to_peer
            && self.tried.rounds == 0
            && self.has_others(origin)
    }

    fn has_others(&self, origin: &Origin) -> bool {
        matches!(origin.downstream.destination, Destination::Cluster { .. }) || self.cluster().is_some()
    }

    pub(super) fn elsewhere(&mut self) -> bool {
        if let Some(picked) = self.picked.take() {
            self.tried.add(&picked.endpoint);
            return true;
        }
        false
    }
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

/// The connection ended; a reset of the stream alone is an answer.
fn is_end(broken: &Broken) -> bool {
    match broken {
        Broken::Closed | Broken::Io(_) => true,
        Broken::Stream(error) => error.is_io(),
        Broken::Bad(_) | Broken::Stalled | Broken::Late(_) => false,
    }
}

/// Sends the head of a request; `ended` when there is no body.
///
/// # Errors
/// Nothing was sent.
pub(super) async fn open(
    origin: &Origin,
    request: &mut Request,
    attempts: &mut Attempts,
    ended: bool,
) -> Result<Up, RequestError> {
    let worker = &origin.worker;
    attempts.picked = None;
    if attempts.count > 0 {
        attempts.begin_trace(origin, request);
    }
    let routed = attempts.taken.as_ref().and_then(|taken| taken.cluster.as_deref());
    let (cluster, picked) = match (&origin.downstream.destination, routed) {
        (Destination::Endpoint { cluster, workload }, _) => {
            (cluster.as_str(), worker.pick_named(cluster, workload))
        }
        (Destination::Cluster { cluster: called, .. }, None) => (called.as_str(), {
            let hold = attempts.hold();
            worker.pick(called, &mut attempts.tried, hold, &|on| sticky::key(origin, on, request)).await
        }),
        (_, Some(routed)) => (routed, {
            let hold = attempts.hold();
            worker.pick(routed, &mut attempts.tried, hold, &|on| sticky::key(origin, on, request)).await
        }),
        (to @ (Destination::Application(address) | Destination::Passthrough(address)), None) => {
            if attempts.place.is_none() && matches!(to, Destination::Application(_)) {
                attempts.place = inbound::place(origin).await?;
            }
            if goes_in_frames(origin, request) {
                attempts.begin_trace(origin, request);
            }
            return to_application(origin, request, *address, &attempts.terms(ended)).await;
        }
    };
    let mut picked = picked.map_err(|why| match why {
        NoEndpoint::NoneTook if attempts.crowded => RequestError::Crowded(cluster.to_owned()),
        why => not_picked(cluster, why),
    })?;
    if !picked.enter(Bound::Requests) {
        return Err(not_picked(cluster, NoEndpoint::TooMany(Bound::Requests)));
    }
    let endpoint = picked.endpoint.clone();
    if attempts.count == 0 {
        retry::earn(&picked);
    }
    let kept = picked.policed().is_some_and(|cluster| cluster.policy.retries.is_some());
    attempts.picked = Some(picked);
    if attempts.untraced && (kept || endpoint.transport != Transport::Mesh && goes_in_frames(origin, request))
    {
        attempts.untraced = false;
        origin.begin_trace(request);
    }
    to_endpoint(origin, request, cluster, endpoint, &attempts.terms(ended)).await
}

/// It goes to an application, or is to, over HTTP/2. (What goes out as text gets its new trace there.)
fn goes_in_frames(origin: &Origin, request: &Request) -> bool {
    origin.kind == HttpKind::Http2 && request.upgrade.is_none()
}

fn not_picked(cluster: &str, why: NoEndpoint) -> RequestError {
    match why {
        NoEndpoint::TooMany(bound) => RequestError::Overloaded { cluster: cluster.to_owned(), bound },
        why => RequestError::NoEndpoint(format!("{cluster} ({why})")),
    }
}

async fn to_endpoint(
    origin: &Origin,
    request: &Request,
    cluster: &str,
    endpoint: Arc<Endpoint>,
    terms: &Terms,
) -> Result<Up, RequestError> {
    let worker = &origin.worker;
    // Asked for only when a connection is made.
    let limit =
        || worker.generation().clusters.get(cluster).map_or(CONNECT, |cluster| cluster.connect_timeout);
    let alpn = match (endpoint.transport, origin.kind) {
        // Only HTTP/1.1 switches.
        (_, HttpKind::Http2) if request.upgrade.is_none() => Alpn::H2,
        (Transport::Mesh, _) if request.upgrade.is_none() => Alpn::H2ForHttp1,
        (Transport::Mesh, _) => {
            let io = Box::pin(upstream::connect(worker, &endpoint, Alpn::Http1, limit()))
                .await
                .map_err(refused)?;
            return Ok(new(origin, io, request, None, terms));
        }
        (Transport::Plaintext, _) => {
            let park = Park::Outside(endpoint.address);
            if let Some(up) = idle(origin, request, park, terms) {
                return Ok(up);
            }
            let io = Box::pin(upstream::connect(worker, &endpoint, Alpn::Http1, limit()))
                .await
                .map_err(refused)?;
            return Ok(new(origin, io, request, Some(park), terms));
        }
    };
    over_link(origin, request, &To::Endpoint(endpoint, alpn), limit, terms).await
}

async fn to_application(
    origin: &Origin,
    request: &Request,
    address: SocketAddr,
    terms: &Terms,
) -> Result<Up, RequestError> {
    let announced = origin.announced.as_deref();
    if goes_in_frames(origin, request) {
        let to = match announced {
            Some(announced) => To::Announced(address, announced.header().clone(), announced.over()),
            None => To::Address(address),
        };
        return over_link(origin, request, &to, || CONNECT, terms).await;
    }
    let park = if announced.is_some() { Park::Announced(address) } else { Park::Address(address) };
    if let Some(up) = idle(origin, request, park, terms) {
        return Ok(up);
    }
    let header = announced.map(|announced| &**announced.header());
    let io = Box::pin(upstream::application(address, CONNECT, header)).await.map_err(refused)?;
    Ok(new(origin, io, request, Some(park), terms))
}

fn idle(origin: &Origin, request: &Request, park: Park, terms: &Terms) -> Option<Up> {
    let now = terms.used.filter(|_| request.upgrade.is_none())?;
    let conn = match park {
        Park::Address(address) | Park::Outside(address) => origin.worker.pools().idle.take(address, now)?,
        Park::Announced(_) => origin.announced.as_ref()?.take(now)?,
    };
    let trace = terms.untraced.then(|| origin.new_trace());
    Some(Up::start(origin, conn, request, Some(park), true, trace))
}

fn new(origin: &Origin, io: Stream, request: &Request, park: Option<Park>, terms: &Terms) -> Up {
    let trace = terms.untraced.then(|| origin.new_trace());
    Up::start(origin, Box::new(Conn::new(io, BytesMut::new())), request, park, false, trace)
}

async fn over_link(
    origin: &Origin,
    request: &Request,
    to: &To,
    limit: impl Fn() -> Duration,
    terms: &Terms,
) -> Result<Up, RequestError> {
    let (response, send, in_use) = Links::send(&origin.worker, to, limit, request, terms).await?;
    Ok(Up::H2 { response, stream: H2Stream { recv: None, send: (!terms.ended).then_some(send) }, in_use })
}

fn refused(error: ConnectError) -> RequestError {
    RequestError::Connect { why: error.to_string() }
}
