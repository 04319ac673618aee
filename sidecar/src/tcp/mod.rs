//! The life of a byte stream.

mod copy;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use outrigger_wire::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Bound, Picked, Tried};
use crate::downstream::{Destination, Downstream};
use crate::rate::{self, Place};
use crate::stream::Stream;
use crate::telemetry::{Access, Carried, Edge, EdgeKey};
use crate::tls::Alpn;
use crate::upstream::{self, ConnectError};
use crate::worker::{NoEndpoint, Worker};

/// First byte of the callee: the application is connected.
const CONNECTED: u8 = 0;
/// First byte of the callee: the application did not take the connection, nothing was delivered.
const NEVER_DELIVERED: u8 = 1;

/// To connect to the own application; it is in the same network namespace.
const TO_APPLICATION: Duration = Duration::from_secs(5);
/// To connect to a destination that is not the mesh's; may be far away.
const TO_ELSEWHERE: Duration = Duration::from_secs(30);
/// Longest wait for an endpoint; the worker shortens it to its own limit.
const HOLD: Duration = Duration::from_secs(10);

/// Why a byte stream did not get through to its destination.
#[derive(Debug, thiserror::Error)]
enum NotCarried {
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the callee's application did not take the connection")]
    NeverDelivered,
}

impl NotCarried {
    /// The endpoint is to blame.
    fn is_endpoints(&self) -> bool {
        !matches!(self, Self::NoEndpoint(_) | Self::Connect(ConnectError::NoIdentity))
    }
}

/// Carries bytes both ways until both sides are done, one breaks off, or nothing moves for the idle timeout.
/// `prefix` are bytes of the client that were read already. How it gets through is boxed: that is over when bytes move.
pub(crate) fn serve(
    io: Stream,
    prefix: BytesMut,
    downstream: Downstream,
    worker: Worker,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let downstream = Box::new(downstream);
    Box::pin(async move {
        let begun = Box::pin(begin(io, downstream, &worker)).await;
        let Some(Begun { carrying, io, upstream, idle }) = begun else { return };
        let ending = worker.ending(&carrying.downstream);
        let cut = ending.forbidden();
        let carried = copy::both_ways(&worker, io, upstream, prefix, idle, cut).await;
        carrying.done(&worker, &carried);
    })
}

/// What is known of a byte stream while it is carried.
struct Carrying {
    downstream: Box<Downstream>,
    edge: Arc<Edge>,
    in_flight: Option<Picked>,
    _place: Option<Place>,
    since: Instant,
}

/// A byte stream whose other side is there.
struct Begun {
    carrying: Carrying,
    io: Stream,
    upstream: Stream,
    idle: Duration,
}

/// Finds the other side; none where the client was told that there is none.
async fn begin(mut io: Stream, downstream: Box<Downstream>, worker: &Worker) -> Option<Begun> {
    let generation = worker.generation();
    let key = EdgeKey {
        direction: downstream.direction,
        peer: downstream.peer(&generation),
        port: downstream.port,
        mtls: downstream.mtls(&generation),
        carried: Carried::Tcp,
    };
    let edge = worker.telemetry().edge(&key);
    edge.connection();
    let idle = Duration::from_millis(generation.timeouts(&downstream.destination).idle_ms);
    drop(generation);
    let Ok(place) = place(worker, &downstream.destination) else {
        edge.connection_failed();
        tracing::debug!(peer = key.peer, port = key.port, "as many byte streams as may be are open");
        never_delivered(io, &downstream).await;
        return None;
    };
    let (upstream, in_flight) = match connect(worker, &downstream).await {
        Ok(connected) => connected,
        Err(error) => {
            edge.connection_failed();
            tracing::debug!(peer = key.peer, port = key.port, %error, "byte stream not carried");
            never_delivered(io, &downstream).await;
            return None;
        }
    };
    if downstream.identity.is_some() && io.write_all(&[CONNECTED]).await.is_err() {
        return None;
    }
    let carrying = Carrying { downstream, edge, in_flight, _place: place, since: Instant::now() };
    Some(Begun { carrying, io, upstream, idle })
}

