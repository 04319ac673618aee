//! The mesh on ECS, on the simulator of `tests/ecs`.

mod controller;
mod definitions;
mod identity;
mod injection;
mod scale;
mod services;
mod source;
mod terraform;
