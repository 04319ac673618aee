use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::problems::Problems;
use crate::status::Problem;

/// So many are shown; whoever is refused beyond takes the oldest one's place.
const SHOWN: usize = 32;
/// A refusal that was not repeated is forgotten after this: sidecars try again within seconds.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// Who was refused at a door, and why: each is logged once, and in the status until it is let in or gone.
pub(super) struct Refusals {
    /// Name of the finder of these problems.
    finder: &'static str,
    problems: Problems,
    by: Mutex<BTreeMap<String, (String, Instant)>>,
}

impl Refusals {
    pub(super) fn new(finder: &'static str, problems: Problems) -> Self {
        Self { finder, problems, by: Mutex::default() }
    }

    /// `subject` was refused.
    pub(super) fn refused(&self, subject: String, why: String) {
        self.change(|by, now| {
            if by.len() >= SHOWN && !by.contains_key(&subject) {
                let oldest = by.iter().min_by_key(|(_, (_, when))| *when).map(|(subject, _)| subject.clone());
                oldest.map(|oldest| by.remove(&oldest));
            }
            by.insert(subject, (why, now));
        });
    }

    /// These were let in.
    pub(super) fn admitted(&self, subjects: &[String]) {
        self.change(|by, _| by.retain(|subject, _| !subjects.contains(subject)));
    }

    /// Forgets who did not come again.
    pub(super) fn forget(&self) {
        self.change(|_, _| ());
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, (String, Instant)>, Instant)) {
        let now = Instant::now();
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<(String, String)> = shown(&by);
        change(&mut by, now);
        by.retain(|_, (_, when)| now.saturating_duration_since(*when) < FORGOTTEN);
        if shown(&by) == before {
            return;
        }
        let problem = |(subject, what)| Problem { kind: "refused", subject, what };
        let problems: BTreeSet<Problem> = shown(&by).into_iter().map(problem).collect();
        self.problems.set(self.finder, problems);
    }
}

/// A task, by its id.
pub(super) fn subject_of_task(id: &str) -> String {
    format!("task {id}")
}

fn shown(by: &BTreeMap<String, (String, Instant)>) -> Vec<(String, String)> {
    by.iter().map(|(subject, (why, _))| (subject.clone(), why.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_shown_until_it_is_over_or_old() {
        let problems = Problems::default();
        let refusals = Refusals::new("door", problems.clone());
        let shown = || problems.all().into_iter().map(|problem| problem.subject).collect::<Vec<_>>();
        refusals.refused("task a".into(), "no".into());
        refusals.refused("task b".into(), "no".into());
        assert_eq!(shown(), ["task a", "task b"]);
        refusals.admitted(&["task a".into()]);
        assert_eq!(shown(), ["task b"]);
        tokio::time::advance(FORGOTTEN).await;
        refusals.forget();
        assert!(shown().is_empty());
        for n in 0..200 {
            refusals.refused(format!("10.0.0.{n}"), "no".into());
        }
        assert_eq!(shown().len(), SHOWN);
    }
}
