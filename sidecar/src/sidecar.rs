//! The whole data path as a value: bound first, then run. No globals, so that tests run several in one process.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_lifecycle::{Drain, Ended, Pending, Readiness, Tasks, drain};
use outrigger_wire::control::Ejection;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin;
use crate::ejections;
use crate::handover::{HandOver, Inherited, Kept, Role, Succession, succeed, succeeded_by};
use crate::hosts::Hosts;
use crate::identity::Identity;
use crate::netns::Listening;
use crate::patience::Patience;
use crate::probe::{self, Said};
use crate::reclaim;
use crate::report::Reporter;
use crate::runtime::{Bound, Parts, Resolving, Runtime};
use crate::settings::AccessLog;
use crate::telemetry::Telemetry;

/// Between two looks at the hosts file: other programs write it too, and a look is one short read.
const MEND: Duration = Duration::from_secs(5);

/// From the word that the workload stops until its peers are refused: the controller has it within 0.2 s, and takes the
/// workload out of their endpoints, so that hardly anybody is refused.
const TAKEN_OUT: Duration = Duration::from_millis(500);

/// What a sidecar is made with.
pub struct Options {
    /// Threads of the data path; at least 1.
    pub workers: usize,
    /// Connections served at a time, over all workers; at least 1 each.
    pub connections: usize,
    /// Where `/metrics`, `/ready`, `/live` and `/config` are served.
    pub admin: SocketAddr,
    /// Access log on standard output.
    pub access_log: AccessLog,
    /// The identity, now and whenever it changes.
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
    /// Where the application listens, now and whenever it changes.
    pub listening: watch::Receiver<Listening>,
    /// How it takes another's place, and another takes its; none: it does neither.
    pub hand_over: Option<HandOver>,
    /// How long others may take.
    pub patience: Patience,
    /// The hosts file that it keeps; none: a configuration that wants one is refused.
    pub hosts: Option<Hosts>,
}

/// Why a sidecar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The admin address is taken.
    #[error("admin: cannot bind {address}: {source} (OUTRIGGER_ADMIN sets another address)")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No thread for the access log.
    #[error("access log: {0}")]
    AccessLog(#[source] io::Error),
}

/// How a sidecar came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection ended by itself.
    Drained,
    /// Connections still ran when the time was over: so many.
    Cut(u64),
    /// A task that runs for ever ended.
    Fault(Ended),
}

/// A sidecar that is bound and waits for its configuration.
pub struct Sidecar {
    runtime: Runtime,
    readiness: Readiness,
    listening: watch::Receiver<Listening>,
    admin: TcpListener,
    drain: Drain,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    resolvers: mpsc::UnboundedReceiver<Resolving>,
    configuration: Pending,
    certificate: Pending,
    succession: Succession,
    ejections: watch::Sender<Vec<Ejection>>,
    leaving: watch::Sender<bool>,
    /// What the health check says.
    checked: Arc<watch::Sender<Said>>,
    /// Why names are not in the hosts file.
    unnamed: watch::Receiver<String>,
    /// With the admin port's socket.
    hand_over: Option<(HandOver, Kept)>,
}

