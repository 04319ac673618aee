//! Rings that need more than one crate: in-process meshes over real sockets, Docker, and a simulator of ECS.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

pub mod ecs;
