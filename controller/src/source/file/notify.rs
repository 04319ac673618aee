//! inotify(7): says when a folder changes. Some mounts (network, desktop) never say so; whoever follows also looks
//! now and then.
#![allow(unsafe_code)] // system calls that the standard library does not have

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use tokio::io::unix::AsyncFd;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Something came, went or changed.
    Changed,
    /// The file is being written: what it says now may be half of it.
    Writing,
    /// The file was closed by who wrote it, or moved here: it is whole.
    Written,
}

/// Folders that are watched.
pub(super) struct Notify {
    events: AsyncFd<File>,
}

/// Bytes; an event takes at most 16 and a name of 255 (inotify(7)).
const BUFFER: usize = 16 << 10;
/// Size of the fixed part of an event.
const HEADER: usize = 16;

impl Notify {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The user's limit of inotify instances is reached.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it is used.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: a `File` keeps its descriptor, the same one, until it is dropped.
        let events = unsafe { AsyncFd::register(file) }?;
        Ok(Self { events })
    }

    /// Watches a folder; one that is watched already is left as it is.
    ///
    /// # Errors
    /// It is not there, or the user's limit of watches is reached.
    pub(super) fn follow(&self, folder: &Path) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let mask = libc::IN_MODIFY
            | libc::IN_CLOSE_WRITE
            | libc::IN_MOVED_TO
            | libc::IN_MOVED_FROM
            | libc::IN_CREATE
            | libc::IN_DELETE
            | libc::IN_DELETE_SELF
            | libc::IN_MOVE_SELF
            | libc::IN_ONLYDIR;
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is open, and the text ends with NUL and outlives the call.
        let watch = unsafe { libc::inotify_add_watch(self.events.as_raw_fd(), folder.as_ptr(), mask) };
        if watch < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next things that happen, together. `ours` says whether a name is that of the file.
    ///
    /// # Errors
    /// The kernel refuses to say more.
    pub(super) async fn next(&self, ours: impl Fn(&OsString) -> bool) -> io::Result<Signal> {
        loop {
            let mut ready = self.events.readable().await?;
            let mut buffer = vec![0; BUFFER];
            match self.events.get_ref().read(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    if let Some(signal) = signal(&buffer, &ours) {
                        return Ok(signal);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a row of events comes to. Writing is that of the last of them: a file may be written and closed, and again.
fn signal(mut events: &[u8], ours: &impl Fn(&OsString) -> bool) -> Option<Signal> {
    let mut signal = None;
    while let Some((header, rest)) = events.split_at_checked(HEADER) {
        let field = |at: usize| {
            let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let (mask, length) = (field(4), field(12) as usize);
        let (name, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let name = OsString::from_vec(name.iter().copied().take_while(|byte| *byte != 0).collect());
        events = rest;
        let is = |bits: u32| mask & bits != 0;
        let whole = libc::IN_CLOSE_WRITE | libc::IN_MOVED_TO;
        if is(libc::IN_MODIFY) {
            signal = if ours(&name) { Some(Signal::Writing) } else { signal };
        } else if is(whole) && ours(&name) {
            signal = Some(Signal::Written);
        } else if !is(libc::IN_CLOSE_WRITE) {
            signal = signal.or(Some(Signal::Changed));
        }
    }
    signal
}
