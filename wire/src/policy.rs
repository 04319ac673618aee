//! What a caller does about endpoints that fail, by cluster. A policy that says nothing is left out: a sidecar of the
//! version before knows none.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a caller does about endpoints that fail; each part is off where it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Endpoints that fail again and again take no requests for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
    /// Requests that failed are sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// How much may be under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outlier {
    /// Failures in a row: answers of 500 and above, no connection, a connection that broke, no answer in time.
    /// Up to 1000, 0: never for that; default 5.
    pub consecutive_errors: u32,
    /// Milliseconds of a first ejection; the second in a row takes twice, the third three times as long, up to ten
    /// times. Default 30,000.
    pub eject_ms: u64,
    /// Percent of the ready endpoints that may be out at once, rounded down. Default 50.
    pub most_percent: u32,
    /// With less than this percent of the ready endpoints in, all are used. Default 50.
    pub panic_percent: u32,
    /// Endpoints that fail more often than the others are ejected, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            eject_ms: 30_000,
            most_percent: 50,
            panic_percent: 50,
            success_rate: None,
        }
    }
}

/// When an endpoint fails so much more often than the others that it is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessRate {
    /// So many percentage points fewer successes than the mean of the others; 1 to 100, default 20.
    pub below_percent: u32,
    /// Requests that an endpoint must have got in one interval to be judged, or to be compared with. Default 100.
    pub requests: u32,
    /// Endpoints that must have got them; at least 2, the default.
    pub endpoints: u32,
    /// Milliseconds that are judged at a time. Default 10,000.
    pub interval_ms: u64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { below_percent: 20, requests: 100, endpoints: 2, interval_ms: 10_000 }
    }
}

/// Which requests are sent again, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Times that one request is sent again, at most. Default 2.
    pub attempts: u32,
    /// What must have happened.
    pub on: BTreeSet<RetryOn>,
    /// Or one of these status codes was answered.
    pub statuses: BTreeSet<u16>,
    /// Methods that may be repeated.
    pub methods: BTreeSet<String>,
    /// Milliseconds for one try; 0: what is left of the whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub per_try_timeout_ms: u64,
    /// Milliseconds of the first pause, at most; each further one is up to twice as long. Default 25.
    pub backoff_least_ms: u64,
    /// Milliseconds of the longest pause. Default 250.
    pub backoff_most_ms: u64,
    /// Percent of the requests that may be sent again, over about ten seconds. Default 20.
    pub budget_percent: u32,
    /// Requests per second that may be sent again in any case. Default 3.
    pub budget_least: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: [RetryOn::Reset, RetryOn::Timeout, RetryOn::Unavailable].into(),
            statuses: [502, 503, 504].into(),
            methods: ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].map(str::to_owned).into(),
            per_try_timeout_ms: 0,
            backoff_least_ms: 25,
            backoff_most_ms: 250,
            budget_percent: 20,
            budget_least: 3,
        }
    }
}

/// What makes a request worth sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// The connection broke, or the stream was reset, before an answer.
    Reset,
    /// The time for one try passed.
    Timeout,
    /// gRPC status 14 (UNAVAILABLE) before any message.
    Unavailable,
}

/// How much one caller may have under way to a cluster at once; 0: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub requests: u32,
    /// Byte streams.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub streams: u32,
    /// Requests and byte streams that wait for an endpoint to appear.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub held: u32,
    /// Requests that are being sent again.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub retries: u32,
}

impl Policy {
    /// True where nothing is said.
    pub fn is_default(&self) -> bool {
        self.outlier.is_none() && self.retries.is_none() && self.limits.is_none()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero_32(number: &u32) -> bool {
    *number == 0
}
