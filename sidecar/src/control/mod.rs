//! The controller's end of a sidecar: dials the control socket, applies what comes whole or not at all, keeps the
//! last good configuration and a certificate that is good, and says what the sidecar sees.

mod backoff;
mod complaint;
mod dial;
mod keep;
mod place;
mod remote;
mod session;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_wire::{Held, ProxyConfig};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::identity::{Identity, IdentityError, Renewal};
use crate::report::Reporter;
use crate::state::State;

use backoff::Backoff;
use complaint::Complaint;
use dial::DialError;

pub use dial::Road;
pub use place::{InvalidPlace, Place};
pub use remote::{Remote, Unproved};

/// A stream that lived this long was a success: the next attempt follows at once.
const SUCCESS: Duration = Duration::from_secs(5);
/// Longest sleep until a moment of the wall clock, which may be set meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Takes a configuration and its version, whole, or says why not.
pub type Apply = Box<dyn FnMut(ProxyConfig, String) -> Result<(), Vec<String>> + Send>;

/// What the controller's words are handed to.
pub struct Parts {
    /// Runs a configuration.
    pub apply: Apply,
    /// Gets every new identity; none once the last one has expired.
    pub identity: watch::Sender<Option<Arc<Identity>>>,
    /// Says what the sidecar sees.
    pub reporter: Reporter,
    /// Is told to drain, and within which time.
    pub drain: mpsc::Sender<Duration>,
}

/// The link to the controller.
pub struct Control {
    road: Road,
    state: State,
    parts: Parts,
    held: Held,
    /// The configuration that runs, for the disk.
    good: watch::Sender<Option<Arc<ProxyConfig>>>,
    renewal: Renewal,
    complaint: Complaint,
}

impl Control {
    /// Takes up what an earlier run left in `state`: a certificate that is still good, and the last good configuration,
    /// which runs from here on, with or without a controller.
    pub fn open(road: impl Into<Road>, state: State, mut parts: Parts) -> Self {
        let identity = match Identity::load(&state, SystemTime::now()) {
            Ok(identity) => identity.map(Arc::new),
            Err(error @ IdentityError::Unusable(_)) => {
                tracing::warn!(%error, "the stored certificate is not used; asking for a new one");
                None
            }
            Err(error) => {
                tracing::error!(%error, "the stored certificate cannot be read; asking for a new one");
                None
            }
        };
        let renewal = Renewal::of(identity.as_deref(), fastrand::f64());
        if identity.is_some() {
            parts.identity.send_replace(identity);
        }
        let held = keep::load(&state, &mut parts.apply);
        let (road, complaint) = (road.into(), Complaint::default());
        Self { road, state, parts, held, good: watch::Sender::new(None), renewal, complaint }
    }

    /// Stays connected as well as it can; never ends.
    pub async fn run(mut self) {
        let keep = keep::follow(self.state.clone(), self.good.subscribe(), self.parts.identity.subscribe());
        let expire = expire(self.parts.identity.clone());
        tokio::select! {
            () = self.stay_connected() => {}
            () = keep => {}
            () = expire => {}
        }
    }

    async fn stay_connected(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            let error = match dial::dial(&mut self.road).await {
                Ok((channel, proof)) => self.session(channel, proof.as_ref()).await,
                Err(error) => error,
            };
            if begun.elapsed() >= SUCCESS {
                backoff = Backoff::default();
                self.complaint.clear();
            }
            self.complain(&error);
            sleep(backoff.pause(error.is_absence(), fastrand::f64())).await;
        }
    }

    /// What it means that there is no controller.
    fn complain(&mut self, error: &DialError) {
        let configured = self.held.resources().next().is_some();
        let certified = self.parts.identity.borrow().is_some();
        let meaning = match (configured, certified) {
            (true, true) => "serving on with the last good configuration",
            (true, false) => {
                "without a good certificate no other sidecar is reached, and none reaches this one"
            }
            (false, _) => "this sidecar never had a configuration and stays closed",
        };
        self.complaint.say(&format!("{error}; {meaning}; trying again"));
    }
}

/// Takes back an identity whose time is over, so that nobody counts on it.
async fn expire(identity: watch::Sender<Option<Arc<Identity>>>) {
    let mut changes = identity.subscribe();
    loop {
        let current = changes.borrow_and_update().clone();
        let now = SystemTime::now();
        let Some(current) = current else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        if !current.good_at(now) {
            tracing::error!(
                "the certificate has expired: other sidecars refuse this one until it has a new one"
            );
            identity.send_if_modified(|held| {
                let same = held.as_ref().is_some_and(|held| Arc::ptr_eq(held, &current));
                if same {
                    *held = None;
                }
                same
            });
            continue;
        }
        let end = UNIX_EPOCH + Duration::from_secs(current.not_after);
        let wait = end.duration_since(now).unwrap_or_default().min(CLOCK_CHECK);
        tokio::select! {
            () = sleep(wait) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests;
