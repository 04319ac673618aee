//! The life of a controller, from its settings to its end: what every platform has is here.

mod docker;
#[cfg(feature = "ecs")]
mod ecs;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_lifecycle::{Ended, Pending, Tasks};
use outrigger_model::Snapshot;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::admin::socket::{self, AdminSocket};
use crate::board::Board;
use crate::control::{Desk, Hall, SocketError};
use crate::identity::{self, Authority};
use crate::indices::Indices;
use crate::inject::template::TemplateError;
use crate::mesh::Mesh;
use crate::settings::{Platform, Settings};
use crate::source::Source;
use crate::source::file;
use crate::source::file::watch::MeshFile;
use crate::state::replace;
use crate::status::Problem;
use crate::surroundings::SurroundingsError;
use crate::upgrade::Upgrades;

/// Why a controller could not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What the user must set.
    #[error(transparent)]
    Surroundings(#[from] SurroundingsError),
    /// The AWS API cannot be called.
    #[cfg(feature = "ecs")]
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
    /// A template that cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A template of injection on ECS that cannot be used.
    #[cfg(feature = "ecs")]
    #[error(transparent)]
    EcsTemplate(#[from] outrigger_inject::TemplateError),
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
    /// The address for sidecars of other hosts.
    #[cfg(feature = "ecs")]
    #[error(transparent)]
    ControlListen(#[from] crate::control::tls::TlsError),
    /// Sidecars of other hosts prove ECS tasks, and there are none here.
    #[error(
        "OUTRIGGER_CONTROL_LISTEN is for sidecars that prove their ECS task: set OUTRIGGER_PLATFORM=ecs, or leave it out"
    )]
    NoTasks,
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
            #[cfg(feature = "ecs")]
            Self::Aws(_) | Self::EcsTemplate(_) => 64,
            Self::NoTasks => 64,
            #[cfg(feature = "ecs")]
            Self::ControlListen(_) => 1,
            Self::Admin { .. } | Self::Control(_) | Self::State { .. } | Self::Part(_) => 1,
        }
    }
}

/// Runs until `shutdown` resolves, then waits for sidecars that leave together with it.
///
/// # Errors
/// It cannot start, or a part of it fails.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    match settings.platform {
        Platform::Docker if settings.control_listen.is_some() => Err(RunError::NoTasks),
        Platform::Docker => docker::run(settings, shutdown).await,
        #[cfg(feature = "ecs")]
        Platform::Ecs => ecs::run(settings, shutdown).await,
        #[cfg(not(feature = "ecs"))]
        Platform::Ecs => unreachable!("settings refuse a platform that was not built in"),
    }
}

