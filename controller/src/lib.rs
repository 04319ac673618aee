//! The controller: sources to snapshot, compile, publish over the control socket.

mod abreast;
pub mod admin;
pub mod attest;
#[cfg(feature = "ecs")]
pub mod aws;
pub mod board;
pub mod control;
pub mod heal;
pub mod identity;
pub mod indices;
pub mod inject;
pub mod mesh;
#[cfg(feature = "ecs")]
pub mod names;
pub mod problems;
pub mod proxies;
pub mod publish;
pub mod run;
pub mod scope;
pub mod settings;
pub mod source;
pub mod state;
pub mod status;
pub mod surroundings;
pub mod upgrade;