/// Its place among the byte streams to the own application; none where they are not bounded.
///
/// # Errors
/// There is none.
fn place(worker: &Worker, destination: &Destination) -> Result<Option<Place>, rate::Bound> {
    let Destination::Application(_) = destination else { return Ok(None) };
    let Some((capacity, said)) = worker.capacity(|said| said.streams > 0) else { return Ok(None) };
    let place = capacity.enter(rate::Bound::Streams, said.streams);
    if place.is_none() {
        capacity.count_refused(rate::Bound::Streams);
    }
    place.map(Some).ok_or(rate::Bound::Streams)
}

impl Carrying {
    fn done(&self, worker: &Worker, carried: &copy::Carried) {
        self.edge.bytes(carried.received, carried.sent);
        if worker.telemetry().logs_access() {
            self.log(worker, carried);
        }
    }

    fn log(&self, worker: &Worker, carried: &copy::Carried) {
        let key = self.edge.key();
        worker.telemetry().access(&Access {
            direction: key.direction.as_str(),
            peer: &key.peer,
            remote: &self.downstream.remote.to_string(),
            port: key.port,
            protocol: key.carried.as_str(),
            mtls: key.mtls,
            upstream: self.in_flight.as_ref().map(|picked| picked.endpoint.workload.as_str()),
            received: carried.received,
            sent: Some(carried.sent),
            duration_us: u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..Access::default()
        });
    }
}

/// Tells a peer's sidecar, or resets: nothing was delivered.
async fn never_delivered(mut io: Stream, downstream: &Downstream) {
    if downstream.identity.is_none() {
        return io.reset_on_close();
    }
    let _caller_gone = io.write_all(&[NEVER_DELIVERED]).await;
    let _caller_gone = io.shutdown().await;
}

async fn connect(worker: &Worker, downstream: &Downstream) -> Result<(Stream, Option<Picked>), NotCarried> {
    match &downstream.destination {
        Destination::Application(address) => {
            let announce = downstream.announce.as_deref();
            Ok((upstream::application(*address, TO_APPLICATION, announce).await?, None))
        }
        Destination::Passthrough(address) => {
            worker.telemetry().passthrough();
            Ok((upstream::dial(*address, TO_ELSEWHERE).await?, None))
        }
        Destination::Endpoint { cluster, workload } => {
            let picked = admitted(worker.pick_named(cluster, workload)?)?;
            let stream = reach(worker, cluster, &picked).await?;
            Ok((stream, Some(picked)))
        }
        Destination::Cluster { cluster, .. } => balanced(worker, cluster).await,
    }
}

/// Nothing is delivered before an application took the connection, so any endpoint may be next.
async fn balanced(worker: &Worker, cluster: &str) -> Result<(Stream, Option<Picked>), NotCarried> {
    let mut tried = Tried::none();
    loop {
        let picked = admitted(worker.pick(cluster, &mut tried, HOLD, &|_| None).await?)?;
        let reached = reach(worker, cluster, &picked).await;
        picked.observe(matches!(&reached, Err(error) if error.is_endpoints()));
        match reached {
            Ok(stream) => return Ok((stream, Some(picked))),
            Err(error @ NotCarried::Connect(ConnectError::NoIdentity)) => {
                tracing::warn!(cluster, %error);
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(endpoint = picked.endpoint.workload, %error, "another endpoint is next");
                tried.add(&picked.endpoint);
            }
        }
    }
}

fn admitted(mut picked: Picked) -> Result<Picked, NoEndpoint> {
    let admitted = picked.enter(Bound::Streams);
    admitted.then_some(picked).ok_or(NoEndpoint::TooMany(Bound::Streams))
}

/// Connects to an endpoint and waits for its word that its application is connected.
async fn reach(worker: &Worker, cluster: &str, picked: &Picked) -> Result<Stream, NotCarried> {
    let endpoint = &picked.endpoint;
    let limit = worker.generation().clusters.get(cluster).map(|cluster| cluster.connect_timeout);
    let limit = limit.ok_or(NoEndpoint::NoCluster)?;
    let mut stream = upstream::connect(worker, endpoint, Alpn::Tcp, limit).await?;
    if endpoint.transport == Transport::Plaintext {
        return Ok(stream);
    }
    // The callee waits for its application at most `TO_APPLICATION`.
    match tokio::time::timeout(TO_APPLICATION + limit, stream.read_u8()).await {
        Ok(Ok(CONNECTED)) => Ok(stream),
        _ => {
            endpoint.failed();
            Err(NotCarried::NeverDelivered)
        }
    }
}
