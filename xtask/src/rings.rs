//! `cargo xtask test`: the rings of tests, one after another, and one closing line.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::compose::Programs;
use crate::engine::{Engine, apt};
use crate::run::{Fault, Run, root, which};
use crate::sources::Sources;
use crate::{images, python, say};

/// Names the tag of the images that the Docker tests run.
const TAG: &str = "OUTRIGGER_TEST_TAG";

/// A ring of tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Form: rustfmt, clippy, cargo deny. Each counts as one.
    Check,
    /// Everything that needs neither root nor Docker.
    Unit,
    /// Tests marked `#[ignore]`: root and a Docker engine.
    Docker,
}

/// What tests came to.
#[derive(Clone, Copy, Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Ring {
    /// Reads names; none means all. `None` for a name that is not known.
    pub fn read(names: &[&str]) -> Option<Vec<Self>> {
        if names.is_empty() {
            return Some(vec![Self::Check, Self::Unit, Self::Docker]);
        }
        names
            .iter()
            .map(|name| match *name {
                "check" => Some(Self::Check),
                "unit" => Some(Self::Unit),
                "docker" => Some(Self::Docker),
                _ => None,
            })
            .collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Unit => "unit",
            Self::Docker => "docker",
        }
    }
}

/// Runs them; whether everything passed.
pub fn run(rings: &[Ring]) -> Result<bool, Fault> {
    let mut all = Tally::default();
    let mut times = Vec::new();
    for ring in rings {
        println!("{}", say::bold(&format!("ring {}", ring.name())));
        let started = Instant::now();
        let tally = match ring {
            Ring::Check => check()?,
            Ring::Unit => tests(&[], &[])?,
            Ring::Docker => docker()?,
        };
        all = all.and(tally);
        let seconds = started.elapsed().as_secs_f32();
        times.push(format!(
            "{} {} passed, {} failed, {seconds:.0} s",
            ring.name(),
            tally.passed,
            tally.failed
        ));
    }
    println!("{}", say::dim(&times.join("; ")));
    println!("{} passed, {} failed", all.passed, all.failed);
    Ok(all.failed == 0 && all.passed > 0)
}

impl Tally {
    fn one(passed: bool) -> Self {
        Self { passed: u32::from(passed), failed: u32::from(!passed) }
    }

