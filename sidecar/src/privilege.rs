//! Gives up the rights with which a sidecar that keeps a hosts file has to start.
#![allow(unsafe_code, reason = "system calls that change who a process is")]

use std::io;

use outrigger_wire::port::{GID, UID};

/// Why the process does not go on.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refused.
    #[error(
        "cannot become user {UID}: {what}: {source} (it needs the capabilities SETUID and SETGID, and no other)"
    )]
    Refused {
        /// The call.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel agreed, and yet.
    #[error("became user {UID}, and could still {0}: not going on")]
    Kept(&'static str),
}

/// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h).
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Two of them, 32 capabilities each.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// True if this process is root.
pub fn is_root() -> bool {
    // SAFETY: takes no argument and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes the sidecar's own user and group for good: no groups, no capabilities, no way back. To be called before any
/// thread is started.
///
/// # Errors
/// A step was refused, or the way back is still open: the process must end.
pub fn drop_for_good() -> Result<(), PrivilegeError> {
    // SAFETY: plain numbers; the list of groups is empty.
    unsafe {
        succeeded("no_new_privs", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        succeeded("setgroups", libc::setgroups(0, std::ptr::null()))?;
        succeeded("setresgid", libc::setresgid(GID, GID, GID))?;
        succeeded("setresuid", libc::setresuid(UID, UID, UID))?;
    }
    // What is left after that is at most what the engine made inheritable.
    capabilities(libc::SYS_capset, &mut [Capabilities::default(); 2])?;
    check()
}

fn check() -> Result<(), PrivilegeError> {
    let mut held = [Capabilities::default(); 2];
    capabilities(libc::SYS_capget, &mut held)?;
    if held != [Capabilities::default(); 2] {
        return Err(PrivilegeError::Kept("use a capability"));
    }
    // SAFETY: plain numbers; a null pointer asks for the number of groups only.
    let (user, group, groups) = unsafe {
        (libc::setresuid(0, 0, 0), libc::setresgid(0, 0, 0), libc::getgroups(0, std::ptr::null_mut()))
    };
    match (user, group, groups) {
        (0, ..) => Err(PrivilegeError::Kept("become root again")),
        (_, 0, _) => Err(PrivilegeError::Kept("take root's group again")),
        (_, _, 0) => Ok(()),
        _ => Err(PrivilegeError::Kept("use further groups")),
    }
}

fn capabilities(call: libc::c_long, sets: &mut [Capabilities; 2]) -> Result<(), PrivilegeError> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    // SAFETY: both point to values of the layout that this version of the call asks for, for as long as it runs.
    let result = unsafe { libc::syscall(call, &raw mut header, sets.as_mut_ptr()) };
    succeeded("capabilities", result)
}

fn succeeded(what: &'static str, result: impl Into<i64>) -> Result<(), PrivilegeError> {
    if result.into() == 0 {
        return Ok(());
    }
    Err(PrivilegeError::Refused { what, source: io::Error::last_os_error() })
}