impl Sidecar {
    /// Binds the admin port and makes the runtime; listeners come with the first configuration.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: Options) -> Result<Self, StartError> {
        let Options { workers, connections, admin: address, access_log, identity, .. } = options;
        let Options { listening, hand_over, hosts, patience, .. } = options;
        let inherited = hand_over.as_ref().map(|hand_over| hand_over.inherited.clone()).unwrap_or_default();
        let refused = |source| StartError::Admin { address, source };
        let (admin, kept) = bind_admin(address, &inherited).map_err(refused)?;
        let (drain, draining, guard) = drain();
        let telemetry = match access_log {
            AccessLog::Off => Telemetry::default(),
            AccessLog::Json => Telemetry::with_access_log().map_err(StartError::AccessLog)?,
        };
        let (to_resolvers, resolvers) = mpsc::unbounded_channel();
        let unnamed = hosts.as_ref().map_or_else(|| watch::channel(String::new()).1, Hosts::fault);
        let (workers, succession) = (workers.max(1), Succession::default());
        let runtime = Runtime::new(Parts {
            workers,
            connections: (connections / workers).max(1),
            patience,
            telemetry,
            draining,
            left: watch::Sender::default(),
            guard: Some(guard),
            inherited,
            succession: succession.clone(),
            listening: listening.clone(),
            resolvers: to_resolvers,
            hosts,
        });
        let readiness = Readiness::default();
        let configuration = readiness.pending("configuration");
        let certificate = readiness.pending("certificate");
        Ok(Self {
            runtime,
            readiness,
            listening,
            admin,
            drain,
            identity,
            resolvers,
            configuration,
            certificate,
            succession,
            ejections: watch::Sender::default(),
            leaving: watch::Sender::default(),
            checked: Arc::default(),
            unnamed,
            hand_over: hand_over.map(|hand_over| (hand_over, kept)),
        })
    }

    /// Takes configurations, now and while it runs.
    pub fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// Ready once it has a configuration and a certificate.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Makes reports for the controller.
    pub fn reporter(&self) -> Reporter {
        Reporter {
            telemetry: self.runtime.telemetry().clone(),
            ready: self.readiness.watch(),
            listening: self.listening.clone(),
            ejections: self.ejections.subscribe(),
            since: (!self.succeeds()).then(tokio::time::Instant::now),
            wildcard: Arc::default(),
            configured: self.runtime.configured(),
            checked: self.checked.subscribe(),
            leaving: self.leaving.subscribe(),
            hosts: self.unnamed.clone(),
        }
    }

    /// Is told `true` once the workload is to stop while its application still runs: the controller is told, peers are
    /// sent elsewhere, and all that the application calls is carried on until the sidecar itself is to end.
    pub fn leaving(&self) -> watch::Sender<bool> {
        self.leaving.clone()
    }

    /// It takes another's place.
    fn succeeds(&self) -> bool {
        self.hand_over.as_ref().is_some_and(|(hand_over, _)| hand_over.predecessor.is_some())
    }

    fn prober(&self) -> probe::Parts {
        probe::Parts {
            configured: self.runtime.configured(),
            listening: self.listening.clone(),
            serving: self.succeeds(),
            said: self.checked.clone(),
            telemetry: self.runtime.telemetry().clone(),
        }
    }

    /// Where the admin port is.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `shutdown` says how long what runs may take to end, or until a successor is ready; then drains:
    /// listeners closed, connections told, and at once done when none is left.
    pub async fn run(self, shutdown: impl Future<Output = Duration>) -> Stopped {
        let mut tasks = Tasks::new();
        tasks.spawn("prober", probe::run(self.prober()));
        let Self {
            runtime,
            readiness,
            admin,
            drain,
            identity,
            resolvers,
            succession,
            hand_over,
            leaving,
            ..
        } = self;
        let (relieve, relieved) = watch::channel(());
        tasks.spawn("admin", admin::serve(admin, runtime.clone(), readiness.clone(), relieved));
        tasks.spawn("identity", follow(runtime.clone(), identity, self.certificate));
        tasks.spawn("readiness", configured(runtime.clone(), self.configuration));
        tasks.spawn("resolvers", resolve_all(resolvers));
        tasks.spawn("hosts", mend_hosts(runtime.clone()));
        tasks.spawn("memory", reclaim::after_bursts(runtime.telemetry().clone()));
        tasks.spawn("leaving", leave(runtime.clone(), readiness.clone(), leaving.subscribe()));
        tasks.spawn("ejections", ejections::watch(runtime.clone(), self.ejections));
        let (tell, mut succeeded) = oneshot::channel();
        if let Some((hand_over, admin)) = hand_over {
            tasks.spawn(
                "successor",
                succeeded_by(&hand_over, admin, runtime.clone(), readiness.clone(), tell),
            );
            tasks.spawn("predecessor", succeed(hand_over, runtime.clone(), readiness.clone()));
        }
        let (mut shutdown, mut fault) = (pin!(shutdown), None);
        let deadline = tokio::select! {
            deadline = &mut shutdown => deadline,
            Ok(left) = &mut succeeded => {
                tracing::info!(deadline = ?left.deadline, "a successor serves: leaving");
                relieve.send_replace(());
                runtime.hand_over_hosts();
                let deadline = left.deadline;
                tasks.spawn("connections", left.forward(succession.begin()));
                deadline
            }
            Some(ended) = tasks.next_ended() => {
                fault = Some(ended);
                Duration::ZERO
            }
        };
        // What the controller and probes see of a workload with a successor is the successor's.
        let _never_done = (!succession.has_begun()).then(|| readiness.pending("stopping"));
        runtime.close();
        let mut finish = pin!(drain.finish(deadline));
        let drained = tokio::select! {
            drained = &mut finish => drained,
            // Asked to stop while it leaves.
            sooner = shutdown, if succession.has_begun() => {
                tokio::time::timeout(sooner, finish).await.unwrap_or_default()
            }
        };
        let open = runtime.telemetry().open();
        runtime.stop();
        match fault {
            Some(ended) => Stopped::Fault(ended),
            None if drained => Stopped::Drained,
            None => Stopped::Cut(open),
        }
    }
}

