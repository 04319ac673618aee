//! The sidecar: captures a workload's traffic and carries it, as its configuration says.
//!
//! One way: `control` (or a file) gives a [`runtime::Generation`]; `listener` accepts and finds the
//! destination in it; `http` or `tcp` carries; `cluster` picks endpoints; `upstream` connects to them.

mod admin;
pub mod capture;
pub mod cluster;
pub mod control;
mod detect;
pub mod dns;
pub mod downstream;
mod ejections;
pub mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod handover;
pub mod hash;
pub mod health;
pub mod hold;
pub mod hosts;
pub mod http;
pub mod identity;
pub mod index;
pub mod limits;
mod listener;
mod netlink;
pub mod netns;
pub mod patience;
pub mod privilege;
mod probe;
pub mod proxy_protocol;
pub mod rate;
mod reclaim;
pub mod report;
mod route;
pub mod runtime;
pub mod settings;
mod sidecar;
pub mod state;
pub mod stopping;
pub mod stream;
pub mod task;
mod tcp;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod wait;
pub mod worker;

pub use sidecar::{Options, Sidecar, StartError, Stopped};
