//! Follows the engine: events as they come, a whole listing at the start, after every reconnect and once a
//! minute. Whatever is lost in between, the view ends up the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, InspectContainerOptions, ListContainersOptions};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::connect::{ConnectError, Engine, connect};
use super::record::Container;
use super::time::now_nanos;
use super::tracker::{Containers, Effect, Tracker};
use crate::scope::Scope;

/// How often everything is listed anew although no event said so.
const RECONCILE: Duration = Duration::from_secs(60);
/// How far back events are asked for, to close the hole between a listing and its event stream.
const OVERLAP_SECONDS: u64 = 2;
/// Inspections at once.
const PARALLEL: usize = 8;
/// First and longest pause before the next attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Events that can change a workload; `exec_*` and the like would only be noise.
const EVENTS: [&str; 14] = [
    "create",
    "start",
    "restart",
    "stop",
    "die",
    "kill",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "health_status",
    "connect",
    "disconnect",
    "update",
];

/// What this source sees.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Containers of the scope, and those of ours.
    pub containers: Arc<Containers>,
    /// Whole and current; false: the last good view, or nothing yet.
    pub current: bool,
    /// When everything was last listed.
    pub listed: Option<Instant>,
    /// The engine.
    pub about: String,
    /// Why it is not current.
    pub error: Option<String>,
}

/// Why a session with the engine ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the Docker engine refused: {0}")]
    Engine(#[from] bollard::errors::Error),
    #[error("the Docker engine closed its event stream: it restarts, or was stopped")]
    Closed,
}