/// Takes nothing new from peers once the workload is to stop.
async fn leave(runtime: Runtime, readiness: Readiness, mut leaving: watch::Receiver<bool>) {
    if leaving.wait_for(|leaving| *leaving).await.is_ok() {
        let _never_done = readiness.pending("stopping");
        tokio::time::sleep(TAKEN_OUT).await;
        tracing::info!("the workload stops: peers are sent elsewhere, its own calls are carried on");
        runtime.leave();
    }
    std::future::pending().await
}

async fn mend_hosts(runtime: Runtime) {
    loop {
        tokio::time::sleep(MEND).await;
        runtime.mend_hosts();
    }
}

/// The admin port, and a duplicate of it for a successor.
fn bind_admin(address: SocketAddr, inherited: &Inherited) -> io::Result<(TcpListener, Kept)> {
    let bound = match Bound::inherited(inherited.sockets(Role::Admin, "", address), 1)? {
        Some(bound) => bound,
        None => Bound::tcp(address, 1)?,
    };
    let socket = bound.listen()?.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let kept = Kept::new(Role::Admin, "", address, socket.try_clone()?.into());
    Ok((TcpListener::from_std(socket)?, kept))
}

async fn configured(runtime: Runtime, configuration: Pending) {
    if runtime.configured().wait_for(Option::is_some).await.is_ok() {
        configuration.done();
    }
    std::future::pending().await
}

async fn resolve_all(mut resolvers: mpsc::UnboundedReceiver<Resolving>) {
    let mut running = Tasks::new();
    loop {
        tokio::select! {
            Some(Resolving { resolver, names, stop, guard }) = resolvers.recv() => {
                running.spawn("resolver", async move {
                    resolver.run(names, stop).await;
                    drop(guard);
                });
            }
            Some(_stopped) = running.next_ended() => {}
            else => break,
        }
    }
}

async fn follow(
    runtime: Runtime,
    mut identity: watch::Receiver<Option<Arc<Identity>>>,
    certificate: Pending,
) {
    let mut certificate = Some(certificate);
    loop {
        let current = identity.borrow_and_update().clone();
        if let Some(current) = current {
            match runtime.identify(&current) {
                Ok(()) => {
                    if let Some(certificate) = certificate.take() {
                        certificate.done();
                    }
                }
                Err(error) => tracing::error!(%error, "the identity cannot be used"),
            }
        }
        if identity.changed().await.is_err() {
            // A static identity: it stays.
            std::future::pending::<()>().await;
        }
    }
}
