//! Names of services for those whose sidecar cannot give them: records of a private hosted zone.
//!
//! Takes: the snapshot. Gives: `A` records of the services' virtual addresses. Guarantees: only records are touched that this
//! mesh made, which a `TXT` record beside each says; what cannot be done is told and tried again, and what stood there stays.

mod records;
mod route53;

pub use route53::HostedZone;
