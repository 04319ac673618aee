//! How fast Route 53 is called.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Between two calls: an account has five a second for all who call.
const PACE: Duration = Duration::from_millis(400);

/// One for all zones: clones share.
#[derive(Clone, Default)]
pub struct Pace(Arc<Mutex<Option<Instant>>>);

impl Pace {
    /// Waits until the next call may be made.
    pub(super) async fn turn(&self) {
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + PACE).await;
        }
        *last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_zones_share_one_pace() {
        let (one, start) = (Pace::default(), Instant::now());
        let other = one.clone();
        for _ in 0..3 {
            tokio::join!(one.turn(), other.turn());
        }
        assert_eq!(start.elapsed(), PACE * 5);
    }
}
