//! How the mesh asks an application whether it can serve. `None`: nobody said it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `health.check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What is asked; nobody said it: as [`Ask::Tcp`].
    pub ask: Option<Ask>,
    /// The application's port.
    pub port: Option<u16>,
    /// From one try to the next, 100 ms to 1 h.
    pub interval: Option<Duration>,
    /// For one try, 10 ms to 5 min.
    pub timeout: Option<Duration>,
    /// Tries in a row that must pass, 1 to 100.
    pub healthy: Option<u32>,
    /// Tries in a row that must fail, 1 to 100.
    pub unhealthy: Option<u32>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing: there is no check.
    Off,
    /// A connection is accepted.
    Tcp,
    /// gRPC's own health service, about this service of it; empty: about the server.
    Grpc(String),
    /// A `GET`.
    Http(HttpAsk),
}

/// A `GET` and what must come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAsk {
    /// Path and query, from `/`.
    pub path: String,
    /// The `host` field.
    pub host: Option<String>,
    /// Further fields, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Ranges of good status codes, both ends included; empty: nobody said one.
    pub status: BTreeSet<(u16, u16)>,
    /// Text that must be in the body.
    pub body: Option<String>,
}

impl Check {
    /// Key by key: what `self` does not say, `other` does. What is asked goes whole.
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self {
            ask: self.ask.clone().or_else(|| other.ask.clone()),
            port: self.port.or(other.port),
            interval: self.interval.or(other.interval),
            timeout: self.timeout.or(other.timeout),
            healthy: self.healthy.or(other.healthy),
            unhealthy: self.unhealthy.or(other.unhealthy),
        }
    }

    /// Whether anything is asked.
    pub fn is_on(&self) -> bool {
        self.ask != Some(Ask::Off)
    }
}
