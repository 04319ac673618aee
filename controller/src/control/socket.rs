use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Sidecars run as another user; who they are is asked of the kernel, not of the file mode.
pub const EVERYBODY: u32 = 0o666;
/// Whoever the controller runs as, alone.
pub const OWNER: u32 = 0o600;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error(
        "the socket {path} cannot be made ({source}): mount a volume at its directory, or set {variable}"
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// Sets another place.
        variable: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another controller answers on {path}: stop it, or set {variable} to another place")]
    Taken {
        /// The socket.
        path: PathBuf,
        /// Sets another place.
        variable: &'static str,
    },
    /// It is not a socket.
    #[error("{path} is there and is not a socket: move it away, or set {variable} to another place")]
    NotSocket {
        /// The file.
        path: PathBuf,
        /// Sets another place.
        variable: &'static str,
    },
}

/// Listens at `path`, for those whom `mode` lets in; makes the directory, and replaces a socket on which nobody answers.
/// `variable` sets another place.
///
/// # Errors
/// See [`SocketError`].
pub async fn listen(path: &Path, mode: u32, variable: &'static str) -> Result<UnixListener, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), variable, source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(io)?;
    }
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketError::NotSocket { path: path.to_owned(), variable });
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(SocketError::Taken { path: path.to_owned(), variable }),
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
    // Made under another name: nobody connects before the mode is set.
    let hidden = path.with_extension(format!("{}.new", std::process::id()));
    let _absent = fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(io)?;
    fs::set_permissions(&hidden, Permissions::from_mode(mode)).map_err(io)?;
    fs::rename(&hidden, path).map_err(io)?;
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
        let listener = listen(&path, EVERYBODY, "X").await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, EVERYBODY);
        let error = listen(&path, OWNER, "X").await.unwrap_err();
        assert!(matches!(error, SocketError::Taken { .. }), "{error}");
        drop(listener);
        assert!(path.exists(), "a killed controller leaves its socket");
        listen(&path, OWNER, "X").await.unwrap();
    }

    #[tokio::test]
    async fn a_file_in_the_way_stays_and_is_named() {
        let path = fresh("file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = listen(&path, OWNER, "X").await.unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
