//! Follows ECS: events from the queue as they come, and a whole answer of the API at the start, after a gap, and every
//! minute; without a queue every ten seconds. Whatever is lost in between, the view ends up the same.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Fuse, FutureExt};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ask::{Answer, Found, Question};
use super::book::{Book, Name, service_of};
use super::client::{Api, CallError};
use super::events::{Event, read};
use super::list::ListError;
use super::pace::backoff;
use super::queue::{BATCH, Queue};
use super::record::{Seen, Task, last_part};
use super::tracker::Tracker;

/// Between the starts of two whole answers, with a queue that works.
const WITH_QUEUE: Duration = Duration::from_secs(60);
/// The same without.
const WITHOUT: Duration = Duration::from_secs(10);
/// A whole answer that takes long is asked for less often: one part of the time in so many.
const PART: u32 = 2;
/// What full answers of the queue tell is published together, this long after the first: a merge of a large mesh costs more
/// than ten messages, and a deployment is hundreds of them.
const TOGETHER: Duration = Duration::from_millis(200);
/// The shortest pause after one that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Watches the clusters (names or ARNs) until dropped. Never gives up: an API that is away, or answers in part, leaves the
/// last good view, marked as not current.
pub async fn watch(api: Api, clusters: Vec<String>, queue: Option<Queue>, out: watch::Sender<Seen>) {
    let state = Watch {
        about: about(&api, &clusters),
        api,
        names: clusters,
        out,
        clusters: Vec::new(),
        tracker: Tracker::default(),
        book: Book::default(),
        asking: BTreeSet::new(),
        queue: queue.as_ref().map(|_| None),
        failures: 0,
        begun: Instant::now(),
        next: Instant::now(),
        unpublished: None,
    };
    match queue {
        Some(queue) => state.run(queue.polls()).await,
        None => state.run(futures_util::stream::pending()).await,
    }
}

fn about(api: &Api, clusters: &[String]) -> String {
    let region = api.ecs.config().region().map_or("no region", |region| region.as_ref());
    let names: Vec<&str> = clusters.iter().map(|cluster| last_part(cluster)).collect();
    format!("ECS in {region}, {} {}", if names.len() == 1 { "cluster" } else { "clusters" }, names.join(", "))
}

struct Watch {
    api: Api,
    about: String,
    /// Clusters as they were said.
    names: Vec<String>,
    out: watch::Sender<Seen>,
    /// ARNs of the clusters; empty until they are known.
    clusters: Vec<String>,
    tracker: Tracker,
    book: Book,
    /// Definitions and services that are being asked for.
    asking: BTreeSet<Need>,
    /// None: there is none. Then, why it does not work.
    queue: Option<Option<String>>,
    /// Whole answers in a row that failed.
    failures: u32,
    begun: Instant,
    next: Instant,
    /// By when what events told must be published.
    unpublished: Option<Instant>,
}

/// What must be known before a task can be told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Definition(String),
    Service(Name),
}

type Look = (BTreeSet<Need>, Result<Found, ListError>);
type Whole = Fuse<BoxFuture<'static, Result<Answer, ListError>>>;

