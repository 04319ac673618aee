//! The control socket: who calls is asked of the kernel and of the engine, then each sidecar has one stream.

mod peer;
mod seats;
mod session;
mod socket;
mod worlds;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_lifecycle::Tasks;
use outrigger_model::Snapshot;
use outrigger_wire::control::rpc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::attest::{Attestor, Caller};
use crate::identity::Authority;
use crate::problems::Problems;
use crate::proxies::Proxies;
use crate::status::Problem;

use peer::{Peer, PeerError};
use seats::Seats;
use session::Session;
use worlds::Worlds;

pub use socket::{EVERYBODY, OWNER, SocketError, listen};

/// A peer that is gone without a word is noticed after this and the next together.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a ping may stay unanswered: a busy machine is not a dead one.
const PING_ANSWER: Duration = Duration::from_secs(20);
/// Streams on one connection: one is used, another may follow before the first has ended.
const STREAMS: u32 = 4;
/// Messages on their way to one sidecar; one that lets more pile up does not read.
const QUEUE: usize = 16;
/// Pause when a connection cannot be accepted (no descriptor is free).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Pids whose refusal was logged already; forgotten all at once beyond.
const LOGGED: usize = 1024;

/// The socket, bound.
pub struct Control(UnixListener);

/// What streams are served from.
pub struct Desk {
    /// What is published.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Knows who calls.
    pub attestor: Attestor,
    /// Signs; or why nothing is signed.
    pub authority: Result<Authority, String>,
    /// Where what sidecars say is written.
    pub proxies: Proxies,
    /// Where problems are told.
    pub problems: Problems,
}

/// The desk and who sits at it.
struct Hall {
    desk: Desk,
    seats: Seats,
    worlds: Worlds,
    refused: Mutex<BTreeSet<u32>>,
}

/// Why a caller is turned away.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Peer(#[from] Arc<PeerError>),
    #[error(
        "process {0} is not a sidecar of this mesh: only the sidecars that this controller made are served"
    )]
    Stranger(u32),
    #[error("process {0} has ended since it connected")]
    Ended(u32),
}

impl Control {
    /// Binds the socket, for every user; a dead one is replaced.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        listen(path, EVERYBODY, "OUTRIGGER_CONTROL").await.map(Self)
    }

    /// Serves until it is dropped.
    pub async fn run(self, desk: Desk) {
        let hall = Arc::new(Hall {
            desk,
            seats: Seats::default(),
            worlds: Worlds::default(),
            refused: Mutex::default(),
        });
        let mut connections = Tasks::new();
        loop {
            tokio::select! {
                accepted = self.0.accept() => match accepted {
                    Ok((stream, _)) => connections.spawn("connection", serve(stream, hall.clone())),
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_ended) = connections.next_ended() => {}
            }
        }
    }
}

/// One connection. Its sessions end with it.
async fn serve(stream: UnixStream, hall: Arc<Hall>) {
    let peer = Arc::new(Peer::of(&stream).map_err(Arc::new));
    let (start, mut started) = mpsc::channel(1);
    let service = service_fn(|request| {
        let (hall, peer, start) = (hall.clone(), peer.clone(), start.clone());
        async move {
            let caller = match hall.attest(&peer).await {
                Ok(caller) => caller,
                Err(refusal) => {
                    hall.log(&peer, &refusal);
                    return Ok(Status::permission_denied(refusal.to_string()).into_http());
                }
            };
            let answer = rpc::answer(request, |up| {
                let (down, messages) = mpsc::channel(QUEUE);
                let session = Session::new(hall, caller, up, down);
                start.try_send(session).map_err(|_| Status::resource_exhausted("streams open too fast"))?;
                Ok(ReceiverStream::new(messages))
            });
            Ok::<_, std::convert::Infallible>(answer.await)
        }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    server.keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_ANSWER);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut sessions = Tasks::new();
    loop {
        tokio::select! {
            ended = &mut connection => {
                tracing::debug!(?ended, "control connection");
                return;
            }
            Some(session) = started.recv() => sessions.spawn("session", session.run()),
            Some(_ended) = sessions.next_ended() => {}
        }
    }
}

impl Hall {
    /// Who calls, proved: the pid must be that of a sidecar of ours, and still be the same process's afterwards.
    async fn attest(&self, peer: &Result<Peer, Arc<PeerError>>) -> Result<Caller, Refusal> {
        let peer = peer.as_ref().map_err(Arc::clone)?;
        let caller = self.desk.attestor.caller(peer.pid()).await.ok_or(Refusal::Stranger(peer.pid()))?;
        if peer.is_same() { Ok(caller) } else { Err(Refusal::Ended(peer.pid())) }
    }

    /// Each process once: it will try again.
    fn log(&self, peer: &Result<Peer, Arc<PeerError>>, refusal: &Refusal) {
        let Ok(peer) = peer else {
            // Not one caller's fault: nobody can be served.
            let problem =
                Problem { kind: "refused", subject: "control socket".into(), what: refusal.to_string() };
            return self.desk.problems.set("control socket", [problem].into());
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= LOGGED {
            refused.clear();
        }
        if refused.insert(peer.pid()) {
            tracing::warn!(%refusal, "refused on the control socket");
        }
    }
}

#[cfg(test)]
mod tests;
