//! The mesh file: followed while the controller runs. `look` reads what is at its path, `patience` says when that
//! can be believed, `notify` says when to look, `kept` holds the last good text, `map` makes problems of faults,
//! `watch` joins them.

mod kept;
mod look;
pub mod map;
mod notify;
mod patience;
pub mod watch;
