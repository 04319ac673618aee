//! The last good text of the mesh file, in the state directory: what a controller starts from when the file is bad.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use outrigger_model::Mesh;

use crate::state::replace;

/// File name in the state directory.
pub(super) const FILE: &str = "mesh.good.yaml";

/// The copy.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    pub(super) fn new(state: &Path) -> Self {
        Self { path: state.join(FILE) }
    }

    /// The mesh it says; none if there is no copy, or none that this version reads.
    pub(super) fn mesh(&self) -> Option<Mesh> {
        Mesh::read(&fs::read_to_string(&self.path).ok()?, FILE).ok()
    }

    /// Keeps a text that is good.
    pub(super) fn keep(&self, text: &str) -> io::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|kept| kept == text) {
            return Ok(());
        }
        replace(&self.path, text.as_bytes())
    }

    /// There is no mesh file any more, on purpose.
    pub(super) fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
