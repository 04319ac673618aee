//! Where the result goes: written whole or not at all, and beside the files that its paths are meant from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use outrigger_inject::Remark;
use outrigger_inject::compose::Value;

use super::arguments::ComposeArguments;

/// Readable for its owner only.
const PRIVATE: u32 = 0o600;

/// Puts a file in the place of another, or of none. The mode of the other stays, unless the new one is `private`.
///
/// # Errors
/// It cannot be written; then the other is as it was.
pub fn replace(file: &Path, text: &str, private: bool) -> io::Result<()> {
    // A link stays a link.
    let file = &fs::canonicalize(file).unwrap_or_else(|_new| file.to_owned());
    let known = fs::metadata(file).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return fs::write(file, text); // such as /dev/stdout: there is nothing to replace
    }
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let mode = if private { PRIVATE } else { 0o666 };
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            match known {
                Some(known) if !private => new.set_permissions(known.permissions())?,
                _ if private => new.set_permissions(fs::Permissions::from_mode(PRIVATE))?,
                _ => {}
            }
            new.sync_all()
        });
    let placed = written.and_then(|()| fs::rename(&beside, file));
    if placed.is_err() {
        let _it_may_not_be_there = fs::remove_file(&beside);
    }
    placed
}

/// What is to be said of paths: relative ones are meant from the project's directory, absolute ones below it are of
/// this machine.
pub fn relative_paths(arguments: &ComposeArguments, project: &Value) -> Vec<Remark> {
    let Some(home) = project_directory(arguments) else { return Vec::new() };
    let mut said = Vec::new();
    let folder = arguments.output.as_ref().and_then(|file| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::canonicalize(parent).ok()
    });
    if folder.is_some_and(|folder| folder != home) && !arguments.overlay {
        said.push(format!(
            "relative paths in it are meant from {home}: write it there, or run compose with --project-directory {home}",
            home = home.display()
        ));
    }
    if holds_path(project, &home) {
        said.push(format!(
            "compose made paths absolute: the result holds {}, and is of this machine only",
            home.display()
        ));
    }
    said.into_iter().map(|what| Remark { service: None, what }).collect()
}

/// Where compose has relative paths begin.
fn project_directory(arguments: &ComposeArguments) -> Option<PathBuf> {
    let first = arguments.project.files.first().filter(|file| file.as_os_str() != "-");
    let beside = first.map(|file| file.parent().unwrap_or(Path::new("")).to_owned());
    let directory = arguments.project.project_directory.clone().or(beside).unwrap_or_default();
    let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
    fs::canonicalize(directory).ok()
}

fn holds_path(value: &Value, home: &Path) -> bool {
    match value {
        Value::String(text) => text.starts_with('/') && Path::new(text).starts_with(home),
        Value::Sequence(items) => items.iter().any(|item| holds_path(item, home)),
        Value::Mapping(fields) => fields.values().any(|field| holds_path(field, home)),
        _ => false,
    }
}
