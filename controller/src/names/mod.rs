//! Names of services for those whom no sidecar gives them: records of private hosted zones.
//!
//! Takes: the snapshot. Gives: `A` records of the services' virtual addresses for tasks of the mesh, and in a zone of its own
//! `A` and `AAAA` records of the tasks' own addresses for callers outside it. Guarantees: only records are touched that this
//! mesh made, which a `TXT` record beside each says; what cannot be done is told and tried again, and what stood there stays.

mod batch;
mod outside;
mod pace;
mod records;
mod route53;
mod wanted;

pub use pace::Pace;
pub use route53::{HostedZone, Readers};
