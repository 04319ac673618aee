//! Settings of a process in layers: defaults, file, environment, flags; each stands over the one before it.
//!
//! Takes: a section of the file, what was said on the command line and in the environment. Gives: the checked
//! settings, each with where it came from; or every fault at once, each with its layer, its key and what to
//! write. Knows no mesh and no wire.

mod faults;
pub mod keys;
mod layers;
mod said;
pub mod template;

pub use faults::Refused;
pub use keys::{CLI, CONTROLLER, Key, SIDECAR, Section};
pub use layers::{Layered, layer};
pub use said::{DEFAULT_FILE, Said};
