//! Controller and sidecar in one process, over real sockets, with the engine's view and the snapshot as values.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod control;
mod control_ecs;
mod control_identity;
mod control_push;
mod control_state;
mod health;
mod mesh_file;
mod traffic;
