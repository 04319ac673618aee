//! Signals, named task groups, drain and readiness; used by both processes, knows neither.

mod drain;
mod readiness;
mod signals;
mod tasks;

pub use drain::{Drain, DrainGuard, Draining, drain};
pub use readiness::{Pending, Readiness};
pub use signals::shutdown_signal;
pub use tasks::{Ended, Tasks};
