//! `cargo xtask bench`: how fast and how small, beside nginx, HAProxy and Envoy doing the same in the same run.
//! It prints, and never asserts.
//!
//! The figure to trust is the CPU time of the proxy processes per request: the proxies run on one CPU, load generator
//! and application on the other. Throughput and latency say more about the neighbours than about us.

mod application;
mod arguments;
mod ask;
mod bytes;
mod certificates;
mod client;
mod compare;
mod engine;
mod envoy;
mod hops;
mod idle;
mod instructions;
mod latency;
mod memory;
mod outrigger;
mod peer;
mod process;
mod program;
pub mod release;
mod report;
mod saves;
mod scale;
mod services;
mod tools;

use std::path::PathBuf;

use application::Body;
use arguments::Arguments;
use certificates::Certificates;
use process::Cpus;
use program::Program;
use report::{Report, Row};
use tools::Binaries;

/// Why a part of the benchmark was not measured, for a person.
type Outcome<T> = Result<T, String>;

/// Scratch folders are called so, with the pid behind.
const SCRATCH: &str = "outrigger-bench-";

/// (what `--only` calls it, what it is).
const PARTS: [(&str, &str); 14] = [
    ("one-hop", "CPU per request, one hop, HTTP/1.1 kept alive, 1 KiB"),
    ("two-hops", "CPU per request, two hops, mutual TLS 1.3 between, HTTP/1.1 outside, 1 KiB"),
    ("two-hops-64k", "CPU per request, the same, 64 KiB"),
    ("two-hops-h2", "CPU per request, two hops, HTTP/2 outside, 10 connections of 10 streams, 1 KiB"),
    ("connections", "CPU per request, two hops, a new mutual-TLS connection for each, 1 KiB"),
    (
        "tcp",
        "CPU seconds per GiB, bytes over mutual TLS 1.3, four connections, half of them in each direction",
    ),
    ("workers", "CPU per request, two hops, ours with two workers, 1 KiB"),
    ("latency", "time to the last byte at 2,000 requests/s, two hops, mutual TLS between, 1 KiB"),
    ("memory", "resident, one worker"),
    ("services", "1,000 services of 3 endpoints"),
    ("change", "1,000 services of 3 endpoints, one of which changed"),
    ("idle", "a sidecar that does nothing"),
    ("compile", "from a snapshot to what is sent"),
    ("docker", "on a Docker engine"),
];

/// What all parts are measured with.
struct Bench {
    arguments: Arguments,
    binaries: Binaries,
    /// Envoy's program, or why there is none.
    envoy: Outcome<PathBuf>,
    certificates: Certificates,
    scratch: Scratch,
    cpus: Cpus,
}

/// Runs the benchmark with what stands after `bench` on the command line.
///
/// # Errors
/// Bad arguments, a missing tool, a build that failed, a part that could not be measured.
pub fn run(arguments: &[String]) -> Outcome<()> {
    // Roles of processes that this one starts.
    match arguments {
        [role] if role == "hold" => return engine::hold(),
        [role, address] if role == "bytes-server" => return bytes::serve(address),
        [role, address, seconds] if role == "rate" => return latency::load(address, seconds),
        [role, address, mib] if role == "bytes-load" => return bytes::load(address, mib),
        [word, rest @ ..] if word == "--instructions" => return instructions::run(rest),
        _ => {}
    }
    let arguments = Arguments::parse(arguments)?;
    tools::install()?;
    tools::raise_descriptors();
    let binaries = tools::build(arguments.sidecar.clone(), false)?;
    let scratch = Scratch::new()?;
    let certificates = certificates::make(&scratch)?;
    let bench =
        Bench { arguments, binaries, envoy: envoy::find(), certificates, scratch, cpus: Cpus::find() };
    let mut report = Report::new(machine(&bench), bench.cpus.proxies.is_some());

    for (part, title) in PARTS {
        if bench.arguments.wants(part) {
            report.part(part, title);
            if let Err(why) = measure(part, &bench, &mut report) {
                report.add(Row::missing(part, "", None, why));
            }
        }
    }

    print!("{}", report.table());
    if let Some(file) = &bench.arguments.json {
        let text = format!("{:#}\n", report.json());
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let failures = report.failures();
    if failures.is_empty() { Ok(()) } else { Err(format!("not measured:\n{}", failures.join("\n"))) }
}

fn measure(part: &str, bench: &Bench, report: &mut Report) -> Outcome<()> {
    match part {
        "one-hop" => hops::one(bench, report),
        "two-hops" => hops::two(bench, report, Body::Small),
        "two-hops-64k" => hops::two(bench, report, Body::Large),
        "two-hops-h2" => hops::http2(bench, report),
        "connections" => hops::connections(bench, report),
        "tcp" => bytes::measure(bench, report),
        "workers" => hops::workers(bench, report),
        "latency" => latency::measure(bench, report),
        "memory" => memory::measure(bench, report),
        "services" => services::measure(bench, report),
        "change" => services::change(report),
        "idle" => idle::measure(bench, report),
        "compile" => scale::measure(report),
        "docker" => engine::measure(report),
        _ => Err("no such part".into()),
    }
}

/// What it runs on and with.
fn machine(bench: &Bench) -> Vec<(&'static str, String)> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut machine = vec![
        ("cpu", format!("{} x {}", cpus, cpu.map_or("?", |(_, name)| name))),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load", read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()),
    ];
    for program in Program::ALL {
        machine.push((program.name(), program.version(bench).unwrap_or_else(|| "?".into())));
    }
    if let Err(why) = &bench.envoy {
        machine.push(("no envoy", why.clone()));
    }
    machine
}

/// Folders of runs that were killed: nobody has their pid any more.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.strip_prefix(SCRATCH)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _another_run_may_have = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A folder for configurations, keys and logs, removed at the end; kept with `OUTRIGGER_BENCH_KEEP=1`.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        remove_stale();
        let folder = std::env::temp_dir().join(format!("{SCRATCH}{}", std::process::id()));
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
