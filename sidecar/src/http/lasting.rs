//! How long a request and its response may last as a whole, and how long nothing of them may move. Nothing is kept where
//! neither is limited.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::deadline::Deadline;
use super::error::{Broken, Late};
use super::origin::Origin;
use super::routed::Taken;

/// The limits in time of a response on its way.
pub(super) struct Watch<'a> {
    /// For a client that does not read, or an upgraded connection that is idle.
    pub late: &'a mut Deadline,
    /// What was said about the whole, if anything.
    pub lasting: Option<Box<Lasting>>,
}

/// Limits of a stream whose response has begun.
#[derive(Debug)]
pub(super) struct Lasting {
    whole: Deadline,
    idle: Deadline,
    most_idle: Option<Duration>,
    moved: Option<u64>,
}

impl Lasting {
    /// What service and route say of a request that began at `started`; none: nothing.
    pub fn of(origin: &Origin, taken: Option<&Taken>, started: Instant) -> Option<Box<Self>> {
        let (whole, most_idle) = origin.stream_limits(taken);
        if whole.is_none() && most_idle.is_none() {
            return None;
        }
        let mut lasting =
            Self { whole: Deadline::default(), idle: Deadline::default(), most_idle, moved: None };
        lasting.whole.after(whole.map(|whole| whole.saturating_sub(started.elapsed())));
        Some(Box::new(lasting))
    }

    /// The same for an upgraded connection, which has its own limit for what is idle.
    pub fn upgraded(mut self: Box<Self>) -> Box<Self> {
        self.most_idle = None;
        self
    }

    /// Resolves when it has lasted too long; `moved` are the bytes that came, both ways.
    pub fn poll_late(&mut self, cx: &mut Context<'_>, moved: u64) -> Poll<Broken> {
        if self.most_idle.is_some() && self.moved.replace(moved) != Some(moved) {
            self.idle.after(self.most_idle);
        }
        if self.whole.poll_passed(cx).is_ready() {
            return Poll::Ready(Broken::Late(Late::Stream));
        }
        self.idle.poll_passed(cx).map(|()| Broken::Late(Late::Idle))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn lasting(whole: Option<u64>, idle: Option<u64>) -> Lasting {
        let mut lasting = Lasting {
            whole: Deadline::default(),
            idle: Deadline::default(),
            most_idle: idle.map(Duration::from_secs),
            moved: None,
        };
        lasting.whole.after(whole.map(Duration::from_secs));
        lasting
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_not_idle_and_ends_all_the_same() {
        let begun = Instant::now();
        let mut stream = lasting(Some(10), Some(4));
        for moved in [3, 5, 9] {
            let pause = tokio::time::sleep(Duration::from_secs(3));
            tokio::select! {
                biased;
                () = pause => {}
                late = poll_fn(|cx| stream.poll_late(cx, moved)) => panic!("{late}"),
            }
        }
        let late = poll_fn(|cx| stream.poll_late(cx, 10)).await;
        assert!(
            matches!(late, Broken::Late(Late::Stream)) && begun.elapsed() == Duration::from_secs(10),
            "{late}"
        );
        let mut stream = lasting(None, Some(4));
        let late = poll_fn(|cx| stream.poll_late(cx, 7)).await;
        assert!(
            matches!(late, Broken::Late(Late::Idle)) && begun.elapsed() == Duration::from_secs(14),
            "{late}"
        );
    }
}
