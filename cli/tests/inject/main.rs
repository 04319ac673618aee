//! `outrigger inject`, as a user calls it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "all of it is a test")]

mod ecs;
mod fake;
mod place;
mod real;
mod up;
