//! The sidecar: captures a workload's traffic and carries it, as its configuration says.
//!
//! One way: `control` (or a file) gives a [`runtime::Generation`]; `listener` accepts and finds the
//! destination in it; `http` or `tcp` carries; `cluster` picks endpoints; `upstream` connects to them.

pub mod capture;
pub mod cluster;
pub mod dns;
pub mod downstream;
pub mod http;
pub mod identity;
mod netlink;
pub mod netns;
pub mod runtime;
pub mod stream;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod worker;
