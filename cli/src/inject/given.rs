//! Files that injection is given beside what it meshes.

use std::io;
use std::path::Path;

use outrigger_inject::Remark;
use outrigger_model::mesh::Mesh;

use super::InjectError;

/// The mesh file; that of no file at all where none is named.
pub fn mesh(file: Option<&Path>) -> Result<Mesh, InjectError> {
    let Some(file) = file else { return Ok(Mesh::default()) };
    let name = file.display().to_string();
    let bytes =
        std::fs::read(file).map_err(|error| InjectError::Usage(format!("--mesh-file {name}: {error}")))?;
    Mesh::read_bytes(&bytes, &name).map_err(|faults| {
        let faults = faults.iter().map(|fault| Remark { service: None, what: fault.to_string() });
        InjectError::Refused(faults.collect())
    })
}

/// The texts of those `files` that a directory of templates has.
pub fn templates<const N: usize>(
    directory: Option<&Path>,
    files: &[&str; N],
) -> Result<Option<[Option<String>; N]>, InjectError> {
    let Some(directory) = directory else { return Ok(None) };
    if !directory.is_dir() {
        return Err(InjectError::Usage(format!(
            "--templates {}: there is no such directory",
            directory.display()
        )));
    }
    let mut texts = [const { None }; N];
    for (text, name) in texts.iter_mut().zip(files) {
        let file = directory.join(name);
        match std::fs::read_to_string(&file) {
            Ok(found) => *text = Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(InjectError::Usage(format!("template {}: {error}", file.display()))),
        }
    }
    Ok(Some(texts))
}
