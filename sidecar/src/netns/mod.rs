//! What the sidecar sees of the network namespace it shares: who listens in it, which connections it
//! has, and when it has died. Needs no capability.

mod diag;
mod links;
mod listening;
mod sockets;

pub use links::{LinkError, dead};
pub use listening::{Listening, listening, watch_listening};
pub use sockets::{Socket, State, established, parse, sockets, unmeshed};
