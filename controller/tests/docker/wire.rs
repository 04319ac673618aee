//! A wire to the engine that can be cut.

use std::path::{Path, PathBuf};

use outrigger_controller::source::docker::connect::{DEFAULT_HOST, socket_path};
use outrigger_lifecycle::Tasks;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};

/// Carries connections to the engine until it is cut.
pub struct Wire {
    path: PathBuf,
    _carrying: Tasks,
}

impl Wire {
    /// Listens in `folder`.
    pub fn lay(folder: &Path) -> Self {
        let path = Self::path(folder);
        let listener = UnixListener::bind(&path).unwrap();
        let mut carrying = Tasks::new();
        carrying.spawn("wire", async move {
            let mut connections = Tasks::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn("connection", async move {
                    let mut far = UnixStream::connect(socket_path(DEFAULT_HOST).unwrap()).await.unwrap();
                    let _ended = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { path, _carrying: carrying }
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("docker.sock")
    }

    /// What to write into DOCKER_HOST.
    pub fn host(folder: &Path) -> String {
        format!("unix://{}", Self::path(folder).display())
    }

    /// Every connection breaks, and there is no new one.
    pub fn cut(self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}
