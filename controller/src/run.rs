//! The life of a controller, from its settings to its end.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_lifecycle::{Ended, Pending, Tasks};
use outrigger_model::Snapshot;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::admin::socket::{self, AdminSocket};
use crate::attest::Attestor;
use crate::board::Board;
use crate::control::{Control, Desk, SocketError};
use crate::heal::Healer;
use crate::identity::{self, Authority};
use crate::indices::Indices;
use crate::inject::Injector;
use crate::inject::farewell::farewell;
use crate::inject::launches::Launches;
use crate::inject::template::{TemplateError, Templates};
use crate::mesh::Mesh;
use crate::scope::Scope;
use crate::settings::Settings;
use crate::source::docker::neighbours;
use crate::source::docker::watch::{Seen, watch};
use crate::source::file;
use crate::source::file::watch::MeshFile;
use crate::status::Problem;
use crate::surroundings::{Surroundings, SurroundingsError, surroundings};
use crate::upgrade::{Upgrader, upgrades};

/// Why a controller could not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What the user must set.
    #[error(transparent)]
    Surroundings(#[from] SurroundingsError),
    /// A template that cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The admin address.
    #[error("cannot listen on {address} ({source}): choose another in OUTRIGGER_ADMIN")]
    Admin {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// The state directory.
    #[error(
        "the state directory {path} cannot be made ({source}): mount a volume there, or set OUTRIGGER_STATE"
    )]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part that should run for ever has ended.
    #[error("a part of the controller has ended by itself: {0}")]
    Part(String),
}

impl RunError {
    /// 64 for what the user must set, 1 for a failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Surroundings(_) | Self::Template(_) => 64,
            Self::Admin { .. } | Self::Control(_) | Self::State { .. } | Self::Part(_) => 1,
        }
    }
}

/// Runs until `shutdown` resolves, then waits for sidecars that leave together with it.
///
/// # Errors
/// It cannot start, or a part of it fails.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let templates = Templates::load(settings.templates.as_deref())?;
    let address = settings.admin;
    let admin = Admin::bind(address).await.map_err(|source| RunError::Admin { address, source })?;
    let state = settings.state.clone();
    std::fs::create_dir_all(&state).map_err(|source| RunError::State { path: state.clone(), source })?;

    // Sidecars that wait for a controller may dial from here on; they are answered once it knows its place.
    let control = Control::bind(&settings.control).await?;

    let (tell_seen, seen) = watch::channel(Seen::default());
    let (publish, snapshot) = watch::channel(Arc::new(Snapshot::default()));
    let (tell_file, file) = watch::channel(MeshFile::default());
    let board = Board::new(&settings.trust_domain, seen.clone(), file.clone(), snapshot);
    let readable = board.readiness.pending("a mesh file that can be read, or none");
    let whole = board.readiness.pending("a whole view of Docker");
    let mut parts = Tasks::new();
    parts.spawn("admin", admin.serve(board.clone()));
    parts.spawn("mesh file", file::watch::watch(mesh_file(&settings), tell_file));

    let found = tokio::select! {
        found = surroundings(&settings, &tell_seen) => found?,
        () = &mut shutdown => return Ok(()),
    };
    let scope = board.scope.get_or_init(|| found.scope.clone()).clone();
    tracing::info!(mesh = scope.mesh, scope = scope.describe(), "found my place");

    parts.spawn("docker", watch(settings.docker_host.clone(), scope.clone(), tell_seen));
    let mesh = Mesh {
        scope: scope.clone(),
        trust_domain: settings.trust_domain.clone(),
        indices: Indices::load(&state),
        problems: board.problems.clone(),
        proxies: board.proxies.clone(),
    };
    parts.spawn("mesh", mesh.run(seen.clone(), file.clone(), publish));
    let names =
        neighbours::follow(settings.docker_host.clone(), board.proxies.clone(), board.neighbours.clone());
    parts.spawn("neighbours", names);
    parts.spawn("control", control.run(desk(&settings, &board, &scope)));
    let injector = injector(&settings, &board, found, templates);
    let launches = injector.launches.clone();
    let (upgrades, orders) = upgrades();
    parts.spawn("upgrade", upgrader(&injector, &seen).run(orders));
    match AdminSocket::bind(&state).await {
        Ok(socket) => parts.spawn("admin socket", socket.serve(board.clone(), upgrades)),
        Err(error) => {
            let (subject, what) = (state.join(socket::FILE).display().to_string(), error.to_string());
            board.problems.set("admin socket", [Problem { kind: "state", subject, what }].into());
        }
    }
    parts.spawn("injection", injector.run(seen.clone()));
    parts.spawn("healing", healer(&settings, &board, &scope).run(seen.clone()));
    parts.spawn("first view", first_view(seen.clone(), whole));
    parts.spawn("first mesh file", first_file(file, readable));

    tokio::select! {
        () = shutdown => {}
        ended = parts.next_ended() => return Err(RunError::Part(describe(ended))),
    }
    farewell(seen, &scope, &launches).await;
    Ok(())
}