impl Watch {
    async fn run(mut self, polls: impl Stream<Item = Result<Vec<String>, CallError>>) {
        let mut polls = pin!(polls);
        let mut whole: Whole = Fuse::terminated();
        let (mut asked, mut looks) = (false, FuturesUnordered::<BoxFuture<'static, Look>>::new());
        loop {
            tokio::select! {
                // Before the clusters are known nobody can say which events are meant; they wait in the queue.
                Some(poll) = polls.next(), if !self.clusters.is_empty() => {
                    looks.extend(self.polled(poll));
                }
                Some((needs, found)) = looks.next() => self.looked(&needs, found),
                answer = &mut whole => match self.answered(answer) {
                    Some(question) => whole = question.ask(self.api.clone()).boxed().fuse(),
                    None => asked = false,
                },
                () = sleep_until(self.unpublished.unwrap_or(self.next)), if self.unpublished.is_some() => {
                    self.publish();
                }
                () = sleep_until(self.next), if !asked => {
                    (asked, self.begun) = (true, Instant::now());
                    whole = self.question().ask(self.api.clone()).boxed().fuse();
                }
            }
        }
    }

    fn question(&self) -> Question {
        let known = |cluster: &String| (cluster.clone(), self.tracker.known(cluster));
        match self.clusters.is_empty() {
            true => Question::Clusters(self.names.clone()),
            false => Question::Tasks(self.clusters.iter().map(known).collect()),
        }
    }

    /// Takes one part of a whole answer; what to ask next, or none: it is over.
    fn answered(&mut self, answer: Result<Answer, ListError>) -> Option<Question> {
        match answer {
            Ok(Answer::Clusters(clusters)) => {
                self.clusters = clusters;
                Some(self.question())
            }
            Ok(Answer::Tasks { clusters, services }) => {
                let now = Instant::now();
                for tasks in clusters {
                    self.tracker.listed(tasks.told, &tasks.absent, now);
                }
                let tasks: BTreeSet<Name> = self.tasks().filter_map(service_of).collect();
                self.book.listed(&services, &tasks);
                self.publish();
                let definitions = self.book.unknown_definitions(self.tasks());
                let services = self.book.wanted_services(services.union(&tasks).cloned().collect(), now);
                Some(Question::Rest { definitions, services })
            }
            Ok(Answer::Rest(found)) => {
                self.found(found);
                self.whole();
                None
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tracker.tasks().values().map(AsRef::as_ref)
    }

    fn polled(&mut self, poll: Result<Vec<String>, CallError>) -> Option<BoxFuture<'static, Look>> {
        let bodies = match poll {
            Ok(bodies) => bodies,
            Err(error) => {
                self.queue_failed(&error);
                return None;
            }
        };
        if self.queue.as_mut().and_then(Option::take).is_some() {
            // Events of the gap may be lost.
            tracing::info!("the queue answers again");
            self.next = Instant::now();
            self.publish();
        }
        let (mut needs, mut changed) = (BTreeSet::new(), false);
        for body in &bodies {
            match read(body) {
                Event::Task(task) if self.clusters.contains(&task.cluster) => {
                    let wanted = self.needs(&task);
                    let taken = self.tracker.event(*task, Instant::now());
                    needs.extend(wanted.into_iter().filter(|_| taken));
                    self.api.calls.event(if taken { "taken" } else { "old" });
                    changed |= taken;
                }
                Event::Service(arn) => {
                    self.api.calls.event("service");
                    needs.extend(self.book.name_of(&arn).map(Need::Service));
                }
                Event::Task(_) | Event::Other => self.api.calls.event("other"),
                Event::Unreadable => {
                    self.api.calls.event("unreadable");
                    tracing::debug!("a message of the queue cannot be read, and is deleted");
                }
            }
        }
        if changed {
            self.unpublished.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
        if self.unpublished.is_some() && bodies.len() < BATCH {
            self.publish();
        }
        needs.retain(|need| self.asking.insert(need.clone()));
        (!needs.is_empty()).then(|| look(self.api.clone(), needs))
    }

    fn needs(&self, task: &Task) -> BTreeSet<Need> {
        if self.book.covers(task) || task.is_stopping() {
            return BTreeSet::new();
        }
        let service = service_of(task).filter(|name| !self.book.knows(name));
        let definitions = self.book.unknown_definitions([task].into_iter());
        definitions.into_iter().map(Need::Definition).chain(service.map(Need::Service)).collect()
    }

    fn looked(&mut self, needs: &BTreeSet<Need>, found: Result<Found, ListError>) {
        self.asking.retain(|need| !needs.contains(need));
        match found {
            Ok(found) => {
                // ECS may not know yet of what was made a moment ago.
                if found.definitions.iter().any(|(_, definition)| definition.is_none()) {
                    self.next = self.next.min(Instant::now() + WITHOUT);
                }
                self.found(found);
                self.publish();
            }
            // A whole answer asks for it again, and says why not.
            Err(error) => {
                tracing::debug!("{error}");
                self.next = Instant::now() + AGAIN;
            }
        }
    }

    fn found(&mut self, found: Found) {
        self.book.defined(found.definitions);
        self.book.served(found.asked, found.services, Instant::now());
    }

    fn queue_failed(&mut self, error: &CallError) {
        let text = error.to_string();
        let known = self.queue.get_or_insert(None);
        if known.as_ref() != Some(&text) {
            tracing::warn!("{text}; the API is asked every {} s meanwhile", WITHOUT.as_secs());
            *known = Some(text);
            self.next = self.next.min(Instant::now() + WITHOUT);
            self.publish();
        }
    }

    /// Everything that the whole answer named is known.
    fn whole(&mut self) {
        let now = Instant::now();
        let period = if self.queue == Some(None) { WITH_QUEUE } else { WITHOUT };
        let took = now.saturating_duration_since(self.begun);
        self.next = self.begun + period.max(took * PART);
        self.failures = 0;
        self.book.tidy(self.tracker.tasks().values().map(AsRef::as_ref));
        let (about, tasks) = (&self.about, self.tracker.tasks().len());
        self.out.send_modify(|seen| {
            if !seen.current {
                tracing::info!(tasks, took_ms = took.as_millis(), "the view of {about} is whole");
            }
            // In one go: a reader must not find it current with what was there before.
            self.fill(seen);
            seen.current = true;
            seen.listed = Some(now);
            seen.error = None;
            seen.about.clone_from(about);
        });
    }

    fn failed(&mut self, error: &ListError) {
        self.failures += 1;
        let pause = backoff(self.failures, 0.5 + fastrand::f64() / 2.0);
        self.next = Instant::now() + pause.max(AGAIN);
        let (text, about) = (error.to_string(), self.about.clone());
        self.out.send_modify(|seen| {
            if seen.error.as_ref() != Some(&text) {
                let what =
                    if seen.listed.is_some() { "the last view of ECS stays" } else { "nothing is known yet" };
                tracing::warn!("{text}; {what}, asking again");
            }
            seen.current = false;
            seen.error = Some(text);
            seen.about = about;
        });
    }

    /// Before the first whole answer a view would be partial.
    fn publish(&mut self) {
        self.unpublished = None;
        self.out.send_if_modified(|seen| seen.listed.is_some() && self.fill(seen));
    }

    /// Tasks whose definition and service are known, and these. True when something changed.
    fn fill(&self, seen: &mut Seen) -> bool {
        let covered = self.tracker.tasks().iter().filter(|(_, task)| self.book.covers(task));
        let tasks: super::tracker::Tasks = covered.map(|(id, task)| (id.clone(), task.clone())).collect();
        let definitions = self.book.definitions(tasks.values().map(AsRef::as_ref));
        let queue = self.queue.clone().flatten();
        let mut changed = keep_equal(&mut seen.tasks, tasks);
        changed |= keep_equal(&mut seen.definitions, definitions);
        changed |= keep_equal(&mut seen.services, self.book.services());
        changed |= seen.queue != queue;
        seen.queue = queue;
        changed
    }
}

fn look(api: Api, needs: BTreeSet<Need>) -> BoxFuture<'static, Look> {
    let (mut definitions, mut services) = (BTreeSet::new(), BTreeSet::new());
    for need in needs.clone() {
        match need {
            Need::Definition(arn) => definitions.insert(arn),
            Need::Service(name) => services.insert(name),
        };
    }
    async move { (needs, super::ask::rest(&api, definitions, services).await) }.boxed()
}

/// True when it changed; equal ones stay the same allocation.
fn keep_equal<T: PartialEq>(held: &mut Arc<T>, found: T) -> bool {
    let changed = **held != found;
    if changed {
        *held = Arc::new(found);
    }
    changed
}

#[cfg(test)]
mod tests;
