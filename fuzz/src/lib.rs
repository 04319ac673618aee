//! Fuzz targets, one function each; see `targets`.

mod targets;

pub use targets::{labels, mesh_file};
