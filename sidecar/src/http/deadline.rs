//! One coarse timer per connection: a request moves a field, not a timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A moment after which something is late. Moving it later costs nothing: the timer goes off where it was,
/// sees that there is time left, and is set again.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// So much from now; none is never.
    pub fn after(&mut self, limit: Option<Duration>) {
        self.at = limit.map(|limit| Instant::now() + limit);
    }

    /// So much from a moment that is known: reading the clock has its price.
    pub fn since(&mut self, moment: Instant, limit: Option<Duration>) {
        self.at = limit.map(|limit| moment + limit);
    }

    /// How much is left; nothing where there is none.
    pub fn left(&self) -> Duration {
        self.at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Resolves once it has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_passes_when_it_was_last_said_to() {
        let begun = Instant::now();
        let mut deadline = Deadline::default();
        let passed = |seconds| begun.elapsed() == Duration::from_secs(seconds);
        let poll = async |deadline: &mut Deadline, limit: u64| {
            deadline.after(Some(Duration::from_secs(limit)));
            poll_fn(|cx| deadline.poll_passed(cx)).await;
        };
        poll(&mut deadline, 5).await;
        assert!(passed(5));
        // Later than it is armed for, then earlier.
        deadline.after(Some(Duration::from_secs(60)));
        assert!(futures_util::FutureExt::now_or_never(poll_fn(|cx| deadline.poll_passed(cx))).is_none());
        poll(&mut deadline, 100).await;
        assert!(passed(105));
        deadline.after(Some(Duration::from_secs(60)));
        assert!(futures_util::FutureExt::now_or_never(poll_fn(|cx| deadline.poll_passed(cx))).is_none());
        poll(&mut deadline, 1).await;
        assert!(passed(106));
    }
}
