//! Follows what Cloud Map says of the services that the mesh file looks up there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use outrigger_model::mesh::CloudMap;
use outrigger_model::{Health, ServiceKey};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::{Api, MOST, Said};
use super::kept::Kept;
use super::record::{Answer, Instance, Lookup, Seen, Unusable};
use super::schedule::Turn;
use crate::source::ecs::client::CallError;
use crate::source::file::watch::MeshFile;

/// Questions at once.
const AT_ONCE: usize = 4;
/// Instances of one service that cannot be used and are told one by one.
const TOLD: usize = 5;
/// A pause where nothing is due.
const NEVER: Duration = Duration::from_secs(3_600);

type Asked = (Lookup, Result<Said, CallError>);

/// Follows until dropped; `namespaces` are those of the mesh, `kept` what a controller before this one was told last. Never gives
/// up: while Cloud Map is away, or refuses, the last good answer stays.
pub async fn watch(
    api: Api,
    mut file: watch::Receiver<MeshFile>,
    namespaces: BTreeSet<String>,
    kept: Kept,
    out: watch::Sender<Seen>,
) {
    let mut lookups = Lookups { kept, ..Lookups::default() };
    let mut asking: FuturesUnordered<BoxFuture<'static, Asked>> = FuturesUnordered::new();
    let mut asked: BTreeSet<Lookup> = BTreeSet::new();
    loop {
        let now = Instant::now();
        if let Some(mesh) = &file.borrow_and_update().mesh {
            lookups.want(&mesh.cloud_map(&namespaces), now);
            publish(&out, |seen| lookups.settle(seen, now));
            lookups.kept.save();
        }
        while let Some((lookup, turn)) = lookups.due(&asked, now) {
            let (api, lookup, known) = (api.clone(), lookup.clone(), turn.known(now));
            asked.insert(lookup.clone());
            asking.push(async move { (lookup.clone(), api.look(&lookup, known).await) }.boxed());
        }
        tokio::select! {
            changed = file.changed() => if changed.is_err() { return std::future::pending().await },
            Some((lookup, said)) = asking.next() => {
                asked.remove(&lookup);
                if lookups.answered(&lookup, &said) {
                    publish(&out, |seen| take(seen, &lookup, said));
                    lookups.kept.know(&lookup, out.borrow().answers.get(&lookup));
                }
            }
            () = sleep_until(lookups.wake(&asked, now)) => {}
        }
    }
}

/// What is asked, and when again.
#[derive(Default)]
struct Lookups {
    turns: BTreeMap<Lookup, Turn>,
    /// The lookup of each service, as the mesh file said last.
    of: BTreeMap<ServiceKey, Lookup>,
    kept: Kept,
}

impl Lookups {
    /// As the mesh file says now. Where a service is looked up in another way, its replicas stay until that is answered.
    fn want(&mut self, said: &BTreeMap<ServiceKey, CloudMap>, now: Instant) {
        let of: BTreeMap<ServiceKey, Lookup> =
            said.iter().map(|(key, said)| (key.clone(), Lookup::of(key, said))).collect();
        for (key, lookup) in &of {
            if !self.turns.contains_key(lookup) {
                self.turns.insert(lookup.clone(), Turn::new(now));
                self.kept.inherit(lookup, self.of.get(key));
            }
        }
        if self.of != of {
            let wanted: BTreeSet<&Lookup> = of.values().collect();
            self.turns.retain(|lookup, _| wanted.contains(lookup));
            self.of = of;
        }
        self.kept.retain(|lookup| self.turns.contains_key(lookup));
    }

    /// There is an answer to each, which may say that it is waited for, and none to anything else.
    fn settle(&self, seen: &mut Seen, now: Instant) {
        seen.begun |= !self.turns.values().any(|turn| turn.is_awaited(now));
        let awaited = |lookup| self.turns.get(lookup).map(|turn| turn.is_awaited(now));
        let settled = seen.answers.len() == self.turns.len()
            && seen.answers.iter().all(|(lookup, answer)| awaited(lookup) == Some(answer.awaited));
        if settled {
            return;
        }
        let mut answers = std::mem::take(Arc::make_mut(&mut seen.answers));
        let answer = |(lookup, turn): (&Lookup, &Turn)| {
            let known = answers.remove(lookup);
            let kept = || Answer { instances: self.kept.of(lookup), ..Answer::default() };
            let answer = Answer { awaited: turn.is_awaited(now), ..known.unwrap_or_else(kept) };
            (lookup.clone(), answer)
        };
        seen.answers = Arc::new(self.turns.iter().map(answer).collect());
    }

