//! Metrics and access log.

use std::sync::Arc;
use std::time::Duration;

use crate::downstream::Direction;

/// Metrics of one sidecar; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {}

/// What is carried over an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carried {
    /// HTTP that is not gRPC.
    Http,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// Traffic from one service to another as this sidecar sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Inbound: this workload was called.
    pub direction: Direction,
    /// The other side: `<service>.<namespace>`, `unknown` (plaintext from outside) or `passthrough`.
    pub peer: String,
    /// The called port.
    pub port: u16,
    /// Mutual TLS carries it.
    pub mtls: bool,
    /// What.
    pub carried: Carried,
}

/// Counters of one edge; look it up once per connection, not per request.
#[derive(Debug)]
pub struct Edge {}

impl Telemetry {
    /// The counters of an edge.
    pub fn edge(&self, key: &EdgeKey) -> Arc<Edge> {
        let _ = (key, &self.0);
        Arc::new(Edge {})
    }

    /// Traffic by edge since the start, for the report to the controller.
    pub fn edges(&self) -> Vec<outrigger_wire::control::Edge> {
        Vec::new()
    }
}

impl Edge {
    /// A request was answered. `status` as sent downstream; `failed` for what counts as an error (5xx, a gRPC
    /// status that is the server's fault, an answer cut short).
    pub fn request(&self, status: u16, took: Duration, failed: bool) {
        let _ = (status, took, failed);
    }
}
