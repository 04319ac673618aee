//! When a workload whose injection failed is tried again, and what is told about it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_model::WorkloadId;
use tokio::time::Instant;

use crate::status::Problem;

/// First and longest pause; each failure in a row doubles it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A sidecar that served this long starts a new row of failures.
const GOOD: Duration = Duration::from_secs(60);

/// Failures by workload.
#[derive(Debug, Default)]
pub struct Retries(BTreeMap<WorkloadId, Failures>);

#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    until: Instant,
    serving_since: Option<Instant>,
    problem: Option<Problem>,
}

impl Retries {
    /// It failed, and people should know.
    pub fn failed(&mut self, app: &WorkloadId, problem: Problem, now: Instant) {
        self.count(app, Some(problem), now);
    }

    /// It failed in a way that solves itself.
    pub fn failed_silently(&mut self, app: &WorkloadId, now: Instant) {
        self.count(app, None, now);
    }

    fn count(&mut self, app: &WorkloadId, problem: Option<Problem>, now: Instant) {
        let fresh = Failures { in_a_row: 0, until: now, serving_since: None, problem: None };
        let failures = self.0.entry(app.clone()).or_insert(fresh);
        if failures.serving_since.is_some_and(|since| now.duration_since(since) >= GOOD) {
            failures.in_a_row = 0;
        }
        let pause = PAUSE.0.saturating_mul(1 << failures.in_a_row.min(16)).min(PAUSE.1);
        failures.in_a_row += 1;
        failures.until = now + pause;
        failures.serving_since = None;
        failures.problem = problem;
    }

    /// Its sidecar serves.
    pub fn succeeded(&mut self, app: &WorkloadId, now: Instant) {
        if let Some(failures) = self.0.get_mut(app) {
            failures.serving_since = Some(now);
            failures.problem = None;
        }
    }

    /// Forgets workloads that are gone.
    pub fn retain(&mut self, known: impl Fn(&WorkloadId) -> bool) {
        self.0.retain(|app, _| known(app));
    }

    /// Workloads to leave alone for now.
    pub fn waiting(&self, now: Instant) -> Vec<WorkloadId> {
        self.0.iter().filter(|(_, failures)| failures.until > now).map(|(app, _)| app.clone()).collect()
    }

    /// When the next pause ends.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|failures| failures.until).filter(|until| *until > now).min()
    }

    /// What is wrong.
    pub fn problems(&self) -> BTreeSet<Problem> {
        self.0.values().filter_map(|failures| failures.problem.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_a_sidecar_served_long_enough() {
        let app = WorkloadId("a".into());
        let mut retries = Retries::default();
        let pause = |retries: &mut Retries| {
            let now = Instant::now();
            retries.failed_silently(&app, now);
            retries.next(now).unwrap() - now
        };
        assert_eq!(pause(&mut retries), Duration::from_millis(250));
        assert_eq!(pause(&mut retries), Duration::from_millis(500));
        retries.succeeded(&app, Instant::now());
        assert_eq!(pause(&mut retries), Duration::from_secs(1));
        for _ in 0..40 {
            assert!(pause(&mut retries) <= PAUSE.1);
        }
        retries.succeeded(&app, Instant::now());
        tokio::time::advance(GOOD).await;
        assert_eq!(pause(&mut retries), Duration::from_millis(250));
    }
}
