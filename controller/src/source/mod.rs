//! Sources: each looks at one outside system and publishes its whole view, never edits.

pub mod docker;
pub mod file;
