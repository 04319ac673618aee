use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;
use outrigger_model::WorkloadId;
use tonic::Status;

use super::Hall;
use super::peer::{Peer, PeerError};
#[cfg(feature = "ecs")]
use super::refusals::subject_of_task;
use super::strangers::Stranger;
#[cfg(feature = "ecs")]
use crate::attest::ContainerRefused;
use crate::attest::{Caller, Processes};
#[cfg(feature = "ecs")]
use crate::source::ecs::record::last_part;
use crate::status::Problem;

/// Who came in by one of the doors, and how it is found out who that is.
pub(super) enum Guest {
    /// A process of this host.
    Process {
        /// What the kernel says.
        peer: Result<Peer, Arc<PeerError>>,
        /// Knows whose it is.
        attestor: Processes,
        /// Counted until it is known.
        stranger: Mutex<Option<Stranger<u32>>>,
    },
    /// Somebody over TLS, who is to prove a task's role.
    #[cfg(feature = "ecs")]
    Task(super::tls::Guest),
}

/// What a connection may take.
pub(super) struct Limits {
    /// Streams at a time.
    pub streams: u32,
    /// Bytes that may be under way, and are kept for who does not read them.
    pub window: u32,
}

/// Why a process is turned away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Peer(#[from] Arc<PeerError>),
    #[error(
        "process {0} is not a sidecar of this mesh: only the sidecars that this controller made are served"
    )]
    Stranger(u32),
    #[error("process {0} has ended since it connected")]
    Ended(u32),
    #[cfg(feature = "ecs")]
    #[error(transparent)]
    Task(#[from] ContainerRefused),
}

impl Refusal {
    /// As the caller is told.
    fn status(&self) -> Status {
        match self {
            #[cfg(feature = "ecs")]
            Self::Task(refused) if refused.is_ours() => Status::unavailable(refused.to_string()),
            refused => Status::permission_denied(refused.to_string()),
        }
    }
}

impl Guest {
    pub(super) fn limits(&self) -> Limits {
        match self {
            // One is used, another may follow before the first has ended. The window is hyper's own.
            Self::Process { .. } => Limits { streams: 4, window: 1 << 20 },
            #[cfg(feature = "ecs")]
            Self::Task(_) => Limits { streams: 1, window: 1 << 16 },
        }
    }

    /// Who it is, proved; or what to tell it.
    #[cfg_attr(
        not(feature = "ecs"),
        expect(unused_variables, reason = "a process proves nothing in headers")
    )]
    pub(super) async fn caller(&self, hall: &Hall, headers: &HeaderMap) -> Result<Caller, Status> {
        match self {
            Self::Process { peer, attestor, stranger } => {
                let known = process(peer, attestor).await;
                if known.is_ok() {
                    stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
                }
                #[cfg(feature = "ecs")]
                of_task(hall, &known);
                known.map_err(|refusal| {
                    match peer {
                        Ok(peer) => hall.log(peer.pid(), &refusal),
                        Err(_) => nobody(hall, &refusal),
                    }
                    refusal.status()
                })
            }
            #[cfg(feature = "ecs")]
            Self::Task(guest) => guest.caller(headers).await,
        }
    }
}

/// What an open stream rested on, and does not any more: whoever is at the other end now, it is not who was let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    #[error("the process that was let in has ended")]
    Process,
    #[error("the task is over")]
    Task,
}

impl Guest {
    /// Resolves when a stream of this workload is to be cut. One that is to stop is not over: it still hears orders.
    pub(super) async fn over(&self, workload: &WorkloadId) -> Over {
        match self {
            Self::Process { peer, attestor, .. } => {
                let ended = async {
                    match peer {
                        Ok(peer) => peer.ended().await,
                        Err(_nobody_is_let_in) => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = ended => Over::Process,
                    () = attestor.over(workload) => Over::Task,
                }
            }
            #[cfg(feature = "ecs")]
            Self::Task(guest) => {
                guest.over(workload).await;
                Over::Task
            }
        }
    }
}

/// The pid must be that of a sidecar of ours, and still be the same process's afterwards.
async fn process(peer: &Result<Peer, Arc<PeerError>>, attestor: &Processes) -> Result<Caller, Refusal> {
    let peer = peer.as_ref().map_err(Arc::clone)?;
    let caller = match attestor {
        Processes::Docker(known) => known.caller(peer.pid()).await.ok_or(Refusal::Stranger(peer.pid()))?,
        #[cfg(feature = "ecs")]
        Processes::Ecs(known) => known.caller(peer.pid()).await?,
    };
    if peer.is_same() { Ok(caller) } else { Err(Refusal::Ended(peer.pid())) }
}

/// A task that is turned away is shown until it is let in or gone.
#[cfg(feature = "ecs")]
fn of_task(hall: &Hall, known: &Result<Caller, Refusal>) {
    match known {
        Ok(caller) => hall.refusals.admitted(&[subject_of_task(last_part(&caller.workload.0))]),
        Err(Refusal::Task(refused)) => {
            if let Some(task) = refused.task() {
                hall.refusals.refused(subject_of_task(task), refused.to_string());
            }
        }
        Err(_) => {}
    }
}

/// Not one caller's fault: nobody can be served.
fn nobody(hall: &Hall, refusal: &Refusal) {
    let problem = Problem { kind: "refused", subject: "control socket".into(), what: refusal.to_string() };
    hall.desk.problems.set("control socket", [problem].into());
}
