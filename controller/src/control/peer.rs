//! The process at the other end of a Unix socket, held so that its pid cannot come to name another one.
#![allow(unsafe_code, reason = "SO_PEERPIDFD and poll have no safe wrapper in std")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::time::sleep;

/// Between two looks whether a process has ended, where the kernel does not tell.
const LOOK: Duration = Duration::from_secs(5);

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    pid: u32,
    hold: Hold,
}

/// What tells whether the pid still names the same process.
#[derive(Debug)]
enum Hold {
    /// Linux 6.5 and later.
    Pidfd(OwnedFd),
    /// Clock ticks after boot at which it started; `None` if it was gone at once.
    Started(Option<u64>),
}

/// Why it cannot be told who connected.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The kernel does not say.
    #[error("the kernel does not tell who connected: {0}")]
    Credentials(#[from] io::Error),
    /// The process lives in a pid namespace that is not visible from here.
    #[error(
        "the controller does not see the processes of other containers: give its service `pid: host` (pid=host \
         in a docker run, \"pidMode\": \"host\" in a task definition)"
    )]
    Invisible,
}

impl Peer {
    /// The process at the other end.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub fn of(stream: &UnixStream) -> Result<Self, PeerError> {
        let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let pid = pid.ok_or(PeerError::Invisible)?;
        let hold = match pidfd(stream) {
            Ok(pidfd) => Hold::Pidfd(pidfd),
            Err(_older_kernel) => Hold::Started(started(pid)),
        };
        Ok(Self { pid, hold })
    }

    /// Its pid, as seen from here.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Resolves when the process has ended: a stream may live on in another one that it was handed to.
    pub async fn ended(&self) {
        let held = match &self.hold {
            Hold::Pidfd(pidfd) => pidfd.try_clone().ok(),
            Hold::Started(_) => None,
        };
        // A descriptor of its own: several streams may wait for the same process.
        // SAFETY: an `OwnedFd` names one descriptor as long as it lives, and nothing here puts another in its place.
        let held = held.map(|own| unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) });
        if let Some(Ok(held)) = held
            && held.readable().await.is_ok()
        {
            return;
        }
        while self.is_same() {
            sleep(LOOK).await;
        }
    }

    /// True while [`Peer::pid`] still names the process that connected. Ask after every look-up by pid.
    pub fn is_same(&self) -> bool {
        match &self.hold {
            Hold::Pidfd(pidfd) => runs(pidfd),
            Hold::Started(then) => then.is_some() && started(self.pid) == *then,
        }
    }
}

fn pidfd(stream: &UnixStream) -> io::Result<OwnedFd> {
    /// <asm-generic/socket.h>; not in every libc yet.
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `fd` and `length` live through the call, and `length` is the size of `fd`.
    let result = unsafe {
        let value = std::ptr::from_mut(&mut fd).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, value, &raw mut length)
    };
    if result != 0 || fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pidfd becomes readable when its process has ended (pidfd_open(2)).
fn runs(pidfd: &OwnedFd) -> bool {
    let mut asked = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, which lives through the call; no wait.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready == 0
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)); the name before it may hold anything, so count from its end.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A connection that another process has made, and its maker, which goes on running: as when a socket is handed on.
#[cfg(test)]
pub(super) fn handed_on(path: &std::path::Path) -> (std::os::unix::net::UnixStream, std::process::Child) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;

    let mut address =
        libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
        *to = *from as libc::c_char;
    }
    // SAFETY: no memory is shared with it.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0);
    // SAFETY: the kernel has just made it for us.
    let socket = unsafe { std::os::unix::net::UnixStream::from_raw_fd(socket) };
    let number = socket.as_raw_fd();
    let mut child = std::process::Command::new("sleep");
    let connect = move || {
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: `address` is in this closure, and `length` is its size.
        match unsafe { libc::connect(number, (&raw const address).cast(), length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it only makes a system call.
    let child = unsafe { child.arg("1000").pre_exec(connect) }.spawn().unwrap();
    (socket, child)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream as Blocking;
    use std::process::{Command, Stdio};

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_own_process_is_seen_and_stays_the_same() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        assert_eq!(peer.pid(), std::process::id());
        assert!(peer.is_same());
        assert!(started(std::process::id()).is_some());
    }

    /// Tells the test below that it is the child.
    const CHILD: &str = "OUTRIGGER_TEST_PEER";

    #[tokio::test]
    async fn a_process_that_ended_is_nobody_with_pidfd_and_without() {
        if let Some(path) = std::env::var_os(CHILD) {
            let _connected = Blocking::connect(path).unwrap();
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            return;
        }
        let path = std::env::temp_dir().join(format!("outrigger-peer-{}.sock", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "control::peer::tests::a_process_that_ended_is_nobody_with_pidfd_and_without"])
            .env(CHILD, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let held = Peer::of(&stream).unwrap();
        assert_eq!(held.pid(), child.id());
        let by_start = Peer { pid: child.id(), hold: Hold::Started(started(child.id())) };
        assert!(held.is_same() && by_start.is_same());
        let early = tokio::time::timeout(Duration::from_millis(50), held.ended()).await;
        assert!(early.is_err());
        drop(child.stdin.take());
        child.wait().unwrap();
        let ended = async { tokio::join!(held.ended(), held.ended(), by_start.ended()) };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(!held.is_same() && !by_start.is_same());
        std::fs::remove_file(&path).unwrap();
    }
}
