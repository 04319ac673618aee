//! What a sidecar keeps on disk, so that it starts and serves with the controller away: its key and
//! certificate, the roots, and the last configuration that it ran. Files are 0600, written whole or not
//! at all, and read up to a limit. A disk that fails costs a message, never the traffic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Default place of the state, overridden by `OUTRIGGER_STATE`.
pub const DIRECTORY: &str = "/var/lib/outrigger";
/// Key and certificate chain, PEM.
pub const IDENTITY: &str = "identity.pem";
/// Roots that peers are checked against, PEM.
pub const ROOTS: &str = "roots.pem";
/// The last configuration that ran; JSON, which `--config` reads too.
pub const LAST_GOOD: &str = "last-good.json";

/// Most that is read of one file, bytes: four times what 50,000 resources of the usual size take.
const MAX_FILE: u64 = 64 << 20;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody of ours writes files that long.
    #[error("{path}: over {MAX_FILE} bytes; remove it")]
    Long {
        /// The file.
        path: PathBuf,
    },
}

/// The state directory. It need not exist: reading then finds nothing and writing fails.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// State in `directory`; nothing is touched yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where a file of the state is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file's content; `None` if there is no such file.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is over 64 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path(name);
        match read_bounded(&path) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(StateError::Long { path }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Puts `content` in place of a file: after a crash either the old or the new one is there, whole.
    ///
    /// # Errors
    /// The disk is full or read-only, the directory is missing, or permission lacks. The old file stays.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        let temporary = self.path(&format!(".{name}.new"));
        write_then_rename(&self.directory, &temporary, &path, content).map_err(|source| {
            let _already_failing = fs::remove_file(&temporary);
            StateError::Io { path, source }
        })
    }

    /// Moves a file that cannot be used to `<name>.corrupt` and returns that place; it may be looked at there.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn set_aside(&self, name: &str) -> Result<PathBuf, StateError> {
        let (path, aside) = (self.path(name), self.path(&format!("{name}.corrupt")));
        fs::rename(&path, &aside).map_err(|source| StateError::Io { path, source })?;
        Ok(aside)
    }
}

fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_FILE).then_some(bytes))
}

fn write_then_rename(directory: &Path, temporary: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    // Removed first: an old one could have another owner or mode.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
