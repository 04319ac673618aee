//! The mesh on ECS, on the simulator of `tests/ecs`.

mod controller;
mod definitions;
mod identity;
mod injection;
mod scale;
mod agent;
mod calls;
mod cloud;
mod loss;
mod services;
mod source;
mod tasks;
mod terraform;
