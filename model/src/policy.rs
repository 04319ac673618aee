//! What callers of a service do about replicas that fail. `None`: nobody said it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::Check;

/// Which of the ready replicas a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The fewest requests in flight.
    LeastRequest,
    /// The soonest answer.
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The same for the same value of this.
    Hash(HashOn),
}

/// What the zones of caller and replicas are to balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zones {
    /// Replicas in the caller's own zone first, as far as they can carry it.
    Prefer,
    /// Nothing.
    Ignore,
}

/// What keeps requests together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The value of a header; its name in lower case.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The calling workload.
    Source,
}

/// What is done about replicas of a service that fail, by its callers but for the check; a part that nobody spoke of is
/// off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `health.check`: what its sidecars ask it.
    pub check: Option<Check>,
    /// `health.outlier`.
    pub outlier: Option<Outlier>,
    /// `retries`.
    pub retries: Option<Retries>,
    /// `limits`.
    pub bounds: Option<Bounds>,
    /// `balance`.
    pub balance: Option<Balance>,
    /// `slow-start`; zero: none.
    pub slow_start: Option<Duration>,
    /// `zones`.
    pub zones: Option<Zones>,
}

/// When a replica takes no requests for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row, 0 to 1000; 0: never.
    pub consecutive_errors: Option<u32>,
    /// How long the first time, 1 s to 1 h.
    pub eject: Option<Duration>,
    /// Percent of the replicas that may be out at once, 0 to 100.
    pub most: Option<u32>,
    /// With less than this percent in, all are used; 0 to 100.
    pub panic: Option<u32>,
    /// Replicas that fail more often than the others.
    pub success_rate: Option<SuccessRate>,
}

/// When a replica fails so much more often than the others that it takes no requests for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuccessRate {
    /// So many percentage points fewer successes than the others, 0 to 100; 0: never.
    pub below: Option<u32>,
    /// Requests that a replica must have got from one caller in one interval, 1 to 1,000,000.
    pub requests: Option<u32>,
    /// Replicas that must have got them, 2 to 1000.
    pub replicas: Option<u32>,
    /// How much time is judged at once, 1 s to 1 h.
    pub interval: Option<Duration>,
}

/// Which requests are sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// How often, 0 to 10; 0: never.
    pub attempts: Option<u32>,
    /// What must have happened.
    pub on: Option<BTreeSet<RetryOn>>,
    /// Methods that may be repeated.
    pub methods: Option<BTreeSet<String>>,
    /// For one try; zero: what is left of the whole.
    pub per_try_timeout: Option<Duration>,
    /// The shortest and the longest pause.
    pub backoff: Option<(Duration, Duration)>,
    /// Percent of the requests that may be sent again, 0 to 100.
    pub budget: Option<u32>,
    /// Per second that may be sent again in any case, 0 to 1000.
    pub budget_least: Option<u32>,
}

/// What makes a request worth sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryOn {
    /// It could not be sent: repeated in any case.
    ConnectFailure,
    /// The connection or the stream broke before an answer.
    Reset,
    /// The time for one try passed.
    Timeout,
    /// gRPC status UNAVAILABLE.
    Unavailable,
    /// This status code: 429, or 500 to 599.
    Status(u16),
}

/// How much may be under way at once, 0 to 1,000,000 each; 0: no bound. Of one caller, but for `replica`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Requests.
    pub requests: Option<u32>,
    /// Byte streams.
    pub streams: Option<u32>,
    /// Waiting for a replica to appear.
    pub held: Option<u32>,
    /// Requests that are being sent again.
    pub retries: Option<u32>,
    /// To the application of one replica, whoever calls.
    pub replica: Option<Capacity>,
}

/// How much may be under way to the application of one replica, 0 to 1,000,000 each; 0: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Requests.
    pub requests: Option<u32>,
    /// Requests that wait for one of those to end.
    pub pending: Option<u32>,
    /// Connections of HTTP to its sidecar.
    pub connections: Option<u32>,
    /// Byte streams.
    pub streams: Option<u32>,
}

impl RetryOn {
    /// Those with a word of their own.
    pub const WORDS: [Self; 4] = [Self::ConnectFailure, Self::Reset, Self::Timeout, Self::Unavailable];
}

impl std::fmt::Display for RetryOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConnectFailure => f.write_str("connect-failure"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Unavailable => f.write_str("unavailable"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}
