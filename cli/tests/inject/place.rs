//! A directory with a project in it, which goes with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory.
pub struct Place {
    path: PathBuf,
}

/// What a command came to.
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Place {
    /// With these files in it: (path, text).
    pub fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outrigger-inject-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let place = Self { path: path.canonicalize().unwrap() };
        files.iter().for_each(|(name, text)| place.write(name, text));
        place
    }

    /// Writes a file; folders are made.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The permission bits of a file.
    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// Names in the directory, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `outrigger inject compose` there.
    pub fn inject(&self, words: &[&str]) -> Ended {
        let words = [&["inject", "compose"], words].concat();
        self.run(Path::new(env!("CARGO_BIN_EXE_outrigger")), &words)
    }

    /// Runs a program there, with nothing of this process' environment that compose would read.
    pub fn run(&self, program: &Path, words: &[&str]) -> Ended {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if ["COMPOSE_", "OUTRIGGER_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
                command.env_remove(name);
            }
        }
        let output = command.args(words).current_dir(&self.path).stdin(Stdio::null()).output();
        let Output { status, stdout, stderr } =
            output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}
