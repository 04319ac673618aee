//! What a first process needs of the kernel.
#![allow(unsafe_code, reason = "signal sets and capset have no safe form in the standard library")]

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// SIGTERM and SIGINT, blocked, so that they wait to be taken here. The kernel drops signals that the first process of
/// a container neither blocks nor handles.
pub(super) struct Signals(libc::sigset_t);

impl Signals {
    pub(super) fn block() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset makes `set` whole before it is used; the numbers are signals; the old mask is not asked for.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            Self(set.assume_init())
        }
    }

    /// Sleeps until one comes.
    pub(super) fn wait(&self) {
        // SAFETY: the set lives through the call; nothing is asked about the signal.
        while unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) } < 0 {}
    }

    /// True if one came within `limit`.
    pub(super) fn wait_at_most(&self, limit: Duration) -> bool {
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(limit.subsec_nanos().cast_signed()),
        };
        // SAFETY: set and time live through the call; nothing is asked about the signal.
        unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const limit) >= 0 }
    }
}

/// capset(2): the process keeps no capability, for good where no-new-privileges is set.
pub(super) fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// _LINUX_CAPABILITY_VERSION_3: two words each for effective, permitted, inheritable.
    const VERSION: u32 = 0x2008_0522;
    let (header, none) = (Header { version: VERSION, pid: 0 }, [0u32; 6]);
    // SAFETY: header and sets have the layout of version 3 and live through the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
