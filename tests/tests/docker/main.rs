//! Our images on a real engine: `cargo xtask test docker` builds what these need. All that is made here carries a name
//! of its own and goes with the test, pass or fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod capture;
mod clients;
mod down;
mod ecs;
mod ejection;
mod health;
mod holders;
mod impostor;
mod loss;
mod mesh_file;
mod names;
mod networks;
mod postgres;
mod project;
mod routes;
mod shop;
mod strict;
mod templates;
mod upgrade;
mod wire;
