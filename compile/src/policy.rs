//! What callers do about replicas that fail: what the mesh file says, with the rest filled in.

use outrigger_model::policy::{Balance, Bounds, HashOn, Outlier, Retries, RetryOn, SuccessRate};
use outrigger_wire::{HashOn as WireHashOn, Policy, policy as wire};

use crate::services::milliseconds;

/// How an endpoint of a cluster is picked.
pub(crate) fn balance(said: &outrigger_model::Policy) -> (outrigger_wire::Balance, WireHashOn) {
    use outrigger_wire::Balance as Wire;
    let mut on = WireHashOn::default();
    let balance = match &said.balance {
        None | Some(Balance::LeastRequest) => Wire::LeastRequest,
        Some(Balance::PeakEwma) => Wire::PeakEwma,
        Some(Balance::RoundRobin) => Wire::RoundRobin,
        Some(Balance::Random) => Wire::Random,
        Some(Balance::Hash(said)) => {
            on = hash_on(said);
            Wire::Hash
        }
    };
    (balance, on)
}

/// What keeps requests together.
pub(crate) fn hash_on(said: &HashOn) -> WireHashOn {
    match said {
        HashOn::Header(name) => WireHashOn { header: Some(name.clone()), cookie: None },
        HashOn::Cookie(name) => WireHashOn { header: None, cookie: Some(name.clone()) },
        HashOn::Source => WireHashOn::default(),
    }
}

/// The policy of a cluster; a part that is switched off is not there.
pub(crate) fn policy(said: &outrigger_model::Policy) -> Policy {
    Policy {
        outlier: said
            .outlier
            .as_ref()
            .map(outlier)
            .filter(|outlier| outlier.consecutive_errors > 0 || outlier.success_rate.is_some()),
        retries: said.retries.as_ref().map(retries).filter(|retries| retries.attempts > 0),
        limits: said.bounds.as_ref().map(limits).filter(|limits| *limits != wire::Limits::default()),
    }
}

fn outlier(said: &Outlier) -> wire::Outlier {
    let preset = wire::Outlier::default();
    wire::Outlier {
        consecutive_errors: said.consecutive_errors.unwrap_or(preset.consecutive_errors),
        eject_ms: said.eject.map_or(preset.eject_ms, milliseconds),
        most_percent: said.most.unwrap_or(preset.most_percent),
        panic_percent: said.panic.unwrap_or(preset.panic_percent),
        success_rate: said.success_rate.map(success_rate).filter(|rate| rate.below_percent > 0),
    }
}

fn success_rate(said: SuccessRate) -> wire::SuccessRate {
    let preset = wire::SuccessRate::default();
    wire::SuccessRate {
        below_percent: said.below.unwrap_or(preset.below_percent),
        requests: said.requests.unwrap_or(preset.requests),
        endpoints: said.replicas.unwrap_or(preset.endpoints),
        interval_ms: said.interval.map_or(preset.interval_ms, milliseconds),
    }
}

fn retries(said: &Retries) -> wire::Retries {
    let preset = wire::Retries::default();
    let (on, statuses) = match &said.on {
        None => (preset.on, preset.statuses),
        Some(on) => (
            on.iter().filter_map(word).collect(),
            on.iter()
                .filter_map(|on| if let RetryOn::Status(status) = on { Some(*status) } else { None })
                .collect(),
        ),
    };
    let (least, most) = said.backoff.map_or((preset.backoff_least_ms, preset.backoff_most_ms), |(a, b)| {
        (milliseconds(a), milliseconds(b))
    });
    wire::Retries {
        attempts: said.attempts.unwrap_or(preset.attempts),
        on,
        statuses,
        methods: said.methods.clone().unwrap_or(preset.methods),
        per_try_timeout_ms: said.per_try_timeout.map_or(preset.per_try_timeout_ms, milliseconds),
        backoff_least_ms: least,
        backoff_most_ms: most,
        budget_percent: said.budget.unwrap_or(preset.budget_percent),
        budget_least: said.budget_least.unwrap_or(preset.budget_least),
    }
}

fn word(on: &RetryOn) -> Option<wire::RetryOn> {
    match on {
        RetryOn::Reset => Some(wire::RetryOn::Reset),
        RetryOn::Timeout => Some(wire::RetryOn::Timeout),
        RetryOn::Unavailable => Some(wire::RetryOn::Unavailable),
        // Repeated in any case.
        RetryOn::ConnectFailure => None,
        RetryOn::Status(_) => None,
    }
}

fn limits(said: &Bounds) -> wire::Limits {
    wire::Limits {
        requests: said.requests.unwrap_or(0),
        streams: said.streams.unwrap_or(0),
        held: said.held.unwrap_or(0),
        retries: said.retries.unwrap_or(0),
    }
}
