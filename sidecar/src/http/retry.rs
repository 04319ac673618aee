//! Whether a request is sent once more, and when. What was never delivered goes elsewhere at once, for any method; what
//! an application may have seen only by the policy of its cluster, and only while nothing of an answer went out.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outrigger_wire::policy::{Retries, RetryOn};

use super::error::RequestError;
use super::head::{Request, Response};
use super::open::Attempts;
use super::origin::Origin;
use super::pump::Pump;
use super::reply::{GRPC_STATUS, is_overloaded};
use super::sides::{Down, Up};
use crate::cluster::{Bound, Cluster, Picked, RetryOutcome};

/// gRPC status UNAVAILABLE.
const UNAVAILABLE: &[u8] = b"14";

/// What comes after an attempt.
pub(super) enum Next {
    /// This was the last.
    Done,
    /// Another endpoint, at once.
    Elsewhere,
    /// Once more after so long.
    Again(Duration),
}

/// A request that is being sent again by policy; counted until dropped.
pub(super) struct Retry {
    cluster: Arc<Cluster>,
    times: u32,
}

impl Drop for Retry {
    fn drop(&mut self) {
        self.cluster.state.leave(Bound::Retries);
    }
}

type Outcome = Result<(Response, Up), RequestError>;

impl Attempts {
    /// How long this attempt may take, of what all of them may.
    pub fn limit(&self) -> Option<Duration> {
        let whole = self.whole;
        let left = match self.count {
            0 => whole,
            // Not zero, which is over before it began.
            _ => {
                whole.map(|whole| whole.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1)))
            }
        };
        let policed = self.picked.as_ref().and_then(Picked::policed);
        let one =
            policed.and_then(|cluster| cluster.policy.retries.as_ref()).map_or(0, |r| r.per_try_timeout_ms);
        match (one, left) {
            (0, left) => left,
            (one, None) => Some(Duration::from_millis(one)),
            (one, Some(left)) => Some(left.min(Duration::from_millis(one))),
        }
    }

    /// What comes after an attempt that ended so.
    pub fn next(&mut self, origin: &Origin, request: &Request, upload: &Pump, outcome: &Outcome) -> Next {
        self.count += 1;
        let policed = self.picked.as_ref().and_then(Picked::policed).cloned();
        if let Some(picked) = self.picked.as_ref().filter(|_| policed.is_some())
            && let Some(failed) = failed(outcome)
        {
            picked.observe(failed);
        }
        if let Ok((response, _)) = outcome
            && self.is_sent_away(origin, request, response, upload)
            && self.elsewhere()
        {
            tracing::debug!("an upgrade is sent elsewhere: its replica is full");
            return Next::Elsewhere;
        }
        if let Err(error) = outcome
            && self.again(origin, error, request, upload)
        {
            tracing::debug!(%error, "sent elsewhere");
            return Next::Elsewhere;
        }
        match policed {
            Some(cluster) => self.by_policy(&cluster, request, upload, outcome),
            None => Next::Done,
        }
    }

    fn by_policy(
        &mut self,
        cluster: &Arc<Cluster>,
        request: &Request,
        upload: &Pump,
        outcome: &Outcome,
    ) -> Next {
        let Some(policy) = &cluster.policy.retries else { return Next::Done };
        if !is_wanted(policy, outcome) {
            if self.retry.is_some() && outcome.is_ok() {
                cluster.state.retried(RetryOutcome::Recovered);
            }
            return Next::Done;
        }
        let repeatable = policy.methods.contains(request.method.as_str()) && request.upgrade.is_none();
        if !repeatable || upload.kept().is_none() || self.interim > 0 {
            return Next::Done;
        }
        let (pause, outcome) = match self.granted(cluster, policy, self.whole) {
            Ok(pause) => (Next::Again(pause), RetryOutcome::Sent),
            Err(outcome) => (Next::Done, outcome),
        };
        cluster.state.retried(outcome);
        pause
    }

    fn granted(
        &mut self,
        cluster: &Arc<Cluster>,
        policy: &Retries,
        whole: Option<Duration>,
    ) -> Result<Duration, RetryOutcome> {
        let times = self.retry.as_ref().map_or(0, |retry| retry.times);
        if times >= policy.attempts {
            return Err(RetryOutcome::OutOfAttempts);
        }
        let pause = pause(policy, times);
        if whole.is_some_and(|whole| self.started.elapsed() + pause >= whole) {
            return Err(RetryOutcome::OutOfTime);
        }
        if self.retry.is_none() {
            let most = cluster.policy.limits.map_or(0, |limits| limits.retries);
            if !cluster.state.enter(Bound::Retries, most) {
                return Err(RetryOutcome::OverLimit);
            }
            self.retry = Some(Box::new(Retry { cluster: cluster.clone(), times: 0 }));
        }
        if !cluster.state.pay(policy) {
            return Err(RetryOutcome::OutOfBudget);
        }
        if let Some(retry) = &mut self.retry {
            retry.times += 1;
        }
        // Gives its place in the endpoint's load back before the pause.
        if let Some(picked) = self.picked.take() {
            self.tried.rather_not(&picked.endpoint);
        }
        Ok(pause)
    }
}

