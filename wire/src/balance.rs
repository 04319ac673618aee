//! How an endpoint of a cluster is picked.

use serde::{Deserialize, Serialize};

/// Which of the ready endpoints a request goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The one with the fewest requests in flight, of two drawn by chance.
    #[default]
    LeastRequest,
    /// The one that answers soonest, by what it took lately and what is in flight, of two drawn by chance.
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The same for the same value of [`HashOn`]; where a request has none, as `least-request`.
    Hash,
}

impl Balance {
    /// True for the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What keeps requests together with [`Balance::Hash`]: a header, else a cookie, else the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HashOn {
    /// The value of this header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The value of this cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

impl HashOn {
    /// True where it says nothing: the calling workload counts.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
