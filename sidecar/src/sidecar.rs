//! The whole data path as a value: bound first, then run. No globals, so that tests run several in one process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_lifecycle::{Drain, Ended, Pending, Readiness, Tasks, drain};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::admin;
use crate::identity::Identity;
use crate::netns::Listening;
use crate::report::Reporter;
use crate::runtime::{Bound, Parts, Resolving, Runtime};
use crate::settings::AccessLog;
use crate::telemetry::Telemetry;

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
    /// Connections still ran when the time was over.
    Cut,
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
        let Options { workers, connections, admin: address, access_log, identity, listening } = options;
        let bound = Bound::tcp(address, 1).and_then(Bound::listen);
        let admin = bound.and_then(|mut sockets| sockets.pop().map(TcpListener::from_std).transpose());
        let refused = |source| StartError::Admin { address, source };
        let admin = admin.map_err(refused)?.ok_or_else(|| refused(io::ErrorKind::AddrNotAvailable.into()))?;
        let (drain, draining, guard) = drain();
        let telemetry = match access_log {
            AccessLog::Off => Telemetry::default(),
            AccessLog::Json => Telemetry::with_access_log().map_err(StartError::AccessLog)?,
        };
        let (to_resolvers, resolvers) = mpsc::unbounded_channel();
        let workers = workers.max(1);
        let runtime = Runtime::new(Parts {
            workers,
            connections: (connections / workers).max(1),
            telemetry,
            draining,
            guard: Some(guard),
            listening: listening.clone(),
            resolvers: to_resolvers,
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
        let (telemetry, listening) = (self.runtime.telemetry().clone(), self.listening.clone());
        Reporter { telemetry, ready: self.readiness.watch(), listening }
    }

    /// Where the admin port is.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `shutdown` says how long what runs may take to end, then drains: not ready, listeners closed,
    /// connections told, and at once done when none is left. Returns true when all connections ended by themselves.
    pub async fn run(self, shutdown: impl Future<Output = Duration>) -> Stopped {
        let Self {
            runtime,
            readiness,
            admin,
            drain,
            identity,
            mut resolvers,
            configuration,
            certificate,
            ..
        } = self;
        let mut tasks = Tasks::new();
        tasks.spawn("admin", admin::serve(admin, runtime.clone(), readiness.clone()));
        tasks.spawn("identity", follow(runtime.clone(), identity, certificate));
        let mut configured = runtime.configured();
        tasks.spawn("readiness", async move {
            if configured.wait_for(Option::is_some).await.is_ok() {
                configuration.done();
            }
            std::future::pending::<()>().await;
        });
        tasks.spawn("resolvers", async move {
            let mut running = Tasks::new();
            loop {
                tokio::select! {
                    Some(next) = resolvers.recv() => running.spawn("resolver", resolve(next)),
                    Some(_stopped) = running.next_ended() => {}
                    else => break,
                }
            }
        });
        let (deadline, fault) = tokio::select! {
            deadline = shutdown => (deadline, None),
            Some(ended) = tasks.next_ended() => (Duration::ZERO, Some(ended)),
        };
        let _never_done = readiness.pending("stopping");
        runtime.close();
        let drained = drain.finish(deadline).await;
        runtime.stop();
        match fault {
            Some(ended) => Stopped::Fault(ended),
            None if drained => Stopped::Drained,
            None => Stopped::Cut,
        }
    }
}

async fn resolve(Resolving { resolver, names, mut stop }: Resolving) {
    tokio::select! {
        () = resolver.run(names) => {}
        _ = stop.changed() => {}
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
