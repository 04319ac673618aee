//! Follows what Cloud Map says of the services that the mesh file looks up there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use outrigger_model::Health;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::{Api, MOST, Said};
use super::record::{Instance, Lookup, Seen, Unusable};
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

/// Follows until dropped; `namespaces` are those of the mesh. Never gives up: while Cloud Map is away, or refuses, the last good
/// answer stays.
pub async fn watch(
    api: Api,
    mut file: watch::Receiver<MeshFile>,
    namespaces: BTreeSet<String>,
    out: watch::Sender<Seen>,
) {
    let mut turns: BTreeMap<Lookup, Turn> = BTreeMap::new();
    let mut asking: FuturesUnordered<BoxFuture<'static, Asked>> = FuturesUnordered::new();
    let mut asked: BTreeSet<Lookup> = BTreeSet::new();
    loop {
        let now = Instant::now();
        if let Some(mesh) = &file.borrow_and_update().mesh {
            let said = mesh.cloud_map(&namespaces);
            let wanted: BTreeSet<Lookup> = said.iter().map(|(key, said)| Lookup::of(key, said)).collect();
            turns.retain(|lookup, _| wanted.contains(lookup));
            for lookup in wanted {
                turns.entry(lookup).or_insert_with(|| Turn::new(now));
            }
            let begun = turns.values().all(|turn| turn.awaited.is_none_or(|until| until <= now));
            publish(&out, |seen| forget(seen, &turns, begun));
        }
        for (lookup, turn) in turns.iter().filter(|(_, turn)| turn.due <= now) {
            if asking.len() < AT_ONCE && asked.insert(lookup.clone()) {
                let (api, lookup, known) = (api.clone(), lookup.clone(), turn.known(now));
                asking.push(async move { (lookup.clone(), api.look(&lookup, known).await) }.boxed());
            }
        }
        tokio::select! {
            changed = file.changed() => if changed.is_err() { return std::future::pending().await },
            Some((lookup, said)) = asking.next() => {
                asked.remove(&lookup);
                if let Some(turn) = turns.get_mut(&lookup) {
                    *turn = next(turn.clone(), &said);
                    publish(&out, |seen| take(seen, lookup, said));
                }
            }
            () = sleep_until(wake(&turns, &asked, now)) => {}
        }
    }
}

/// When something is to be done next: a question, or an end of waiting.
fn wake(turns: &BTreeMap<Lookup, Turn>, asked: &BTreeSet<Lookup>, now: Instant) -> Instant {
    let full = asked.len() >= AT_ONCE;
    let due = turns.iter().filter(|(lookup, _)| !full && !asked.contains(*lookup)).map(|(_, turn)| turn.due);
    let awaited = turns.values().filter_map(|turn| turn.awaited).filter(|until| *until > now);
    due.chain(awaited).min().unwrap_or(now + NEVER)
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

fn forget(seen: &mut Seen, turns: &BTreeMap<Lookup, Turn>, begun: bool) {
    seen.begun |= begun;
    if seen.answers.keys().any(|lookup| !turns.contains_key(lookup)) {
        Arc::make_mut(&mut seen.answers).retain(|lookup, _| turns.contains_key(lookup));
    }
}

/// What fails leaves the last good answer.
fn take(seen: &mut Seen, lookup: Lookup, said: Result<Said, CallError>) {
    let answer = Arc::make_mut(&mut seen.answers).entry(lookup).or_default();
    match said {
        Ok(said) => {
            if let Said::Whole { instances, .. } = said {
                let (instances, left_out) = usable(instances);
                (answer.instances, answer.left_out) = (Some(instances.into()), left_out.into());
            }
            (answer.asked, answer.error) = (Some(Instant::now()), None);
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
