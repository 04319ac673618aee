//! Whether an endpoint that failed again and again is out: a state machine that fits into one atomic.

use std::time::Duration;

use outrigger_wire::policy::Outlier;

/// An ejection is at most this many times as long as the first.
const MOST_TIMES: u64 = 10;
/// Bits of the counters in the packed form; times take the rest: milliseconds of 500 years.
const COUNTER: u32 = 10;
const MASK: u64 = (1 << COUNTER) - 1;

/// What is known of one endpoint's failures. Times are milliseconds since the endpoint was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Failures since the last success.
    errors: u64,
    /// Ejections that are not forgiven yet.
    ejections: u64,
    /// Out until then; 0: never was.
    until_ms: u64,
}

/// What happened to a request or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It went well.
    Succeeded,
    /// It did not; `may_eject` if enough others are in.
    Failed { may_eject: bool },
    /// More of its requests failed than of the others'.
    Behind { may_eject: bool },
}

impl Standing {
    /// The state after an event. While it is out nothing counts: what comes in then was sent before, or in a panic.
    /// Each ejection is longer than the one before; one is forgiven for each time of a first ejection spent in.
    pub fn step(self, event: Event, now_ms: u64, policy: &Outlier) -> Self {
        if self.is_out(now_ms) {
            return self;
        }
        let stays = match event {
            Event::Succeeded => Some(Self { errors: 0, ..self }),
            Event::Failed { may_eject } if may_eject && self.is_due(policy) => None,
            Event::Failed { .. } => Some(Self { errors: (self.errors + 1).min(MASK), ..self }),
            Event::Behind { may_eject } => (!may_eject).then_some(self),
        };
        if let Some(stays) = stays {
            return stays;
        }
        let first = policy.eject_ms.max(1);
        let forgiven = now_ms.saturating_sub(self.until_ms) / first;
        let ejections = (self.ejections.saturating_sub(forgiven) + 1).min(MOST_TIMES);
        Self { errors: 0, ejections, until_ms: now_ms.saturating_add(first.saturating_mul(ejections)) }
    }

    /// True if one more failure is one too many.
    pub fn is_due(self, policy: &Outlier) -> bool {
        policy.consecutive_errors > 0 && self.errors + 1 >= u64::from(policy.consecutive_errors)
    }

    /// True while it is out.
    pub fn is_out(self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// How much longer it is out; none where it is not.
    pub fn out_for(self, now_ms: u64) -> Option<Duration> {
        self.is_out(now_ms).then(|| Duration::from_millis(self.until_ms - now_ms))
    }

    /// True if a success would change nothing.
    pub fn is_clean(self) -> bool {
        self.errors == 0
    }

    pub fn pack(self) -> u64 {
        self.until_ms << (2 * COUNTER) | self.ejections << COUNTER | self.errors
    }

    pub fn unpack(packed: u64) -> Self {
        let (errors, ejections) = (packed & MASK, packed >> COUNTER & MASK);
        Self { errors, ejections, until_ms: packed >> (2 * COUNTER) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Outlier = Outlier {
        consecutive_errors: 3,
        eject_ms: 1000,
        most_percent: 50,
        panic_percent: 50,
        success_rate: None,
    };

    fn failed(standing: Standing, now_ms: u64) -> Standing {
        standing.step(Event::Failed { may_eject: true }, now_ms, &POLICY)
    }

    #[test]
    fn the_third_failure_in_a_row_ejects_and_a_success_between_does_not() {
        let twice = failed(failed(Standing::default(), 5), 6);
        assert!(!twice.is_out(6) && twice.is_due(&POLICY));
        let out = failed(twice, 7);
        assert!(out.is_out(7) && out.is_out(1006) && !out.is_out(1007));
        let again = failed(twice.step(Event::Succeeded, 7, &POLICY), 8);
        assert!(!again.is_out(8) && !again.is_due(&POLICY));
    }

    #[test]
    fn ejections_grow_and_are_forgiven() {
        let eject = |mut standing: Standing, at| {
            for _ in 0..3 {
                standing = failed(standing, at);
            }
            standing
        };
        let first = eject(Standing::default(), 0);
        let second = eject(first, 1000);
        assert!(second.is_out(2999) && !second.is_out(3000), "twice as long");
        let third = eject(second, 3000);
        assert!(third.is_out(5999) && !third.is_out(6000), "three times as long");
        let forgiven = eject(third, 6000 + 3000);
        assert!(forgiven.is_out(9999) && !forgiven.is_out(10_000), "as long as a first one");
    }

    /// Random events: packing loses nothing, it is out only after enough failures in a row and when it may be, never
    /// for longer than ten times the first.
    #[test]
    fn whatever_happens_it_is_out_for_a_reason_and_not_for_ever() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let policy = Outlier {
                consecutive_errors: rng.u32(1..8),
                eject_ms: rng.u64(1..100_000),
                ..Outlier::default()
            };
            let (mut standing, mut now, mut row) = (Standing::default(), 0, 0);
            for _ in 0..500 {
                now += rng.u64(..policy.eject_ms);
                let may_eject = rng.u8(..4) > 0;
                let event = if rng.bool() { Event::Failed { may_eject } } else { Event::Succeeded };
                let before = standing;
                standing = standing.step(event, now, &policy);
                assert_eq!(Standing::unpack(standing.pack()), standing, "seed {seed}");
                if before.is_out(now) {
                    assert_eq!(standing, before, "seed {seed}: nothing counts while it is out");
                    row = 0;
                    continue;
                }
                row = if event == Event::Succeeded { 0 } else { row + 1 };
                let ejected = standing.is_out(now);
                let reason = event == Event::Failed { may_eject: true } && row >= policy.consecutive_errors;
                assert_eq!(ejected, reason, "seed {seed}");
                assert!(!standing.is_out(now + policy.eject_ms * MOST_TIMES), "seed {seed}");
                if ejected {
                    row = 0;
                }
            }
        }
    }
}
