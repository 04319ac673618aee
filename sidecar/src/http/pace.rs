//! How slowly somebody from outside may send a body: who sends a byte at a time would else hold a connection, a request of the
//! application and a place among those under way for as long as he likes.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::deadline::Deadline;

/// Bytes in a second on average, as other servers want them (Kestrel, IIS: 240; Apache: 500).
const LEAST: u64 = 240;

/// The time that a client took for a body so far; not counted while the application takes no more of it.
#[derive(Debug)]
pub(super) struct Pace {
    grace: Duration,
    took: Duration,
    waits_since: Option<Instant>,
    late: Deadline,
}

impl Pace {
    /// Whatever came, it may take `grace`.
    pub fn new(grace: Duration) -> Self {
        Self { grace, took: Duration::ZERO, waits_since: None, late: Deadline::default() }
    }

    /// Resolves when it has sent too slowly: `bytes` so far. `waits`: the next step is the client's.
    pub fn poll_slow(&mut self, cx: &mut Context<'_>, waits: bool, bytes: u64) -> Poll<()> {
        let now = Instant::now();
        if let Some(since) = self.waits_since.take() {
            self.took += now - since;
        }
        if !waits {
            return Poll::Pending;
        }
        self.waits_since = Some(now);
        let may_take = self.grace + Duration::from_secs(bytes / LEAST);
        self.late.since(now, Some(may_take.saturating_sub(self.took)));
        self.late.poll_passed(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_byte_at_a_time_comes_to_an_end() {
        let (begun, mut pace, mut bytes) = (Instant::now(), Pace::new(GRACE), 0);
        loop {
            let next = tokio::time::sleep(Duration::from_secs(20));
            tokio::select! {
                biased;
                () = poll_fn(|cx| pace.poll_slow(cx, true, bytes)) => break,
                () = next => bytes += 1,
            }
        }
        assert_eq!((begun.elapsed(), bytes), (GRACE, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_fast_enough_is_never_late() {
        let mut pace = Pace::new(GRACE);
        for second in 0..600 {
            let slow = tokio::time::timeout(
                Duration::from_secs(1),
                poll_fn(|cx| pace.poll_slow(cx, true, second * LEAST)),
            );
            assert!(slow.await.is_err(), "after {second} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_application_takes_is_not_the_clients() {
        let (begun, mut pace) = (Instant::now(), Pace::new(GRACE));
        let hour = Duration::from_secs(3600);
        let mut poll = async |waits, limit| {
            tokio::time::timeout(limit, poll_fn(|cx| pace.poll_slow(cx, waits, 100))).await.is_ok()
        };
        assert!(!poll(true, GRACE / 2).await && !poll(false, hour).await);
        assert!(poll(true, hour).await);
        assert_eq!(begun.elapsed(), hour + GRACE);
    }
}