    fn and(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

fn check() -> Result<Tally, Fault> {
    let mut tally = Tally::one(step("rustfmt", &["fmt", "--all", "--check"], "cargo fmt --all mends it")?);
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    tally = tally.and(Tally::one(step("clippy", &clippy, "mend what clippy names")?));
    if which("cargo-deny").is_none() && !home_has("cargo-deny") {
        println!("  cargo-deny is not installed: licences and bans are held by the test `workspace` only");
        return Ok(tally);
    }
    let deny = ["deny", "--offline", "check", "bans", "licenses"];
    Ok(tally.and(Tally::one(step("deny", &deny, "see deny.toml")?)))
}

fn step(name: &'static str, words: &[&str], advice: &str) -> Result<bool, Fault> {
    let step = say::step(name, "");
    let outcome =
        Run::new(cargo(), words).advise(advice).within(std::time::Duration::from_secs(3600)).under(step);
    match outcome {
        Ok((step, _)) => {
            step.done("clean");
            Ok(true)
        }
        Err(fault) => {
            println!("{fault}");
            Ok(false)
        }
    }
}

fn docker() -> Result<Tally, Fault> {
    let engine = Engine::ensure()?;
    let tag = std::env::var(TAG).unwrap_or_else(|_unset| images::VERSION.to_owned());
    let outcome = prepare(&engine, &tag).and_then(|base| {
        let programs = Programs::ensure()?;
        let python = python::ensure()?;
        let shop = base.env_file()?.display().to_string();
        let mut environment = vec![
            ("OUTRIGGER_TEST_BASE", base.debian()),
            ("OUTRIGGER_TEST_POSTGRES", base.postgres()),
            ("OUTRIGGER_TEST_APPS", images::TEST_APPS),
            ("OUTRIGGER_TEST_SHOP", &shop),
            (TAG, &tag),
            (python::VARIABLE, &python),
        ];
        environment.extend(programs.environment());
        tests(&["ignored"], &environment)
    });
    engine.stop()?;
    outcome
}

/// A browser for the tests that look with one; installed where there is none.
fn browser() -> Result<(), Fault> {
    let named = std::env::var_os("OUTRIGGER_TEST_BROWSER").is_some();
    if named || ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| which(name).is_some()) {
        return Ok(());
    }
    if which("apt-get").is_none() {
        return Err(Fault::new("no browser", "install chromium, or name one in OUTRIGGER_TEST_BROWSER"));
    }
    apt(say::step("browser", "installing chromium"), &["chromium"])?.done("chromium");
    Ok(())
}

fn prepare(engine: &Engine, tag: &str) -> Result<Sources, Fault> {
    browser()?;
    images::tagged(engine, false, tag)?;
    let base = Sources::ensure(engine)?;
    images::test_apps(engine, &base)?;
    Ok(base)
}

/// Runs the workspace's tests, showing what goes wrong as it comes, and counts them.
fn tests(which_ones: &[&str], environment: &[(&str, &str)]) -> Result<Tally, Fault> {
    let ignored = which_ones.contains(&"ignored");
    let nextest = which("cargo-nextest").is_some() || home_has("cargo-nextest");
    let mut words: Vec<&str> = if nextest {
        vec![
            "nextest",
            "run",
            "--no-fail-fast",
            "--status-level=retry",
            "--final-status-level=slow",
            "--no-tests=pass",
        ]
    } else {
        vec!["test", "--no-fail-fast", "--quiet"]
    };
    words.extend(["--workspace", "--all-targets"]);
    match (nextest, ignored) {
        // Docker is one engine for all: its tests come one at a time (.config/nextest.toml), beside one that needs none. On a
        // busy machine the engine itself errs now and then, so a failed one gets a second run, which the summary counts as
        // flaky.
        (true, true) => {
            words.extend(["--profile=docker", "--run-ignored=only", "--test-threads=2", "--retries=1"])
        }
        (false, true) => words.extend(["--", "--ignored", "--test-threads=1"]),
        (_, false) => {}
    }
    let mut run = Run::new(cargo(), words);
    for (name, value) in environment {
        run = run.env(name, value);
    }
    let mut child = run.piped()?;
    let (send, lines) = mpsc::channel();
    let pipes: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|p| Box::new(p) as _), child.stderr.take().map(|p| Box::new(p) as _)];
    for pipe in pipes.into_iter().flatten() {
        let send = send.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
    }
    drop(send);
    let mut tally = Tally::default();
    for line in lines {
        println!("  {line}");
        tally = tally.and(count(&line, if nextest { "Summary [" } else { "test result:" }));
    }
    let status = child.wait().map_err(|e| Fault::new(format!("cargo: {e}"), "run it again"))?;
    if !status.success() && tally.failed == 0 {
        // It did not build, or a test process died without a summary: that is one failure, not none.
        tally.failed = 1;
    }
    Ok(tally)
}

/// Counts in a summary of nextest (`Summary [ 1.2s] 9 tests run: 8 passed, 1 failed, 2 skipped`, with
/// `1 timed out` and the like) or of libtest (`test result: ok. 5 passed; 0 failed; ...`); other lines are zero.
fn count(line: &str, summary: &str) -> Tally {
    let line = line.trim_start();
    if !line.starts_with(summary) {
        return Tally::default();
    }
    let mut tally = Tally::default();
    let words: Vec<&str> = line.split([' ', ',', ';', '(', ')']).filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        let [number, what] = pair else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        match *what {
            "passed" => tally.passed += number,
            "failed" | "timed" | "exec" => tally.failed += number,
            _ => {}
        }
    }
    tally
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Is this cargo subcommand where `cargo install` puts it?
fn home_has(program: &str) -> bool {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".cargo")));
    home.unwrap_or_else(root).join("bin").join(program).is_file()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn summaries_of_nextest_and_libtest_are_counted() {
        let count = |line, summary| (count(line, summary).passed, count(line, summary).failed);
        let nextest = |line| count(line, "Summary [");
        assert_eq!(
            nextest("     Summary [   0.5s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped"),
            (8, 1)
        );
        assert_eq!(
            nextest("Summary [ 1.5s] 3 tests run: 1 passed, 1 timed out, 1 failed, 0 skipped"),
            (1, 2)
        );
        // What a failing test printed is no summary.
        assert_eq!(nextest("test result: FAILED. 0 passed; 1 failed; 0 ignored"), (0, 0));
        let libtest = |line| count(line, "test result:");
        assert_eq!(libtest("test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 filtered out"), (5, 2));
        assert_eq!(libtest("3 passed, by the way"), (0, 0));
    }
}
