//! Docker: `watch` talks to the engine, `record` cuts its answers down, `map` turns them into the model.

pub mod connect;
pub mod holder;
pub mod map;
pub mod neighbours;
pub mod own;
pub mod record;
#[cfg(test)]
pub mod samples;
pub mod sidecars;
pub mod time;
pub mod tracker;
pub mod watch;
