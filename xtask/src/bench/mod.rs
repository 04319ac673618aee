//! `cargo xtask bench`: how fast and how small, beside HAProxy doing the same in the same run. It prints, and never asserts.
//!
//! The figure to trust is the CPU time of the proxy processes per request: both proxies of a pair run on one
//! CPU, load generator and application on the other. Latencies say more about the neighbours than about us.

mod arguments;
mod ask;
mod certificates;
mod engine;
mod haproxy;
mod hops;
mod idle;
mod outrigger;
mod process;
mod report;
mod saves;
mod scale;
mod tools;

use std::path::PathBuf;

use arguments::Arguments;
use report::Report;

/// Why a part of the benchmark was not measured, for a person.
type Outcome<T> = Result<T, String>;

/// Runs the benchmark with what stands after `bench` on the command line.
///
/// # Errors
/// Bad arguments, a missing tool, a build or a process that failed.
pub fn run(arguments: &[String]) -> Outcome<()> {
    if arguments == ["hold"] {
        return engine::hold();
    }
    let arguments = Arguments::parse(arguments)?;
    tools::install()?;
    let binaries = tools::build(arguments.sidecar.clone())?;
    let scratch = Scratch::new()?;
    let cpus = process::Cpus::find();
    let mut report = Report::new(&cpus);

    hops::measure(&arguments, &binaries, &scratch, &cpus, &mut report)?;
    if !arguments.only_hops {
        idle::measure(&binaries, &scratch, &mut report)?;
        scale::measure(&mut report)?;
        engine::measure(&arguments, &mut report);
    }

    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// A folder for configurations, keys and logs, removed at the end; kept with `OUTRIGGER_BENCH_KEEP=1`.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let folder = std::env::temp_dir().join(format!("outrigger-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file of this folder; gives its path.
    fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("OUTRIGGER_BENCH_KEEP").is_some() {
            eprintln!("kept: {}", self.0.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
