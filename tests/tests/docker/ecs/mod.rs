//! The mesh on ECS, on the simulator of `tests/ecs`.

mod agent;
mod batch;
mod calls;
mod cloud;
mod controller;
mod definitions;
mod hosted;
mod identity;
mod injection;
mod instance;
mod loss;
mod names;
mod outside;
mod outsiders;
mod rolls;
mod route53;
mod scale;
mod services;
mod source;
mod tasks;
mod terraform;
mod zones;
