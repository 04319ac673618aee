//! The mesh on ECS, on the simulator of `tests/ecs`.

mod services;
mod source;
mod terraform;
