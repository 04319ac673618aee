//! What a sidecar does about requests and byte streams that come to its own application.

use serde::{Deserialize, Serialize};

use crate::RouteMatch;

/// How many requests the application gets in a time. Token buckets: after a rest `burst` at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// As answers and metrics name it; unique in its list.
    pub name: String,
    /// It counts a request that one of these takes; empty: every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteMatch>,
    /// What has a bucket of its own; none: all requests share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Requests in the window, 1 to 1,000,000.
    pub requests: u32,
    /// The window, seconds: 1 to 3,600.
    pub window_s: u32,
    /// Requests at once, 1 to 1,000,000.
    pub burst: u32,
}

/// What has a bucket of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Each calling service, by its proven identity; plaintext from outside shares one.
    Caller,
    /// Each address that calls.
    Source,
    /// Each value of this field; requests without it share one.
    Header(String),
}

/// How much may be under way to the application at once, whoever calls; 0: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// Requests.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u32,
    /// Requests that wait for one of those to end, where `requests` bounds them; 0: none wait.
    #[serde(skip_serializing_if = "is_zero")]
    pub pending: u32,
    /// Connections of HTTP, from outside and from callers' sidecars.
    #[serde(skip_serializing_if = "is_zero")]
    pub connections: u32,
    /// Byte streams.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams: u32,
}

impl Capacity {
    /// True where nothing is bounded.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
