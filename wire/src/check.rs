//! How a sidecar asks its own application whether it can serve.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the sidecar asks, how often, and what counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is asked.
    pub ask: Ask,
    /// The application's port; none: the lowest that it is seen listening on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Milliseconds from the start of one try to the start of the next, a fifth more or less by chance. Default 5,000.
    #[serde(default = "interval")]
    pub interval_ms: u64,
    /// Milliseconds that one try may take, connecting included. Default 1,000.
    #[serde(default = "timeout")]
    pub timeout_ms: u64,
    /// Tries in a row that must pass until it is well (again). Default 1.
    #[serde(default = "healthy")]
    pub healthy: u32,
    /// Tries in a row that must fail until it is not. Default 3.
    #[serde(default = "unhealthy")]
    pub unhealthy: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// A connection is accepted.
    Tcp,
    /// `grpc.health.v1.Health/Check` over HTTP/2 with prior knowledge answers SERVING.
    Grpc {
        /// The asked service; empty: the server as a whole.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        service: String,
    },
    /// `GET` over HTTP/1.1 is answered as expected.
    Http {
        /// Path and query, from `/`.
        path: String,
        /// The `host` field; none: the own service's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Further fields, names in lower case.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// Ranges of status codes that are good, both ends included; empty: 200 to 299.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        status: BTreeSet<(u16, u16)>,
        /// Text that must be in the first 64 KiB of the body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
}

fn interval() -> u64 {
    5_000
}

fn timeout() -> u64 {
    1_000
}

fn healthy() -> u32 {
    1
}

fn unhealthy() -> u32 {
    3
}

impl Check {
    /// Asks so, with all else at its default.
    pub fn new(ask: Ask) -> Self {
        Self {
            ask,
            port: None,
            interval_ms: interval(),
            timeout_ms: timeout(),
            healthy: healthy(),
            unhealthy: unhealthy(),
        }
    }
}
