//! The Python of the simulator of ECS: a venv of `tests/ecs/requirements.txt`, kept in `target/xtask/ecs`.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::apt;
use crate::run::{Fault, Run, folder, root, unwritable, which};
use crate::say;

/// Names the Python to take as it is; tests read the same.
pub const VARIABLE: &str = "OUTRIGGER_TEST_ECS_PYTHON";
/// How long 30 MB of packages may take.
const FETCH: Duration = Duration::from_secs(600);

/// Gives the path of a Python that has what the simulator needs: the one of the variable, else one that is made once
/// for each content of the requirements.
pub fn ensure() -> Result<String, Fault> {
    let step = say::step("python", "for the simulator of ECS");
    if let Ok(named) = std::env::var(VARIABLE) {
        step.done(&named);
        return Ok(named);
    }
    let requirements = root().join("tests/ecs/requirements.txt");
    let content = fs::read(&requirements)
        .map_err(|e| Fault::new(format!("{}: {e}", requirements.display()), "restore the file"))?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let place = folder("ecs")?.join(format!("{:016x}", hasher.finish()));
    let python = place.join("bin/python");
    let whole = place.join("whole");
    if whole.is_file() {
        step.done(python.display().to_string());
        return Ok(python.display().to_string());
    }
    let step = make(step, &place, &requirements)?;
    fs::write(&whole, "").map_err(|e| unwritable(&whole, &e))?;
    step.done(python.display().to_string());
    Ok(python.display().to_string())
}

/// A venv at `place`; what an unfinished run left there goes first.
fn make(step: say::Step, place: &Path, requirements: &Path) -> Result<say::Step, Fault> {
    let advice = format!("install python3 with venv, or name a Python with botocore and moto in {VARIABLE}");
    let _ = fs::remove_dir_all(place);
    let absent = match which("python3") {
        Some(python) => {
            // Debian's python3 has the module venv, and says only when asked for one that ensurepip is missing.
            let probe = Run::new(python, ["-c", "import venv, ensurepip"]).read();
            if probe.is_ok() { Vec::new() } else { vec!["python3-venv"] }
        }
        None => vec!["python3", "python3-venv"],
    };
    let step = apt(step, &absent)?;
    let python = which("python3").unwrap_or_else(|| PathBuf::from("python3"));
    let venv = [Path::new("-m"), Path::new("venv"), place];
    let step = Run::new(python, venv).advise(&advice).within(FETCH).under(step)?.0;
    step.tick("fetching packages");
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let words = words.iter().map(Path::new).chain([requirements]);
    Ok(Run::new(place.join("bin/python"), words).advise(&advice).within(FETCH).under(step)?.0)
}
