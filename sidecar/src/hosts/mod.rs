//! Keeps the names of services in the hosts file that the application reads (`names` capture).
//!
//! Takes: an open hosts file and the names with their addresses. Gives: one line for each, marked as ours. Guarantees:
//! who reads at any moment sees whole lines, and each name either as it was or as it is: lines are added as comments and
//! then switched on or off by their first byte, nothing moves, and the file never gets shorter. Lines that are not
//! ours stay as they are, and a name that one of them gives already is left to it.

mod lines;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use outrigger_wire::ProxyConfig;
use tokio::sync::watch;

/// Names to be kept, each with its address.
pub type Names = BTreeSet<(String, IpAddr)>;

/// Longest file that is written, bytes; every name look-up of the application reads it from its start.
const MAX_FILE: u64 = 1 << 20;
/// Most names.
const MAX_NAMES: usize = 5_000;

/// Why the names are not in the hosts file.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The system refused.
    #[error(
        "{path}: {source} (its sidecar has to start as uid 0, with a root file system that is not read-only, to open it)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too many names.
    #[error(
        "{0} names, over {MAX_NAMES}: put services that need not call each other on networks of their own"
    )]
    Names(usize),
    /// The file would be too long.
    #[error("{path} would be over {MAX_FILE} bytes: start the container anew, which empties it")]
    Long {
        /// The file.
        path: PathBuf,
    },
}

/// A hosts file that stays open, so that it can be written after the right to open it was given up.
#[derive(Debug)]
pub struct Hosts {
    path: PathBuf,
    /// None: nothing is kept here.
    open: Option<Open>,
    /// Why names are not in it though they should be; empty: they are.
    fault: watch::Sender<String>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Others append lines too (`echo … >> /etc/hosts` in an entrypoint): the kernel finds the end.
    end: File,
}

impl Hosts {
    /// Opens the file; nothing is written yet, since a predecessor may still be at work.
    ///
    /// # Errors
    /// It is not there or cannot be written.
    pub fn open(path: &Path) -> Result<Self, HostsError> {
        let refused = |source| HostsError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(refused)?;
        let end = OpenOptions::new().append(true).open(path).map_err(refused)?;
        Ok(Self { path: path.to_owned(), open: Some(Open { file, end }), fault: watch::Sender::default() })
    }

    /// No file: the platform's resolver knows the names (a private hosted zone).
    pub fn elsewhere() -> Self {
        Self { path: PathBuf::new(), open: None, fault: watch::Sender::default() }
    }

    /// The file should be kept, and could not be opened; nothing is.
    pub fn refused(error: &HostsError) -> Self {
        let hosts = Self::elsewhere();
        hosts.fault.send_replace(error.to_string());
        hosts
    }

    /// Why names are not in the file though they should be; empty: they are.
    pub fn fault(&self) -> watch::Receiver<String> {
        self.fault.subscribe()
    }

    /// Whether these names can be kept.
    ///
    /// # Errors
    /// Too many, or the file would be too long.
    pub fn check(&self, names: &Names) -> Result<(), HostsError> {
        let Some(open) = &self.open else { return Ok(()) };
        if names.len() > MAX_NAMES {
            return Err(HostsError::Names(names.len()));
        }
        let text = self.read(open)?;
        let added = lines::missing(&text, names);
        let length = u64::try_from(text.len() + added.len()).unwrap_or(u64::MAX);
        if length > MAX_FILE { Err(HostsError::Long { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Makes exactly these names stand in the file, whatever a predecessor left there. New ones appear before old ones
    /// go. Costs one read where nothing changes.
    ///
    /// # Errors
    /// See [`HostsError`].
    pub fn keep(&self, names: &Names) -> Result<(), HostsError> {
        let Some(open) = &self.open else { return Ok(()) };
        let written = self.check(names).and_then(|()| self.write(open, names));
        self.fault.send_replace(written.as_ref().err().map(ToString::to_string).unwrap_or_default());
        written
    }

    fn write(&self, open: &Open, names: &Names) -> Result<(), HostsError> {
        let failed = |source| HostsError::Io { path: self.path.clone(), source };
        let added = lines::missing(&self.read(open)?, names);
        if !added.is_empty() {
            (&open.end).write_all(&added).map_err(failed)?;
        }
        // Read again: another process may have added lines as well.
        for lines::Switch { at, to } in lines::switches(&self.read(open)?, names) {
            open.file.write_all_at(&[to], at).map_err(failed)?;
        }
        Ok(())
    }

    fn read(&self, open: &Open) -> Result<Vec<u8>, HostsError> {
        let failed = |source| HostsError::Io { path: self.path.clone(), source };
        let mut text = Vec::new();
        let mut file = &open.file;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
        Ok(text)
    }
}

/// The names that a configuration wants in the hosts file; none where it does not want any.
pub fn names_of(config: &ProxyConfig) -> Names {
    let services = config.services.values().filter(|_| config.proxy.hosts);
    let names = services.flat_map(|service| {
        let address = service.virtual_addresses.first().copied();
        service.names.iter().filter_map(move |name| Some((name.to_ascii_lowercase(), address?)))
    });
    names.filter(|(name, _)| lines::is_name(name)).collect()
}

#[cfg(test)]
mod tests;