    /// The one that has waited longest of those that are due, if another may be asked: where there are more than can be asked in
    /// time, each has its turn.
    fn due(&self, asked: &BTreeSet<Lookup>, now: Instant) -> Option<(&Lookup, &Turn)> {
        let due = self.turns.iter().filter(|(lookup, turn)| turn.due <= now && !asked.contains(*lookup));
        due.min_by_key(|(_, turn)| turn.due).filter(|_| asked.len() < AT_ONCE)
    }

    /// False: that was not the question, or is not any more.
    fn answered(&mut self, lookup: &Lookup, said: &Result<Said, CallError>) -> bool {
        let Some(turn) = self.turns.get_mut(lookup) else { return false };
        if matches!(said, Ok(Said::Same)) && !turn.is_known() {
            return false;
        }
        *turn = next(turn.clone(), said);
        true
    }

    /// When something is to be done next: a question, or an end of waiting.
    fn wake(&self, asked: &BTreeSet<Lookup>, now: Instant) -> Instant {
        let full = asked.len() >= AT_ONCE;
        let due = self.turns.iter().filter(|(lookup, _)| !full && !asked.contains(*lookup));
        let awaited = self.turns.values().filter_map(|turn| turn.awaited).filter(|until| *until > now);
        due.map(|(_, turn)| turn.due).chain(awaited).min().unwrap_or(now + NEVER)
    }
}

fn next(turn: Turn, said: &Result<Said, CallError>) -> Turn {
    let now = Instant::now();
    match said {
        Ok(Said::Same) => turn.same(now),
        Ok(Said::Whole { revision, .. }) => turn.whole(now, *revision),
        Err(error) => turn.failed(now, error.refused, fastrand::f64()),
    }
}

/// Changes what is seen; a change that only says how old it is wakes nobody.
fn publish(out: &watch::Sender<Seen>, change: impl FnOnce(&mut Seen)) {
    out.send_if_modified(|seen| {
        let before = seen.clone();
        change(seen);
        !before.shows_what(seen)
    });
}

/// What fails leaves the last good answer.
fn take(seen: &mut Seen, lookup: &Lookup, said: Result<Said, CallError>) {
    let answer = Arc::make_mut(&mut seen.answers).entry(lookup.clone()).or_default();
    match said {
        Ok(said) => {
            if let Said::Whole { instances, .. } = said {
                let (instances, left_out) = usable(instances);
                (answer.instances, answer.left_out) = (Some(instances.into()), left_out.into());
            }
            (answer.asked, answer.error, answer.awaited) = (Some(Instant::now()), None, false);
        }
        Err(error) => answer.error = Some(error.to_string()),
    }
}

/// Those that can be called, ordered, and what is told of the others. Cloud Map gives unhealthy ones where there is no other:
/// then they are called, as it wants.
fn usable(said: Vec<Result<Instance, Unusable>>) -> (Vec<Instance>, Vec<String>) {
    let full = said.len() >= usize::try_from(MOST).unwrap_or(usize::MAX);
    let (mut instances, mut unusable) = (BTreeMap::new(), BTreeSet::new());
    for one in said {
        match one {
            Ok(instance) => drop(instances.insert(instance.id.clone(), instance)),
            Err(why) => drop(unusable.insert(why.to_string())),
        }
    }
    let mut told: Vec<String> = unusable.iter().take(TOLD).cloned().collect();
    if unusable.len() > TOLD {
        told.push(format!("{} more instances cannot be called either", unusable.len() - TOLD));
    }
    if full {
        told.push(format!("it names {MOST} instances, and never more: others are not called"));
    }
    let mut instances: Vec<Instance> = instances.into_values().collect();
    if !instances.is_empty() && instances.iter().all(|instance| instance.health == Health::Unhealthy) {
        told.push("no instance of it is healthy: all are called".to_owned());
        instances.iter_mut().for_each(|instance| instance.health = Health::Unchecked);
    }
    (instances, told)
}

#[cfg(test)]
mod tests;