fn mesh_file(settings: &Settings) -> file::watch::Place {
    let path = settings.mesh_file.clone();
    file::watch::Place {
        asked: path.is_some(),
        path: path.unwrap_or_else(|| file::watch::DEFAULT.into()),
        state: settings.state.clone(),
    }
}

async fn first_view(mut seen: watch::Receiver<Seen>, whole: Pending) {
    if seen.wait_for(|seen| seen.current).await.is_ok() {
        whole.done();
    }
    std::future::pending().await
}

async fn first_file(mut file: watch::Receiver<MeshFile>, readable: Pending) {
    if file.wait_for(|file| file.mesh.is_some()).await.is_ok() {
        readable.done();
    }
    std::future::pending().await
}

/// What the control socket serves from. A root that cannot be used stops signing and nothing else.
fn desk(settings: &Settings, board: &Board, scope: &Scope) -> Desk {
    let lifetime = Duration::from_secs(settings.certificate_lifetime);
    let authority = Authority::open(&settings.state, &settings.trust_domain, lifetime).map_err(|error| {
        let (subject, what) = (settings.state.join(identity::FILE).display().to_string(), error.to_string());
        board.problems.set("authority", [Problem { kind: "state", subject, what: what.clone() }].into());
        what
    });
    Desk {
        snapshot: board.snapshot.clone(),
        attestor: Attestor::new(board.seen.clone(), scope.clone()),
        authority,
        proxies: board.proxies.clone(),
        problems: board.problems.clone(),
    }
}

fn healer(settings: &Settings, board: &Board, scope: &Scope) -> Healer {
    Healer {
        host: settings.docker_host.clone(),
        scope: scope.clone(),
        problems: board.problems.clone(),
        proxies: board.proxies.clone(),
    }
}

fn injector(settings: &Settings, board: &Board, found: Surroundings, templates: Templates) -> Injector {
    let directory = settings.control.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let mut env = vec![format!("OUTRIGGER_CONTROL={}", settings.control.display())];
    if settings.log != Settings::default().log {
        env.push(format!("OUTRIGGER_LOG={}", settings.log));
    }
    Injector {
        host: settings.docker_host.clone(),
        scope: found.scope,
        mesh_file: board.file.clone(),
        templates,
        image: settings.sidecar_image.clone(),
        control: (found.control_source, directory),
        env,
        gaps: board.gaps.clone(),
        problems: board.problems.clone(),
        proxies: board.proxies.clone(),
        launches: Launches::default(),
    }
}

fn upgrader(injector: &Injector, seen: &watch::Receiver<Seen>) -> Upgrader {
    Upgrader {
        host: injector.host.clone(),
        scope: injector.scope.clone(),
        templates: injector.templates.clone(),
        image: injector.image.clone(),
        control: injector.control.clone(),
        env: injector.env.clone(),
        proxies: injector.proxies.clone(),
        launches: injector.launches.clone(),
        seen: seen.clone(),
        mesh_file: injector.mesh_file.clone(),
    }
}

fn describe(ended: Option<Ended>) -> String {
    match ended {
        Some(Ended::Returned(name)) => format!("`{name}` returned"),
        Some(Ended::Panicked(what)) => format!("panic: {what}"),
        Some(Ended::Aborted) | None => "aborted".into(),
    }
}
