//! Capture and the namespace watch against the real kernel, each test in a network namespace of its own.
//! Needs root and the commands `ip`, `nft` and `unshare`; says so and passes where they are missing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod capture;
mod carried;
mod dead_peer;
mod hold;
mod links;
#[allow(dead_code, reason = "the ring uses the rest")]
#[path = "../ring/mesh.rs"]
mod mesh;
mod namespace;
mod resolver;
mod rules;
mod sidecar;
