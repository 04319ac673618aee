//! `outrigger check`: every fault of all mesh files, where it is and what to write instead.

mod draw;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use outrigger_model::Mesh;
use outrigger_model::mesh::{Fault, MAX_BYTES, Severity};

use crate::USAGE;
use crate::args::CheckArguments;
use crate::settings::Settings;

/// Standard input, as a file's name.
const STDIN: &str = "-";

/// One file and what is to be said of it.
struct Checked {
    name: String,
    text: String,
    faults: Vec<Fault>,
    services: usize,
}

impl Checked {
    fn has(&self, severity: Severity) -> usize {
        self.faults.iter().filter(|fault| fault.severity == severity).count()
    }
}

/// Runs the command: 0 if all files are good (warnings are allowed), else 64.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &CheckArguments, settings: &Settings) -> io::Result<ExitCode> {
    let checked: Vec<Checked> = arguments.files.iter().map(|file| check(file)).collect();
    let text = if arguments.json {
        let faults: Vec<&Fault> = checked.iter().flat_map(|file| &file.faults).collect();
        serde_json::to_string_pretty(&faults)? + "\n"
    } else {
        checked.iter().map(|file| draw::file(file, settings.color.wanted(&io::stdout()))).collect()
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    let good = checked.iter().all(|file| file.has(Severity::Error) == 0);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(USAGE) })
}

fn check(file: &Path) -> Checked {
    let name = file.display().to_string();
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let faults = vec![unreadable(&name, &error)];
            return Checked { name, text: String::new(), faults, services: 0 };
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (faults, services) = match Mesh::read_bytes(&bytes, &name) {
        Ok(mesh) => (mesh.warnings().to_vec(), mesh.services().len()),
        Err(faults) => (faults, 0),
    };
    Checked { name, text, faults, services }
}

/// At most one byte more than a mesh file may have.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if file == Path::new(STDIN) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> Fault {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "name the file: outrigger check FILE; without a mesh file, defaults hold",
        io::ErrorKind::IsADirectory => "name the file in it, such as mesh.yaml",
        _ => "make it readable",
    };
    Fault::unreadable(name, format!("it cannot be read: {error}"), help)
}

#[cfg(test)]
mod tests;
