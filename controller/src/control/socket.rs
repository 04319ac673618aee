use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Sidecars run as another user; who they are is asked of the kernel, not of the file mode.
const MODE: u32 = 0o666;

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error(
        "the control socket {path} cannot be made ({source}): mount a volume at its directory, or set OUTRIGGER_CONTROL"
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another controller answers on {path}: stop it, or set OUTRIGGER_CONTROL to another place")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// It is not a socket.
    #[error("{path} is there and is not a socket: move it away, or set OUTRIGGER_CONTROL to another place")]
    NotSocket {
        /// The file.
        path: PathBuf,
    },
}

/// Listens at `path`; makes the directory, and replaces a socket on which nobody answers.
///
/// # Errors
/// See [`SocketError`].
pub async fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(io)?;
    }
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketError::NotSocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(SocketError::Taken { path: path.to_owned() }),
            // Reset: its owner ended with us in its queue.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
                ) =>
            {
                fs::remove_file(path).map_err(io)?;
            }
            Err(source) => return Err(io(source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(io(source)),
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(io)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("outrigger-socket-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&directory);
        directory.join("deep/control.sock")
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let path = fresh("live");
        let listener = listen(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = listen(&path).await.unwrap_err();
        assert!(matches!(error, SocketError::Taken { .. }), "{error}");
        drop(listener);
        assert!(path.exists(), "a killed controller leaves its socket");
        listen(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_in_the_way_stays_and_is_named() {
        let path = fresh("file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = listen(&path).await.unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
