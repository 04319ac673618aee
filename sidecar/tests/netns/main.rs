//! Capture and the namespace watch against the real kernel, each test in a network namespace of its own.
//! Needs root and the commands `ip`, `nft` and `unshare`; says so and passes where they are missing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod capture;
mod carried;
mod hold;
mod links;
mod namespace;
mod resolver;
mod rules;
mod sidecar;
