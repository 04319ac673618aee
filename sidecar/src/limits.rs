//! What the machine grants: descriptors and CPU.
#![allow(unsafe_code, reason = "getrlimit and setrlimit have no safe form in the standard library")]

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

/// Descriptors that are not connections: listeners, epoll, files, the admin port, the resolver.
const OTHERS: u64 = 512;
/// A connection is two descriptors, and some stay idle in pools.
const PER_CONNECTION: u64 = 3;

/// Raises the limit on open descriptors to what is allowed, and says how many connections that is good for.
pub fn connections() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for both calls to read and write.
    let open = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 1024;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            raised.rlim_cur
        } else {
            limit.rlim_cur
        }
    };
    usize::try_from(open.saturating_sub(OTHERS) / PER_CONNECTION).unwrap_or(usize::MAX).clamp(64, 1 << 20)
}

/// How many workers the CPU quota of this control group is good for: rounded up; 1 where there is none.
pub fn workers() -> usize {
    let read = |path: &str| fs::read_to_string(path).ok();
    let quota = read("/sys/fs/cgroup/cpu.max").as_deref().and_then(quota_v2).or_else(|| {
        let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
        quota_v1(&quota, &read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?)
    });
    let cpus = available_parallelism().map_or(1, NonZero::get);
    quota.unwrap_or(1).min(cpus)
}

/// `200000 100000` or `max 100000`.
fn quota_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    quota_v1(quota, period)
}

/// Microseconds granted (-1: no limit) in each period of microseconds.
fn quota_v1(quota: &str, period: &str) -> Option<usize> {
    let quota: usize = quota.trim().parse().ok()?;
    let period: usize = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota.div_ceil(period).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up_and_no_quota_is_none() {
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v2("150000 100000\n"), Some(2));
        assert_eq!(quota_v2("50000 100000\n"), Some(1));
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
        assert_eq!(quota_v1("400000\n", "100000\n"), Some(4));
        assert_eq!(quota_v2(""), None);
        assert_eq!(quota_v2("1 0"), None);
    }
}
