//! Gives memory back to the kernel after a burst of connections: the C library keeps what was freed in case it is
//! needed again, and what lies between pieces that live on it keeps for ever.
#![allow(unsafe_code, reason = "malloc_trim has no safe wrapper")]

use std::time::Duration;

use crate::telemetry::Telemetry;

/// Between two looks at how many connections are open.
const LOOK: Duration = Duration::from_secs(5);
/// So many fewer than there were are a burst that is over: they held a mebibyte and more. To give it back takes a few
/// milliseconds, in which workers that allocate wait.
const BURST: u64 = 512;

/// Looks for ever.
pub(crate) async fn after_bursts(telemetry: Telemetry) {
    let mut most = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        if is_over(&mut most, telemetry.open()) {
            give_back();
        }
    }
}

/// True if a burst is over; `most` is how many were open at once since the last one.
fn is_over(most: &mut u64, open: u64) -> bool {
    *most = open.max(*most);
    let over = *most - open >= BURST;
    if over {
        *most = open;
    }
    over
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes the allocator's own locks, and touches only what is free.
    let _gave_some = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_once() {
        let mut most = 0;
        let looks = [10, 5000, 4600, 4400, 4300, 20, 20, 0];
        let over = looks.map(|open| is_over(&mut most, open));
        assert_eq!(over, [false, false, false, true, false, true, false, false]);
    }
}
