//! The controller: sources to snapshot, compile, publish over the control socket.

pub mod attest;
pub mod proxies;
pub mod scope;
pub mod source;
pub mod status;
