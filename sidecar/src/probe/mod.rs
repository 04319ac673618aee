//! Asks the application whether it can serve, as the configuration says, from the keeper's thread: past the sidecar's own
//! listeners, so that it is no traffic, in no log and in no edge. What follows is for the controller to weigh.

mod ask;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod grpc;
mod http;
mod streak;
mod target;

use std::sync::Arc;
use std::time::Duration;

use outrigger_wire::Check;
use outrigger_wire::control::{Checked, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::netns::Listening;
use crate::runtime::Generation;
use crate::telemetry::Telemetry;

use ask::Failure;
use streak::Streak;
use target::Target;

/// What the application is told of who asks.
const USER_AGENT: &str = concat!("outrigger-health/", env!("CARGO_PKG_VERSION"));
/// Between two tries of an application that has just started, unless the interval is shorter: callers wait for it.
const EAGER: Duration = Duration::from_millis(250);
/// So long after its start.
const EAGER_FOR: Duration = Duration::from_secs(30);

/// What is known from tries, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Said {
    /// No configuration was looked at yet.
    #[default]
    NotStarted,
    /// Nothing: there is no check, or no verdict yet on an application that served before.
    Nothing,
    /// This.
    Checked(Checked),
}

/// What a prober is made with.
pub(crate) struct Parts {
    pub configured: watch::Receiver<Option<Arc<Generation>>>,
    pub listening: watch::Receiver<Listening>,
    /// A sidecar that takes another's place finds an application that serves.
    pub serving: bool,
    pub said: Arc<watch::Sender<Said>>,
    pub telemetry: Telemetry,
}

/// A check under way.
struct Course {
    check: Check,
    streak: Streak,
    /// Since when the application has been new; none: it has passed since.
    new_since: Option<Instant>,
    due: Instant,
}

/// Tries for ever.
pub(crate) async fn run(mut parts: Parts) {
    let mut course: Option<Course> = None;
    loop {
        let generation = parts.configured.borrow_and_update().clone();
        let listening = parts.listening.borrow_and_update().clone();
        let Some(generation) = generation else {
            if parts.configured.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let proxy = &generation.config.proxy;
        course = proxy.check.as_ref().map(|check| Course::of(check, course, parts.serving));
        // A check that comes later finds an application that serves.
        parts.serving = true;
        let next = match course.as_mut() {
            None => {
                parts.say(Said::Nothing);
                None
            }
            Some(course) => match target::target(course.check.port, &proxy.ports, &listening) {
                Ok(target) => Some(parts.turn(course, &target, proxy.identity.service()).await),
                Err(port) => {
                    course.gone();
                    let failure = port.map_or(Failure::NoPort, Failure::NotListening);
                    parts.tell(course, Some(failure.to_string()));
                    None
                }
            },
        };
        if parts.wait(next).await.is_none() {
            return std::future::pending().await;
        }
    }
}

impl Course {
    /// The same check goes on; another one keeps the verdict until it has one of its own.
    fn of(check: &Check, before: Option<Self>, serving: bool) -> Self {
        match before {
            Some(before) if before.check == *check => before,
            Some(before) => Self {
                check: check.clone(),
                streak: before.streak.asked_otherwise(),
                due: Instant::now(),
                new_since: before.new_since,
            },
            None => Self {
                check: check.clone(),
                streak: if serving { Streak::SERVING } else { Streak::STARTED },
                due: Instant::now(),
                new_since: (!serving).then(Instant::now),
            },
        }
    }

    /// The application listens no more: the next one is to be asked at once, and often.
    fn gone(&mut self) {
        let now = Instant::now();
        (self.streak, self.new_since, self.due) = (Streak::STARTED, Some(now), now);
    }

    /// When the next try is due, of one that began at `began`.
    fn next(&self, began: Instant) -> Instant {
        let interval = Duration::from_millis(self.check.interval_ms);
        let jittered = interval.mul_f64(0.8 + 0.4 * fastrand::f64());
        let eager = self.new_since.is_some_and(|since| began.duration_since(since) < EAGER_FOR);
        began + if eager { jittered.min(EAGER) } else { jittered }
    }
}

impl Parts {
    /// Tries if that is due; returns when the next try is.
    async fn turn(&self, course: &mut Course, target: &Target, own: &str) -> Instant {
        let began = Instant::now();
        if began < course.due {
            return course.due;
        }
        let answered = ask::ask(&course.check, target, own).await;
        self.telemetry.checked(answered.is_ok());
        course.streak = course.streak.tried(answered.is_ok(), course.check.healthy, course.check.unhealthy);
        if course.streak.verdict == Some(Verdict::Passing) {
            course.new_since = None;
        }
        self.tell(course, answered.err().map(|failure| failure.to_string()));
        course.due = course.next(began);
        course.due
    }

    /// Says what follows from the tries so far, and why the last one failed.
    fn tell(&self, course: &Course, failure: Option<String>) {
        let said = match course.streak.verdict {
            None => Said::Nothing,
            Some(Verdict::Passing) => {
                Said::Checked(Checked { verdict: Verdict::Passing.into(), reason: String::new() })
            }
            // One that has passed, and not often enough yet, goes on for what it failed for.
            Some(verdict) => match (failure, &*self.said.borrow()) {
                (None, Said::Checked(before)) if before.verdict() == verdict => Said::Checked(before.clone()),
                (failure, _) => {
                    Said::Checked(Checked { verdict: verdict.into(), reason: failure.unwrap_or_default() })
                }
            },
        };
        self.say(said);
    }

    /// Tells of another verdict at once; another reason for the same goes with the next report.
    fn say(&self, said: Said) {
        self.said.send_if_modified(|before| {
            let turned = before.verdict() != said.verdict();
            if turned {
                log(&said);
                self.telemetry.check_says(said.verdict());
            }
            *before = said;
            turned
        });
    }

    /// Until `next`, or something changed; none: the sidecar has ended.
    async fn wait(&mut self, next: Option<Instant>) -> Option<()> {
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.configured.changed() => changed.ok(),
            // Where nobody looks any more, what was seen last holds.
            Ok(()) = self.listening.changed() => Some(()),
            () = due => Some(()),
        }
    }
}

impl Said {
    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Checked(checked) => Some(checked.verdict()),
            Self::NotStarted | Self::Nothing => None,
        }
    }
}

fn log(said: &Said) {
    let Said::Checked(checked) = said else { return };
    let reason = &checked.reason;
    match checked.verdict() {
        Verdict::Pending => {
            tracing::info!("the application is new: it takes traffic once its health check passes")
        }
        Verdict::Passing => tracing::info!("the application's health check passes"),
        Verdict::Failing => tracing::warn!(reason, "the application's health check fails"),
    }
}

#[cfg(test)]
mod tests;