/// What runs on every platform.
struct Common {
    settings: Settings,
    board: Board,
    parts: Tasks,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl Common {
    /// Answers at the admin port and reads the mesh file from here on.
    async fn begin(settings: Settings, source: Source) -> Result<Self, RunError> {
        let address = settings.admin;
        let admin = Admin::bind(address).await.map_err(|source| RunError::Admin { address, source })?;
        let state = &settings.state;
        std::fs::create_dir_all(state).map_err(|source| RunError::State { path: state.clone(), source })?;
        let place = mesh_file(&settings).map_err(|source| RunError::State { path: state.clone(), source })?;
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let (tell_file, file) = watch::channel(MeshFile::default());
        let board = Board::new(&settings.trust_domain, source, file.clone(), snapshot);
        let readable = board.readiness.pending("a mesh file that can be read, or none");
        let mut parts = Tasks::new();
        parts.spawn("admin", admin.serve(board.clone()));
        parts.spawn("mesh file", file::watch::watch(place, tell_file));
        parts.spawn("first mesh file", first_file(file.clone(), readable));
        Ok(Self { settings, board, parts, publish })
    }

    /// Merges what is seen from here on.
    fn merge(&mut self, indices: Indices) {
        let (board, publish) = (&self.board, self.publish.clone());
        let mesh = Mesh {
            trust_domain: self.settings.trust_domain.clone(),
            indices,
            problems: board.problems.clone(),
            proxies: board.proxies.clone(),
        };
        self.parts.spawn("mesh", mesh.run(board.source.clone(), board.file.clone(), publish));
    }

    /// What control streams are served from. A root that cannot be used stops signing, and proving the controller to other
    /// hosts, and nothing else.
    fn hall(&self) -> Arc<Hall> {
        let Settings { state, trust_domain, certificate_lifetime, .. } = &self.settings;
        let lifetime = Duration::from_secs(*certificate_lifetime);
        let authority = Authority::open(state, trust_domain, lifetime).map_err(|error| {
            self.problem("authority", "state", state.join(identity::FILE).display().to_string(), &error)
        });
        if let Ok(authority) = &authority {
            let _once = self.board.pin.set(authority.pin());
        }
        Hall::open(Desk {
            snapshot: self.board.snapshot.clone(),
            authority,
            proxies: self.board.proxies.clone(),
            problems: self.board.problems.clone(),
        })
    }

    /// Takes orders on the socket of the state directory.
    async fn orders(&mut self, upgrades: Upgrades) {
        match AdminSocket::bind(&self.settings.state).await {
            Ok(socket) => self.parts.spawn("admin socket", socket.serve(self.board.clone(), upgrades)),
            Err(error) => {
                let path = self.settings.state.join(socket::FILE).display().to_string();
                self.problem("admin socket", "state", path, &error);
            }
        }
    }

    fn problem(
        &self,
        owner: &'static str,
        kind: &'static str,
        subject: String,
        error: &dyn std::fmt::Display,
    ) -> String {
        let what = error.to_string();
        self.board.problems.set(owner, [Problem { kind, subject, what: what.clone() }].into());
        what
    }

    /// Until `shutdown`, or until a part fails.
    async fn until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            () = shutdown => Ok(()),
            ended = self.parts.next_ended() => Err(RunError::Part(describe(ended))),
        }
    }
}

/// Where the mesh file is; one that was given as text is written there.
fn mesh_file(settings: &Settings) -> io::Result<file::watch::Place> {
    let state = settings.state.clone();
    let text = settings.mesh_text.as_ref().map(|text| (state.join("mesh.yaml"), text));
    if let Some((path, text)) = &text {
        replace(path, text.as_bytes())?;
    }
    let path = text.map(|(path, _)| path).or_else(|| settings.mesh_file.clone());
    let asked = path.is_some();
    Ok(file::watch::Place { asked, path: path.unwrap_or_else(|| file::watch::DEFAULT.into()), state })
}

async fn first_view(mut source: Source, whole: Pending) {
    while !source.is_current() {
        if !source.changed().await {
            return std::future::pending().await;
        }
    }
    whole.done();
    std::future::pending().await
}

async fn first_file(mut file: watch::Receiver<MeshFile>, readable: Pending) {
    if file.wait_for(|file| file.mesh.is_some()).await.is_ok() {
        readable.done();
    }
    std::future::pending().await
}

fn describe(ended: Option<Ended>) -> String {
    match ended {
        Some(Ended::Returned(name)) => format!("`{name}` returned"),
        Some(Ended::Panicked(what)) => format!("panic: {what}"),
        Some(Ended::Aborted) | None => "aborted".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_file_given_as_text_is_followed_like_any_other() {
        let state = std::env::temp_dir().join(format!("outrigger-mesh-text-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let text = "mode: strict\n";
        let settings = Settings { state: state.clone(), mesh_text: Some(text.into()), ..Settings::default() };
        let place = mesh_file(&settings).unwrap();
        assert_eq!(std::fs::read_to_string(&place.path).unwrap(), text);
        assert!(place.asked);
        std::fs::remove_dir_all(&state).unwrap();
        assert!(mesh_file(&settings).is_err(), "without its folder it cannot be kept");
        assert!(!mesh_file(&Settings::default()).unwrap().asked);
    }
}
