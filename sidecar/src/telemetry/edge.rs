//! Counters of the traffic from one service to another.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::downstream::Direction;

/// What is carried over an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carried {
    /// HTTP that is not gRPC.
    Http,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

impl Carried {
    /// As labels and reports say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// Traffic from one service to another as this sidecar sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeKey {
    /// Inbound: this workload was called.
    pub direction: Direction,
    /// The other side: `<service>.<namespace>`, `unknown` or `edge` (plaintext from outside) or
    /// `passthrough`.
    pub peer: String,
    /// The called port.
    pub port: u16,
    /// Mutual TLS carries it.
    pub mtls: bool,
    /// What.
    pub carried: Carried,
}

/// Upper bounds of the latency buckets, microseconds (labels are in seconds).
pub(super) const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// Status codes have three digits (RFC 9110, section 15); others count as 599.
const LOWEST: u16 = 100;
const STATUSES: usize = 500;

/// Counters of one edge.
#[derive(Debug)]
pub struct Edge {
    key: EdgeKey,
    http: OnceLock<Box<Requests>>,
    connections: AtomicU64,
    failures: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Counters of requests; only edges that carry HTTP have them.
#[derive(Debug)]
pub(super) struct Requests {
    statuses: [AtomicU64; STATUSES],
    /// One more than bounds: the last is what took longer.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
    failures: AtomicU64,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            statuses: [const { AtomicU64::new(0) }; STATUSES],
            buckets: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1],
            sum_us: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }
}

impl Edge {
    pub(super) fn new(key: EdgeKey) -> Self {
        let (connections, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        let (received, sent) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { key, http: OnceLock::new(), connections, failures, received, sent }
    }

    /// Which edge this is.
    pub fn key(&self) -> &EdgeKey {
        &self.key
    }

    /// A request was answered. `status` as sent downstream; `failed` for what counts as an error (5xx, a gRPC
    /// status that is the server's fault, an answer cut short).
    pub fn request(&self, status: u16, took: Duration, failed: bool) {
        let http = self.http.get_or_init(Box::default);
        let status = usize::from(status.saturating_sub(LOWEST)).min(STATUSES - 1);
        if let Some(counter) = http.statuses.get(status) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(counter) = http.buckets.get(bucket) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        http.sum_us.fetch_add(took, Ordering::Relaxed);
        if failed {
            http.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A byte stream was opened.
    pub fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A byte stream could not be carried to its destination.
    pub fn connection_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes carried: received from downstream, sent to downstream.
    pub fn bytes(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> Option<&Requests> {
        self.http.get().map(|http| &**http)
    }

    /// Connections, failed ones, bytes received, bytes sent.
    pub(super) fn streams(&self) -> [u64; 4] {
        [&self.connections, &self.failures, &self.received, &self.sent].map(|n| n.load(Ordering::Relaxed))
    }

    pub(super) fn report(&self) -> outrigger_wire::control::Edge {
        let [connections, failures, _, _] = self.streams();
        let (requests, errors) = match self.requests() {
            Some(http) => (http.count(), http.failures.load(Ordering::Relaxed)),
            None => (connections, failures),
        };
        outrigger_wire::control::Edge {
            inbound: self.key.direction == Direction::Inbound,
            peer: self.key.peer.clone(),
            port: self.key.port.into(),
            mtls: self.key.mtls,
            protocol: self.key.carried.as_str().to_owned(),
            requests,
            errors,
        }
    }
}

impl Requests {
    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Status codes that were sent, and how often.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let sent = self.statuses.iter().map(|counter| counter.load(Ordering::Relaxed));
        (LOWEST..).zip(sent).filter(|(_, count)| *count > 0)
    }

    /// Sum in seconds, count, and count of each bucket by its upper bound in seconds.
    pub(super) fn latency(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (self.sum_us.load(Ordering::Relaxed) as f64 / 1e6, count, buckets)
    }
}
