//! Which endpoints are out, and why. Failures in a row count as they come; success rates are compared by a timer, which
//! takes what the workers counted meanwhile. A lock is taken only by who is about to eject.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use outrigger_wire::policy::Outlier;

use super::outlier::{Event, Standing};
use super::rate::{Behind, Tally, behind};
use super::{Cluster, Endpoint};

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many failures in a row.
    InARow(u32),
    /// Fewer of its requests succeeded than of the others'.
    Behind(Behind),
}

/// An endpoint that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// [`Endpoint::id`].
    pub(super) id: u64,
    /// The replica's name.
    pub workload: String,
    /// When it was ejected.
    pub since: SystemTime,
    /// For how long.
    pub lasts: Duration,
    /// Why.
    pub why: Why,
}

impl Cluster {
    /// Takes note of how an attempt at an endpoint went.
    pub(crate) fn observe(&self, endpoint: &Endpoint, failed: bool) {
        let Some(policy) = &self.policy.outlier else { return };
        if policy.success_rate.is_some() {
            endpoint.tally.fetch_add(Tally::one(failed), Ordering::Relaxed);
        }
        let standing = endpoint.standing();
        if !failed {
            if !standing.is_clean() {
                endpoint.step(Event::Succeeded, policy);
            }
        } else if standing.is_due(policy) {
            self.eject(endpoint, policy, Why::InARow(policy.consecutive_errors));
        } else {
            endpoint.step(Event::Failed { may_eject: false }, policy);
        }
    }

    /// Compares the success rates of one interval, if one has passed since the last time.
    pub(crate) fn judge(&self) {
        let Some(policy) = &self.policy.outlier else { return };
        let Some(rate) = &policy.success_rate else { return };
        if !self.state.is_judged(Duration::from_millis(rate.interval_ms)) {
            return;
        }
        let ready = self.members.iter().filter(|member| member.ready);
        let counted = ready.map(|member| {
            let tally = Tally::unpack(member.endpoint.tally.swap(0, Ordering::Relaxed));
            (&member.endpoint, tally)
        });
        // What came in while it was out was sent before, or in a panic.
        let counted: Vec<_> = counted.filter(|(endpoint, _)| !endpoint.is_out()).collect();
        let tallies: Vec<_> = counted.iter().map(|(_, tally)| *tally).collect();
        for (index, behind) in behind(&tallies, rate) {
            if let Some((endpoint, _)) = counted.get(index) {
                self.eject(endpoint, policy, Why::Behind(behind));
            }
        }
    }

    /// Ejects it, unless as many are out as may be.
    fn eject(&self, endpoint: &Endpoint, policy: &Outlier, why: Why) {
        // One at a time, so that two together do not eject more than may be out.
        let mut ejected = self.state.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        let was_out = endpoint.is_out();
        let may_eject = self.may_eject(policy);
        endpoint.step(
            if matches!(why, Why::InARow(_)) {
                Event::Failed { may_eject }
            } else {
                Event::Behind { may_eject }
            },
            policy,
        );
        let Some(lasts) = endpoint.out_for().filter(|_| !was_out) else { return };
        self.state.ejections.fetch_add(1, Ordering::Relaxed);
        let (cluster, workload) = (&self.key, &endpoint.workload);
        match why {
            Why::InARow(errors) => {
                tracing::warn!(
                    cluster,
                    workload,
                    errors,
                    ?lasts,
                    "endpoint ejected: it failed too often in a row"
                );
            }
            Why::Behind(Behind { percent, others }) => {
                tracing::warn!(
                    cluster,
                    workload,
                    percent,
                    others,
                    ?lasts,
                    "endpoint ejected: it fails more often than the others"
                );
            }
        }
        ejected.retain(|ejection| ejection.id != endpoint.id && ejection.ends() > SystemTime::now());
        let (id, workload) = (endpoint.id, endpoint.workload.clone());
        ejected.push(Ejection { id, workload, since: SystemTime::now(), lasts, why });
    }

    fn may_eject(&self, policy: &Outlier) -> bool {
        let (ready, out) = self.ready_and_out();
        (out + 1) * 100 <= ready * policy.most_percent as usize
    }

    /// Endpoints in balancing that are out now.
    pub fn ejected(&self) -> Vec<Ejection> {
        let ejected = self.state.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        let is_out = |ejection: &&Ejection| {
            self.members.iter().any(|m| m.endpoint.id == ejection.id && m.ready && m.endpoint.is_out())
        };
        ejected.iter().filter(is_out).cloned().collect()
    }

    /// Endpoints in balancing, and how many of them are ejected.
    pub fn ready_and_out(&self) -> (usize, usize) {
        let ready = self.members.iter().filter(|member| member.ready);
        ready.fold((0, 0), |(ready, out), member| (ready + 1, out + usize::from(member.endpoint.is_out())))
    }

    /// True where ejections count: somebody asked for them, and enough endpoints are in.
    pub fn ejects(&self) -> bool {
        self.policy.outlier.as_ref().is_some_and(|policy| {
            let (ready, out) = self.ready_and_out();
            (ready - out) * 100 >= ready * policy.panic_percent as usize
        })
    }
}

impl Ejection {
    fn ends(&self) -> SystemTime {
        self.since + self.lasts
    }
}

impl Endpoint {
    fn standing(&self) -> Standing {
        Standing::unpack(self.standing.load(Ordering::Relaxed))
    }

    fn step(&self, event: Event, policy: &Outlier) {
        let now = self.age_ms();
        let step = |packed| Some(Standing::unpack(packed).step(event, now, policy).pack());
        let _always = self.standing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// True while it is ejected.
    pub fn is_out(&self) -> bool {
        let standing = self.standing.load(Ordering::Relaxed);
        standing != 0 && Standing::unpack(standing).is_out(self.age_ms())
    }

    /// How much longer it is ejected; none where it is not.
    fn out_for(&self) -> Option<Duration> {
        self.standing().out_for(self.age_ms())
    }
}
