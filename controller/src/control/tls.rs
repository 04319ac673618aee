//! The door for sidecars that are not on this host. TLS proves the controller: its certificate is made here in memory,
//! signed by the mesh's root, and the root goes along, for sidecars know it by its hash. The sidecar then proves its task,
//! on this very connection; until it has, a connection may take little memory and little time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use outrigger_lifecycle::Tasks;
use outrigger_model::WorkloadId;
use outrigger_wire::control::pin::Pin;
use outrigger_wire::control::proof::{EXPORTER, Exported, Proof, binding};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::Status;

use super::refusals::{Refusals, subject_of_task};
use super::strangers::{Stranger, Strangers};
use super::{ACCEPT_PAUSE, FORGET, Hall, guest, serve};
use crate::attest::task::{TaskAttestor, TaskRefused};
use crate::attest::{Caller, Pace};
use crate::identity::{Authority, SignError};

/// For a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections without a proof, of all addresses together: each may hold some 100 KiB.
const STRANGERS: usize = 512;
/// Of one address: a host in bridge mode has its tasks behind one.
const STRANGERS_OF_ONE: usize = 64;

/// Handshakes of one address that lead to no proof which holds: what they cost is ours. A host that starts all its tasks at
/// once, while the controller does not know them yet, stays below.
const BURST: f64 = 256.0;
/// So many more in a second.
const PER_SECOND: f64 = 8.0;

/// The TLS listener, bound.
pub struct TlsControl {
    listener: TcpListener,
}

/// Why there is no TLS listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for sidecars on {address} ({source}): choose another in OUTRIGGER_CONTROL_LISTEN")]
pub struct TlsError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// What all connections of the door share.
struct Door {
    hall: Arc<Hall>,
    tasks: TaskAttestor,
    root: Pin,
    refusals: Refusals,
    strangers: Arc<Strangers<IpAddr>>,
    pace: Pace,
}

/// Somebody whose TLS handshake is done.
pub(super) struct Guest {
    door: Arc<Door>,
    address: IpAddr,
    bound_to: String,
    asked: AtomicBool,
    stranger: Mutex<Option<Stranger<IpAddr>>>,
}

/// The certificate in use.
struct Leaf {
    config: Arc<ServerConfig>,
    renew: SystemTime,
    made: SystemTime,
}

impl TlsControl {
    /// Binds the address.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn bind(address: SocketAddr) -> Result<Self, TlsError> {
        let listener = TcpListener::bind(address).await.map_err(|source| TlsError { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system refuses.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped. Without a root nobody could believe the controller: then it serves nobody.
    pub async fn run(self, hall: Arc<Hall>, tasks: TaskAttestor) {
        let Ok(authority) = &hall.desk.authority else {
            // Told as a problem already. Callers are left waiting outside: a reset would look like an absent controller.
            return std::future::pending().await;
        };
        let root = Pin::of(authority.root());
        if let Ok(address) = self.address() {
            tracing::info!(%address, pin = %root, "control listens for sidecars of other hosts");
        }
        let refusals = Refusals::new("control listener", hall.desk.problems.clone());
        let strangers = Strangers::new(STRANGERS, STRANGERS_OF_ONE);
        let pace = Pace::new(BURST, PER_SECOND);
        let door = Arc::new(Door { hall: hall.clone(), tasks, root, refusals, strangers, pace });
        let (mut leaf, mut connections, mut forget) = (None, Tasks::new(), interval(FORGET));
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let Some(stranger) = door.admit(from.ip().to_canonical()) else { continue };
                        match current(&mut leaf, authority) {
                            Ok(config) => {
                                connections.spawn("connection", welcome(stream, stranger, config, door.clone()));
                            }
                            Err(error) => tracing::error!(%error, "no certificate for the controller itself"),
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control listener cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_ended) = connections.next_ended() => {}
                _ = forget.tick() => door.refusals.forget(),
            }
        }
    }
}

/// One connection, from its first byte.
async fn welcome(stream: TcpStream, stranger: Stranger<IpAddr>, config: Arc<ServerConfig>, door: Arc<Door>) {
    let _small_messages_at_once = stream.set_nodelay(true);
    let tls = match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(tls)) => tls,
        failed => {
            tracing::debug!(from = %stranger.from, error = ?failed.map(|done| done.err()), "no TLS handshake");
            return;
        }
    };
    let exported = tls.get_ref().1.export_keying_material(Exported::default(), EXPORTER, None);
    let Ok(exported) = exported else { return };
    let address = stranger.from;
    let bound_to = binding(door.root, &exported);
    let hall = door.hall.clone();
    let stranger = Mutex::new(Some(stranger));
    let guest = Guest { door, address, bound_to, asked: AtomicBool::default(), stranger };
    serve(tls, guest::Guest::Task(guest), hall).await;
}

impl Door {
    /// Counts a connection, if it may be there.
    fn admit(&self, address: IpAddr) -> Option<Stranger<IpAddr>> {
        let stranger = self.strangers.admit(address)?;
        self.pace.take(address, Instant::now()).then_some(stranger)
    }
}

impl Guest {
    /// The task that it proves to be, once; or what to tell it.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        if self.asked.swap(true, Ordering::Relaxed) {
            return Err(Status::permission_denied(
                "a connection has one stream: dial again, with another proof",
            ));
        }
        let proof = Proof::read(headers);
        match self.door.tasks.caller(proof, &self.bound_to, self.address).await {
            Ok(caller) => {
                self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.door.pace.give_back(self.address, Instant::now());
                let task = crate::source::ecs::record::last_part(&caller.workload.0);
                self.door.refusals.admitted(&[subject_of_task(task), self.address.to_string()]);
                Ok(caller)
            }
            Err(refused) => Err(self.refuse(&refused)),
        }
    }

    /// Resolves once its task is over.
    pub(super) async fn over(&self, workload: &WorkloadId) {
        self.door.tasks.over(workload).await;
    }

    fn refuse(&self, refused: &TaskRefused) -> Status {
        if refused.is_news() {
            let subject = refused.task().map_or_else(|| self.address.to_string(), subject_of_task);
            self.door.refusals.refused(subject, refused.to_string());
        }
        match refused {
            refused if refused.is_ours() => Status::unavailable(refused.to_string()),
            TaskRefused::Pause(_) => Status::unavailable(refused.to_string()),
            refused => Status::permission_denied(refused.to_string()),
        }
    }
}

/// The certificate now; a new one after half of its life, or where the clock was set back.
fn current(leaf: &mut Option<Leaf>, authority: &Authority) -> Result<Arc<ServerConfig>, SignError> {
    let now = SystemTime::now();
    match leaf {
        Some(leaf) if leaf.made <= now && now < leaf.renew => Ok(leaf.config.clone()),
        _ => {
            let (chain, key) = authority.controller(now)?;
            let provider = Arc::new(default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
            let mut config = config.map_err(|error| SignError::Own(error.to_string()))?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            // Each connection needs a proof of its own: there is nothing to resume.
            config.send_tls13_tickets = 0;
            let config = Arc::new(config);
            let renew = now + authority.lifetime() / 2;
            *leaf = Some(Leaf { config: config.clone(), renew, made: now });
            Ok(config)
        }
    }
}
