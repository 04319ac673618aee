//! The control stream: who calls is attested at the door, then each sidecar has one stream, whichever door it came by.
//! There are two: a Unix socket for sidecars of this host, and TLS for tasks of ECS elsewhere.

mod guest;
mod peer;
#[cfg(feature = "ecs")]
mod refusals;
mod seats;
mod session;
mod socket;
mod strangers;
#[cfg(feature = "ecs")]
pub mod tls;
mod worlds;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_lifecycle::Tasks;
use outrigger_model::Snapshot;
use outrigger_wire::control::rpc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::attest::Processes;
use crate::identity::Authority;
use crate::problems::Problems;
use crate::proxies::Proxies;

use guest::{Guest, Refusal};
use peer::Peer;
use seats::Seats;
use session::Session;
use strangers::Strangers;
use worlds::Worlds;

pub use socket::{EVERYBODY, OWNER, SocketError, listen};

/// A peer that is gone without a word is noticed after this and the next together.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a ping may stay unanswered: a busy machine is not a dead one.
const PING_ANSWER: Duration = Duration::from_secs(20);
/// From a connection to a proof that holds: STS and the view of ECS have their own limits, which add up to less.
const PROOF: Duration = Duration::from_secs(40);
/// For a guest that has had its stream, or was turned away, to read the end of it.
const FAREWELL: Duration = Duration::from_secs(5);
/// Messages on their way to one sidecar; one that lets more pile up does not read.
const QUEUE: usize = 16;
/// Pause when a connection cannot be accepted (no descriptor is free).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at refusals that may be forgotten.
const FORGET: Duration = Duration::from_secs(15);
/// Pids whose refusal was logged already; forgotten all at once beyond.
const LOGGED: usize = 1024;

/// Connections to the socket without a proof, of all users together. Sidecars of a whole host may wait for the first view.
const STRANGERS: usize = 2048;
/// Of one user: sidecars have one of their own, whom an application cannot keep out.
const STRANGERS_OF_ONE: usize = 1024;

/// The socket, bound.
pub struct Control(UnixListener);

/// What streams are served from.
pub struct Desk {
    /// What is published.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Signs; or why nothing is signed.
    pub authority: Result<Authority, String>,
    /// Where what sidecars say is written.
    pub proxies: Proxies,
    /// Where problems are told.
    pub problems: Problems,
}

/// The desk and who sits at it.
pub struct Hall {
    desk: Desk,
    seats: Seats,
    worlds: Worlds,
    refused: Mutex<BTreeSet<u32>>,
    /// Tasks of this host.
    #[cfg(feature = "ecs")]
    refusals: refusals::Refusals,
}

impl Hall {
    /// Opens it; doors lead into it.
    pub fn open(desk: Desk) -> Arc<Self> {
        let (seats, worlds, refused) = Default::default();
        Arc::new(Self {
            #[cfg(feature = "ecs")]
            refusals: refusals::Refusals::new("control socket of tasks", desk.problems.clone()),
            desk,
            seats,
            worlds,
            refused,
        })
    }

    /// Forgets refusals that were not repeated.
    fn forget(&self) {
        #[cfg(feature = "ecs")]
        self.refusals.forget();
    }

    /// Logs each process once: it will try again.
    fn log(&self, pid: u32, refusal: &Refusal) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= LOGGED {
            refused.clear();
        }
        if refused.insert(pid) {
            tracing::warn!(%refusal, "refused on the control socket");
        }
    }
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
    pub async fn run(self, hall: Arc<Hall>, attestor: Processes) {
        let (mut connections, mut forget) = (Tasks::new(), interval(FORGET));
        let strangers = Strangers::new(STRANGERS, STRANGERS_OF_ONE);
        loop {
            tokio::select! {
                accepted = self.0.accept() => match accepted {
                    Ok((stream, _)) => {
                        let user = stream.peer_cred().map_or(u32::MAX, |credentials| credentials.uid());
                        let Some(stranger) = strangers.admit(user) else { continue };
                        let (peer, stranger) = (Peer::of(&stream).map_err(Arc::new), Mutex::new(Some(stranger)));
                        let guest = Guest::Process { peer, attestor: attestor.clone(), stranger };
                        connections.spawn("connection", serve(stream, guest, hall.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_ended) = connections.next_ended() => {}
                _ = forget.tick() => hall.forget(),
            }
        }
    }
}

/// One connection. Its sessions end with it.
async fn serve<S>(stream: S, guest: Guest, hall: Arc<Hall>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = guest.limits();
    let (guest, turned_away) = (Arc::new(guest), Arc::new(Notify::new()));
    let (start, mut started) = mpsc::channel(1);
    let service = service_fn(|request: Request<Incoming>| {
        let (hall, guest, start, turned_away) =
            (hall.clone(), guest.clone(), start.clone(), turned_away.clone());
        async move {
            let caller = match guest.caller(&hall, request.headers()).await {
                Ok(caller) => caller,
                Err(refused) => {
                    turned_away.notify_one();
                    return Ok(refused.into_http());
                }
            };
            let answer = rpc::answer(request, |up| {
                let (down, messages) = mpsc::channel(QUEUE);
                let session = Session::new(hall, guest, caller, up, down);
                start.try_send(session).map_err(|_| Status::resource_exhausted("streams open too fast"))?;
                Ok(ReceiverStream::new(messages))
            });
            Ok::<_, std::convert::Infallible>(answer.await)
        }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).max_concurrent_streams(limits.streams);
    server.initial_stream_window_size(limits.window).initial_connection_window_size(limits.window);
    server.keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_ANSWER);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut sessions = Tasks::new();
    let mut end = Some(Instant::now() + PROOF);
    loop {
        tokio::select! {
            ended = &mut connection => {
                tracing::debug!(?ended, "control connection");
                return;
            }
            Some(session) = started.recv() => {
                sessions.spawn("session", session.run());
                end = None;
            }
            // Who has more to say dials again: a proof is good for one stream.
            Some(_ended) = sessions.next_ended() => if sessions.is_empty() {
                connection.as_mut().graceful_shutdown();
                end = Some(Instant::now() + FAREWELL);
            },
            () = turned_away.notified() => if sessions.is_empty() {
                connection.as_mut().graceful_shutdown();
                end = Some(Instant::now() + FAREWELL);
            },
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
        }
    }
}

#[cfg(test)]
mod tests;
