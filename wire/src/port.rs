//! Ports and ids that a sidecar reserves in its workload's network namespace.

/// TCP the application opens arrives here by redirect (loopback only).
pub const OUTBOUND: u16 = 15001;
/// Plaintext TCP from outside arrives here by redirect.
pub const INBOUND: u16 = 15006;
/// Peers' sidecars connect here, mutual TLS from the first byte.
pub const MESH: u16 = 15008;
/// The sidecar's own HTTP: `/metrics`, `/ready`, `/config`.
pub const ADMIN: u16 = 15020;
/// DNS of the application arrives here by redirect (UDP and TCP, 127.0.0.1 only).
pub const DNS: u16 = 15053;

/// All of the above: an application that needs one of them cannot be meshed.
pub const RESERVED: [u16; 5] = [OUTBOUND, INBOUND, MESH, ADMIN, DNS];

/// The sidecar's UID; together with [`GID`] it exempts the sidecar's own traffic from capture,
/// so it is uncommon on purpose.
pub const UID: u32 = 61337;
/// The sidecar's GID.
pub const GID: u32 = 61337;
