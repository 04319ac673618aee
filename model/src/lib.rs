//! What a mesh is: workloads, the services they make up, and what users may say about them.
//! No async, no I/O; the same input gives the same value.

pub mod check;
pub mod label;
pub mod mesh;
pub mod policy;
pub mod rate;
pub mod route;
mod snapshot;
mod workload;

pub use mesh::Mesh;
pub use policy::Policy;
pub use rate::RateLimit;
pub use route::Route;
pub use snapshot::{Conflict, ServiceKey, Snapshot, View, VirtualIndex, merge};
pub use workload::{
    Attachment, Capture, Checked, Declared, Health, Lifecycle, Mode, Observed, Outside, Protocol,
    ProxyProtocol, Timeouts, Upstream, Workload, WorkloadId,
};