/// Watches the engine at `host` until dropped. Never gives up: an engine that is away leaves the last good
/// view, marked as not current.
pub async fn watch(host: String, scope: Scope, out: watch::Sender<Seen>) {
    let mut pause = BACKOFF.0;
    loop {
        let begun = Instant::now();
        let Err(error) = session(&host, &scope, &out).await;
        stale(&out, &error);
        if begun.elapsed() > BACKOFF.1 {
            pause = BACKOFF.0;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

fn stale(out: &watch::Sender<Seen>, error: &SessionError) {
    let text = error.to_string();
    out.send_modify(|seen| {
        if seen.error.as_ref() != Some(&text) {
            tracing::warn!("{text}; the last view of Docker stays, trying again");
        }
        seen.current = false;
        seen.error = Some(text);
    });
}

async fn session(
    host: &str,
    scope: &Scope,
    out: &watch::Sender<Seen>,
) -> Result<std::convert::Infallible, SessionError> {
    let Engine { docker, about } = connect(host).await?;
    let events = docker.events(Some(events_options()));
    tokio::pin!(events);
    let mut tracker = Tracker::new(scope.clone());
    carry_intents(&mut tracker, out);
    let mut inspections = FuturesUnordered::new();
    let mut again = Again::default();
    let mut reconcile = tokio::time::interval(RECONCILE);
    reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            event = events.next() => {
                let event: EventMessage = event.ok_or(SessionError::Closed)??;
                match tracker.event(event) {
                    Effect::Nothing => {}
                    Effect::Changed => publish(out, &tracker),
                    Effect::Gone(id) => {
                        again.gone(&id);
                        publish(out, &tracker);
                    }
                    Effect::Ended(id) => {
                        publish(out, &tracker);
                        if again.begin(&id) { inspections.push(inspect(&docker, id)) }
                    }
                    Effect::Inspect(id) => if again.begin(&id) { inspections.push(inspect(&docker, id)) },
                }
            }
            Some((id, container)) = inspections.next() => {
                let container = container?;
                if !again.is_stale(&id) && tracker.inspected(&id, container) {
                    publish(out, &tracker);
                }
                if again.ended(&id) {
                    again.begin(&id);
                    inspections.push(inspect(&docker, id));
                }
            }
            _ = reconcile.tick() => {
                tracker.listed(list(&docker, scope).await?, now_nanos());
                again.listed();
                whole(out, &tracker, &about);
            }
        }
    }
}

/// Which containers are being inspected, and which of them changed meanwhile: an older answer must never replace a
/// newer one.
#[derive(Default)]
struct Again {
    running: BTreeSet<String>,
    dirty: BTreeSet<String>,
    stale: BTreeSet<String>,
}

impl Again {
    /// True: start an inspection now. False: one runs, and will be followed by another.
    fn begin(&mut self, id: &str) -> bool {
        let free = self.running.insert(id.to_owned());
        if !free {
            self.dirty.insert(id.to_owned());
        }
        free
    }

    /// What an inspection that runs will say is out of date: another follows, and only that one counts.
    fn gone(&mut self, id: &str) {
        if self.running.contains(id) {
            self.dirty.insert(id.to_owned());
            self.stale.insert(id.to_owned());
        }
    }

    /// Everything was listed after the inspections that run were begun.
    fn listed(&mut self) {
        self.dirty.clone_from(&self.running);
        self.stale.clone_from(&self.running);
    }

    /// True: its answer is not to be used.
    fn is_stale(&self, id: &str) -> bool {
        self.stale.contains(id)
    }

    /// True: inspect again.
    fn ended(&mut self, id: &str) -> bool {
        self.running.remove(id);
        self.stale.remove(id);
        self.dirty.remove(id)
    }
}

/// A new session starts from what the last one knew, so that intents to stop survive a lost stream.
fn carry_intents(tracker: &mut Tracker, out: &watch::Sender<Seen>) {
    tracker.resume(&out.borrow().containers, now_nanos());
}

fn events_options() -> EventsOptions {
    let since = (now_nanos() / 1_000_000_000).saturating_sub(OVERLAP_SECONDS);
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let filters = [("type", strings(&["container", "network"])), ("event", strings(&EVENTS))];
    let filters = filters.map(|(key, values)| (key.to_owned(), values)).into_iter().collect();
    EventsOptions { since: Some(since.to_string()), filters: Some(filters), ..EventsOptions::default() }
}

/// Everything in scope. A container that goes away meanwhile is not there; any other fault fails the whole,
/// since a partial view is no view.
async fn list(docker: &Docker, scope: &Scope) -> Result<Containers, SessionError> {
    let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let listed = docker.list_containers(Some(options)).await?;
    let ids = listed.into_iter().filter_map(|summary| {
        let labels = summary.labels.unwrap_or_default().into_iter().collect();
        summary.id.filter(|_| scope.concerns(&labels))
    });
    let mut found = futures_util::stream::iter(ids).map(|id| inspect(docker, id)).buffer_unordered(PARALLEL);
    let mut containers = Containers::new();
    while let Some((id, container)) = found.next().await {
        if let Some(container) = container? {
            containers.insert(id, container);
        }
    }
    Ok(containers)
}

/// One container; none when it is not there.
async fn inspect(docker: &Docker, id: String) -> (String, Result<Option<Container>, SessionError>) {
    let found = match docker.inspect_container(&id, None::<InspectContainerOptions>).await {
        Ok(inspection) => Ok(Container::of(inspection)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    };
    (id, found)
}

/// Whether the engine says that there is no such container.
pub fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

fn whole(out: &watch::Sender<Seen>, tracker: &Tracker, about: &str) {
    out.send_modify(|seen| {
        if !seen.current {
            tracing::info!(
                engine = about,
                containers = tracker.containers().len(),
                "the view of Docker is whole"
            );
        }
        seen.current = true;
        seen.listed = Some(Instant::now());
        about.clone_into(&mut seen.about);
        seen.error = None;
        keep_equal(seen, tracker);
    });
}

fn publish(out: &watch::Sender<Seen>, tracker: &Tracker) {
    // Before the first listing a view would be partial.
    out.send_if_modified(|seen| seen.current && keep_equal(seen, tracker));
}

/// True when the containers changed; equal ones stay the same allocation.
fn keep_equal(seen: &mut Seen, tracker: &Tracker) -> bool {
    let containers = tracker.containers();
    let changed = *seen.containers != containers;
    if changed {
        seen.containers = Arc::new(containers);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::Again;

    #[test]
    fn an_answer_from_before_a_listing_is_not_used_and_another_is_asked_for() {
        let mut again = Again::default();
        assert!(again.begin("cart"));
        again.listed();
        assert!(again.is_stale("cart") && !again.is_stale("web"));
        assert!(again.ended("cart"), "once more");
        assert!(again.begin("cart"));
        assert!(!again.begin("cart"), "one at a time");
        assert!(!again.is_stale("cart"), "its answer is good, if not the last");
        assert!(again.ended("cart"));
        assert!(again.begin("cart"));
        again.gone("cart");
        assert!(again.is_stale("cart") && again.ended("cart"));
    }
}