/// A request that goes out for the first time adds to the budget.
pub(super) fn earn(picked: &Picked) {
    if let Some(cluster) = picked.policed()
        && let Some(retries) = &cluster.policy.retries
    {
        cluster.state.earn(retries);
    }
}

/// Whether the endpoint is to blame; `None` where it had no say.
fn failed(outcome: &Outcome) -> Option<bool> {
    match outcome {
        // Full is not broken: were it ejected, the others would get its share as well.
        Ok((response, _)) if is_overloaded(&response.headers) => None,
        Ok((response, _)) => Some(response.status.is_server_error() || is_unavailable(response)),
        Err(RequestError::Connect { .. } | RequestError::NotDelivered(_) | RequestError::Timeout) => {
            Some(true)
        }
        Err(RequestError::Upstream(_) | RequestError::BadResponse(_)) => Some(true),
        Err(RequestError::Bad(_) | RequestError::ClientGone(_) | RequestError::ClientSlow) => None,
        Err(RequestError::NoRoute(_) | RequestError::NoBackend(_) | RequestError::Injected(_)) => None,
        Err(RequestError::NoTimeLeft) => None,
        Err(RequestError::RateLimited(_) | RequestError::Full(_) | RequestError::Crowded(_)) => None,
        Err(RequestError::NoEndpoint(_) | RequestError::Overloaded { .. } | RequestError::Draining) => None,
    }
}

fn is_wanted(policy: &Retries, outcome: &Outcome) -> bool {
    match outcome {
        Ok((response, _)) => {
            policy.statuses.contains(&response.status.as_u16())
                || (policy.on.contains(&RetryOn::Unavailable) && is_unavailable(response))
        }
        Err(RequestError::Upstream(_)) => policy.on.contains(&RetryOn::Reset),
        Err(RequestError::Timeout) => policy.on.contains(&RetryOn::Timeout),
        Err(_) => false,
    }
}

/// A gRPC answer of headers alone (gRPC over HTTP/2, "Trailers-Only").
fn is_unavailable(response: &Response) -> bool {
    response.headers.get(GRPC_STATUS).is_some_and(|status| status.as_bytes() == UNAVAILABLE)
}

/// Twice as long each time; the second half by chance, so that those who failed together do not come back together.
fn pause(policy: &Retries, times: u32) -> Duration {
    let longest = policy.backoff_least_ms.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX));
    let longest = longest.min(policy.backoff_most_ms).saturating_mul(1000);
    Duration::from_micros(longest / 2 + fastrand::u64(..=longest / 2))
}

/// Waits, unless the client goes.
pub(super) async fn wait(down: &mut Down<'_>, pause: Duration) -> Result<(), RequestError> {
    let mut sleep = pin!(tokio::time::sleep(pause));
    poll_fn(|cx| match (sleep.as_mut().poll(cx), down.poll_failed(cx)) {
        (_, Poll::Ready(gone)) => Poll::Ready(Err(RequestError::ClientGone(gone))),
        (Poll::Ready(()), Poll::Pending) => Poll::Ready(Ok(())),
        (Poll::Pending, Poll::Pending) => Poll::Pending,
    })
    .await
}
