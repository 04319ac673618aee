//! `cargo xtask fuzz`: libFuzzer over the targets in `fuzz/`, with the nightly compiler it wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::{Fault, Run, root};
use crate::say;

/// The targets, as `fuzz/Cargo.toml` names them.
const TARGETS: [&str; 13] = [
    "mesh-file",
    "labels",
    "http-requests",
    "http-responses",
    "chunks",
    "first-bytes",
    "proxy-headers",
    "dns-query",
    "hand-over",
    "resources",
    "task-answers",
    "health-answers",
    "proofs",
];
/// What libFuzzer needs of the compiler: counters at every edge, comparisons seen, AddressSanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address --cfg fuzzing -Ccodegen-units=1";
/// Most bytes of an input: faults in a reader show on small ones.
const LONGEST: u32 = 4096;

/// What is fuzzed, and for how long.
pub struct Options<'a> {
    targets: Vec<&'a str>,
    seconds: u64,
}

impl<'a> Options<'a> {
    /// Reads `[TARGET...] [--seconds N]`; none named means all, for a minute each.
    pub fn read(words: &[&'a str]) -> Option<Self> {
        let mut options = Self { targets: Vec::new(), seconds: 60 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--seconds" => options.seconds = words.next()?.parse().ok().filter(|seconds| *seconds > 0)?,
                target if TARGETS.contains(&target) => options.targets.push(target),
                _ => return None,
            }
        }
        if options.targets.is_empty() {
            options.targets = TARGETS.to_vec();
        }
        Some(options)
    }
}

/// Builds the targets and runs each for its time. What makes one fail stays in `target/fuzz`.
///
/// # Errors
/// There is no nightly compiler, it does not build, or an input was found.
pub fn run(options: &Options<'_>) -> Result<(), Fault> {
    let nightly = "fuzzing needs a nightly compiler (`rustup toolchain install nightly`); without one, `cargo test fuzz` \
                   runs the same targets for a moment";
    let version = Run::new("rustup", ["run", "nightly", "rustc", "-vV"]).advise(nightly).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let folder = root().join("target/fuzz");
    let step = say::step("fuzz", "builds the targets");
    let words = [
        "run",
        "nightly",
        "cargo",
        "build",
        "--release",
        "--locked",
        "--target",
        &host,
        "--manifest-path",
        "fuzz/Cargo.toml",
    ];
    let build = Run::new("rustup", words).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder);
    let (step, _) = build.advise(nightly).within(Duration::from_secs(3600)).under(step)?;
    step.done("built");
    for target in &options.targets {
        one(target, options.seconds, &folder.join(host.as_str()).join("release"), &folder)?;
    }
    Ok(())
}

fn one(target: &str, seconds: u64, programs: &Path, folder: &Path) -> Result<(), Fault> {
    let corpus = corpus(target, folder)?;
    let step = say::step("fuzz", target);
    let words = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={LONGEST}"),
        "-timeout=20".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}/", folder.display()),
        corpus.display().to_string(),
    ];
    let advice = format!(
        "the input is in {} (crash-…, timeout-…, oom-…): give it to {} to see it again, and leave a test named after it",
        folder.display(),
        programs.join(target).display()
    );
    let run =
        Run::new(programs.join(target), words).advise(advice).within(Duration::from_secs(seconds + 600));
    let (step, _) = run.under(step)?;
    step.done(format!("{seconds} s, nothing found"));
    Ok(())
}

/// Where the inputs of a target are kept from run to run, begun with the examples in the tree.
fn corpus(target: &str, folder: &Path) -> Result<PathBuf, Fault> {
    let corpus = folder.join("corpus").join(target);
    let made = || -> std::io::Result<()> {
        fs::create_dir_all(&corpus)?;
        let (examples, file) = match target {
            "mesh-file" => ("model/tests/golden".to_owned(), Some("mesh.yaml")),
            _ => (format!("fuzz/corpus/{target}"), None),
        };
        for entry in fs::read_dir(root().join(examples))? {
            let entry = entry?;
            let path = file.map_or_else(|| entry.path(), |file| entry.path().join(file));
            if path.is_file() {
                fs::copy(path, corpus.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    made().map_err(|error| Fault::new(format!("{}: {error}", corpus.display()), "make target/ writable"))?;
    Ok(corpus)
}
