//! ECS: `watch` follows its API (`list`, through `client` at the speed of `pace`) and the events of a queue (`queue`,
//! `events`); `tracker` knows the tasks, `book` their definitions and services; `record` cuts answers down,
//! `map` turns them into the model.

mod ask;
mod book;
pub mod calls;
pub mod client;
mod events;
mod list;
pub mod map;
pub mod pace;
pub mod queue;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
mod tracker;
pub mod watch;
