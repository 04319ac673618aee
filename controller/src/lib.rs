//! The controller: sources to snapshot, compile, publish over the control socket.

pub mod attest;
pub mod indices;
pub mod inject;
pub mod mesh;
pub mod problems;
pub mod proxies;
pub mod scope;
pub mod source;
pub mod status;
