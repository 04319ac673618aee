//! When which lookup is asked again. Values: time and outcomes go in, the next turn comes out.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::ecs::pace::backoff;

/// Between two questions of one lookup: whether somebody came or went.
const OFTEN: Duration = Duration::from_secs(5);
/// A change of health changes no revision, so that all is asked for so often in any case: every other time, since one call is made
/// each time.
const WHOLE: Duration = Duration::from_secs(10);
/// How long a first answer is waited for before nobody is told to be there, and by the first publication: without it, a controller
/// that starts anew would take replicas out of traffic that its predecessor had told of.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where one lookup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it is asked next.
    pub due: Instant,
    /// Until when a first answer is waited for; none: there was one, or none is to be expected.
    pub awaited: Option<Instant>,
    /// Of the last whole answer, and when that came.
    known: Option<(i64, Instant)>,
    failures: u32,
}

impl Turn {
    /// Due at once.
    pub fn new(now: Instant) -> Self {
        Self { due: now, awaited: Some(now + PATIENCE), known: None, failures: 0 }
    }

    /// A first answer is still waited for.
    pub fn is_awaited(&self, now: Instant) -> bool {
        self.awaited.is_some_and(|until| until > now)
    }

    /// There was a whole answer with a revision.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The revision to compare with; none: all is wanted.
    pub fn known(&self, now: Instant) -> Option<i64> {
        self.known.filter(|(_, at)| now.saturating_duration_since(*at) < WHOLE).map(|(revision, _)| revision)
    }

    /// Nobody came or went.
    pub fn same(self, now: Instant) -> Self {
        Self { due: now + OFTEN, awaited: None, failures: 0, ..self }
    }

    /// All are known, as of this revision.
    pub fn whole(self, now: Instant, revision: Option<i64>) -> Self {
        let known = revision.map(|revision| (revision, now));
        Self { due: now + OFTEN, awaited: None, known, failures: 0 }
    }

    /// No answer, or (`refused`) one that will be the same for a while. `chance`: 0 to 1.
    pub fn failed(self, now: Instant, refused: bool, chance: f64) -> Self {
        let failures = self.failures.saturating_add(1);
        let due = match (refused, self.awaited) {
            // There is no time to lose before the first.
            (false, Some(_)) => now + backoff(failures, chance),
            _ => now + OFTEN + backoff(failures, chance),
        };
        Self { due, awaited: self.awaited.filter(|_| !refused), failures, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_revision_saves_whole_answers_until_health_is_wanted_again() {
        let now = Instant::now();
        let turn = Turn::new(now);
        assert_eq!((turn.due, turn.known(now)), (now, None));
        let mut turn = turn.whole(now, Some(7));
        let mut asked = Vec::new();
        for _ in 0..4 {
            let at = turn.due;
            asked.push((at.duration_since(now).as_secs(), turn.known(at)));
            turn = if turn.known(at).is_some() { turn.same(at) } else { turn.whole(at, Some(7)) };
        }
        let known = Some(7);
        assert_eq!(asked, [(5, known), (10, None), (15, known), (20, None)]);
        assert_eq!(turn.whole(now, None).known(now), None, "without a revision all is asked for");
    }

    #[test]
    fn failures_are_followed_by_growing_pauses_and_forgotten() {
        let now = Instant::now();
        let mut turn = Turn::new(now);
        turn = turn.failed(now, false, 1.0);
        assert_eq!((turn.due, turn.awaited), (now + Duration::from_millis(500), Some(after(now, 10))));
        let known = turn.whole(now, Some(1));
        let mut turn = known.clone();
        for _ in 0..20 {
            turn = turn.failed(now, false, 1.0);
        }
        assert_eq!(turn.due, after(now, 25), "never rarer");
        assert_eq!(turn.known(now), Some(1), "what was known holds");
        assert_eq!(turn.same(now), known);
    }

    #[test]
    fn a_refusal_is_as_good_as_an_answer_for_who_waits() {
        let now = Instant::now();
        let turn = Turn::new(now).failed(now, true, 0.0);
        assert_eq!((turn.awaited, turn.due), (None, after(now, 5)));
    }
}
