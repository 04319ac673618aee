//! External commands: output kept in a file, its tail shown when they fail, always with a way out.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::say;

/// Lines of output shown when a command fails.
const TAIL: usize = 25;
/// Bytes of a log that are read for the tail.
const TAIL_BYTES: u64 = 64 * 1024;
/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Something that ended the work: what, what was seen, what to do.
#[derive(Debug)]
pub struct Fault {
    /// What failed, in one line.
    pub what: String,
    /// The end of the output, or nothing.
    pub seen: String,
    /// What to do about it, in one line.
    pub advice: String,
}

impl Fault {
    /// A fault with nothing to show.
    pub fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), seen: String::new(), advice: advice.into() }
    }
}

impl Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.seen.lines() {
            writeln!(out, "    {line}")?;
        }
        writeln!(out, "{} {}", say::red("error:"), self.what)?;
        write!(out, "{} {}", say::bold("what to do:"), self.advice)
    }
}

/// A command to run.
pub struct Run {
    command: Command,
    shown: String,
    advice: String,
    limit: Duration,
    any_exit: bool,
}

impl Run {
    /// `program` with `arguments`, in the repository, at most 10 minutes.
    pub fn new<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments: Vec<OsString> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut words = vec![program.as_ref().to_string_lossy().into_owned()];
        words.extend(arguments.iter().map(|a| a.to_string_lossy().into_owned()));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root()).stdin(Stdio::null());
        let advice = "read the output above; the whole of it is in the log".to_owned();
        Self { command, shown: words.join(" "), advice, limit: Duration::from_secs(600), any_exit: false }
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets what to advise when it fails.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Sets how long it may take.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Takes every exit code for success: some commands answer by it and by their output.
    pub fn any_exit(mut self) -> Self {
        self.any_exit = true;
        self
    }

    /// Runs it, giving what it wrote to stdout.
    pub fn read(self) -> Result<String, Fault> {
        self.go(|_| ()).map(|(out, _)| text(&out))
    }

    /// Runs it, giving the end of what it wrote to stdout and then to stderr.
    pub fn both(self) -> Result<String, Fault> {
        let (out, err) = self.go(|_| ())?;
        Ok(tail(&out) + &tail(&err))
    }

    /// Runs it under a step whose line shows the last line of output. The step stays open for the caller.
    pub fn under(self, step: say::Step) -> Result<(say::Step, String), Fault> {
        let mut last = String::new();
        match self.go(|line| {
            if !line.is_empty() {
                last.clear();
                last.push_str(line);
            }
            step.tick(&last);
        }) {
            Ok((out, _)) => Ok((step, text(&out))),
            Err(fault) => {
                step.failed();
                Err(fault)
            }
        }
    }

    /// Starts it with both outputs piped, for a caller that reads them.
    pub fn piped(mut self) -> Result<Child, Fault> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().map_err(|e| self.absent(&e))
    }

    /// Runs it; gives the files that hold its stdout and stderr.
    fn go(mut self, mut seen: impl FnMut(&str)) -> Result<(PathBuf, PathBuf), Fault> {
        let (out, err) = logs(&self.shown)?;
        let stdout = File::create(&out).map_err(|e| unwritable(&out, &e))?;
        let stderr = File::create(&err).map_err(|e| unwritable(&err, &e))?;
        let mut child = self.command.stdout(stdout).stderr(stderr).spawn().map_err(|e| self.absent(&e))?;
        let status = wait(&mut child, self.limit, || seen(&last_line(&err).unwrap_or_default()));
        let failed = match status {
            Ok(Some(status)) if status.success() || self.any_exit => None,
            Ok(Some(status)) => Some(format!("`{}` failed ({status})", self.shown)),
            Ok(None) => Some(format!("`{}` was stopped after {} s", self.shown, self.limit.as_secs())),
            Err(e) => Some(format!("`{}`: {e}", self.shown)),
        };
        let Some(what) = failed else { return Ok((out, err)) };
        let mut seen = tail(&out);
        seen.push_str(&tail(&err));
        let log = err.strip_prefix(root()).unwrap_or(&err).display().to_string();
        Err(Fault { what: format!("{what}; log: {log}"), seen, advice: self.advice })
    }

    fn absent(&self, error: &io::Error) -> Fault {
        Fault::new(format!("cannot start `{}`: {error}", self.shown), self.advice.clone())
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map(Path::to_owned).unwrap_or(manifest)
}

/// Where this binary lies: `target/<triple>/debug`, and so its siblings.
pub fn built() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.parent().map(Path::to_owned).unwrap_or_default()
}

/// A folder of ours under `target/`, made when absent.
pub fn folder(name: &str) -> Result<PathBuf, Fault> {
    let target = built().ancestors().nth(2).map(Path::to_owned).unwrap_or_else(|| root().join("target"));
    let folder = target.join("xtask").join(name);
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
    Ok(folder)
}

/// The fault of a path that cannot be written.
pub fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(format!("cannot write {}: {error}", path.display()), "check the disk and who owns target/")
}

/// Finds a program in PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons live in sbin, which an ordinary user's PATH may lack.
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Are we root? (The owner of our own `/proc` entry.)
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Waits for `done` to give something, looking every 50 ms.
pub fn until<T>(limit: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = done() {
            return Some(value);
        }
        if started.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The last lines of a file.
pub fn tail(path: &Path) -> String {
    let text = last_bytes(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.iter().skip(from).map(|line| format!("{line}\n")).collect()
}

fn wait(child: &mut Child, limit: Duration, mut look: impl FnMut()) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        look();
        thread::sleep(LOOK);
    }
}

fn text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn logs(shown: &str) -> Result<(PathBuf, PathBuf), Fault> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let program: String =
        shown.split(' ').take(2).flat_map(|w| w.rsplit('/').next()).collect::<Vec<_>>().join("-");
    let log = folder("log")?;
    Ok((log.join(format!("{number:02}-{program}.out")), log.join(format!("{number:02}-{program}.log"))))
}

fn last_line(path: &Path) -> Option<String> {
    last_bytes(path)?.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
}

fn last_bytes(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
