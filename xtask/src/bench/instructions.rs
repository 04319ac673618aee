//! `cargo xtask bench --instructions`: what one request costs our sidecars in instructions and in calls for memory,
//! counted by callgrind. Load, batching and neighbours move microseconds by a tenth; these counts move by a
//! hundredth, so that a change of the code shows. The kernel's share is not in them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::application::{Application, Body, answered, output};
use super::peer::{Http, Job, Pair, Peer, Shape};
use super::process::Cpus;
use super::program::Program;
use super::tools::{self, Binaries};
use super::{Bench, Outcome, Scratch, certificates};

const USAGE: &str = "usage: cargo xtask bench --instructions [--sidecar FILE] [--keep FOLDER]
  --sidecar FILE  count in this binary, which has its symbols, instead of building one
  --keep FOLDER   keep callgrind's files there, for callgrind_annotate";

/// What was counted when somebody last looked: name, then instructions and calls for each process, the caller first.
const EXPECTED: &str = include_str!("instructions.txt");
/// From here on a difference is worth a look, percent.
const TOLERANCE: f64 = 2.0;
/// Requests before anything counts, and those that count.
const WARM: u32 = 100;
const COUNTED: u32 = 800;

/// What is done.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub shape: Shape,
    pub outside: Http,
    pub body: Body,
    pub connections: u32,
    /// Of each connection.
    pub streams: u32,
}

/// What a sidecar mostly does.
pub const CASES: [Case; 4] = [
    Case::http1("one-hop", Shape::OneHop, Body::Small),
    Case::http1("two-hops", Shape::TwoHops, Body::Small),
    Case::http1("two-hops-64k", Shape::TwoHops, Body::Large),
    Case {
        outside: Http::Two,
        connections: 10,
        streams: 10,
        ..Case::http1("two-hops-h2", Shape::TwoHops, Body::Small)
    },
];

impl Case {
    const fn http1(name: &'static str, shape: Shape, body: Body) -> Self {
        Self { name, shape, outside: Http::One, body, connections: 8, streams: 1 }
    }

    /// Starts the sidecars that do it.
    ///
    /// # Errors
    /// They do not start.
    pub fn start(&self, bench: &Bench, application: &Application) -> Outcome<Pair> {
        let http2 = self.outside.is_http2();
        self.start_before(bench, if http2 { application.http2 } else { application.http1 })
    }

    /// The same with another application.
    ///
    /// # Errors
    /// They do not start.
    pub fn start_before(&self, bench: &Bench, application: SocketAddr) -> Outcome<Pair> {
        let (shape, outside, cpus) = (self.shape, self.outside, bench.cpus.proxies.clone());
        let job = Job { shape, between: Http::Two, outside, application, workers: 1, cpus };
        Peer { program: Program::Outrigger, between: None }.start(bench, job)
    }

    /// So many requests, each with this file of the scratch folder as its body.
    ///
    /// # Errors
    /// One of them failed.
    pub fn load(&self, bench: &Bench, pair: &Pair, requests: u32, body: Option<&str>) -> Outcome<()> {
        let mut h2load = tools::command("h2load");
        h2load.args(["-t", "1", "-n", &requests.to_string()]);
        h2load.args(["-c", &self.connections.to_string(), "-m", &self.streams.to_string()]);
        if !self.outside.is_http2() {
            h2load.arg("--h1");
        }
        if let Some(body) = body {
            h2load.arg("-d").arg(bench.scratch.path(body));
        }
        h2load.arg(format!("http://{}{}", pair.entry, self.body.path()));
        let said = output(bench, &h2load)?;
        let all = answered(&said).is_some_and(|answered| answered == f64::from(requests));
        if all { Ok(()) } else { Err(format!("requests failed under load:\n{said}")) }
    }
}

/// What one process needed for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    instructions: f64,
    /// Calls of `malloc` and its kin.
    calls: f64,
}

/// Counts all cases, and prints them beside what is expected.
///
/// # Errors
/// Bad arguments, no valgrind, a build that failed, or a request that did.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let (mut sidecar, mut keep) = (None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--sidecar" => &mut sidecar,
            "--keep" => &mut keep,
            _ => return Err(USAGE.into()),
        };
        *place = Some(PathBuf::from(words.next().ok_or(USAGE)?));
    }
    tools::install()?;
    let missing = "valgrind is missing: install that package and run again";
    let valgrind = tools::find("valgrind").ok_or(missing)?;
    let sidecar = tools::build(sidecar, true)?.sidecar;
    let scratch = Scratch::new()?;
    let binaries = Binaries { sidecar: counting(&valgrind, &sidecar, &scratch)? };
    let certificates = certificates::make(&scratch)?;
    let arguments = super::Arguments::parse(&[])?;
    let envoy = Err("not compared".into());
    let bench = Bench { arguments, binaries, envoy, certificates, scratch, cpus: Cpus::find() };
    println!("{:<14} {:<7} {:>12} {:>9} {:>8} {:>9}", "case", "", "instructions", "", "calls", "");
    for case in &CASES {
        let costs = count(&bench, case, keep.as_deref()).map_err(|why| format!("{}: {why}", case.name))?;
        for (side, (cost, before)) in costs.iter().zip(expected(case.name)).enumerate() {
            let side = if side == 0 { "caller" } else { "callee" };
            let more =
                |now: f64, before: Option<f64>| before.map_or("?".into(), |before| difference(now, before));
            println!(
                "{:<14} {side:<7} {:>12.0} {:>9} {:>8.1} {:>9}",
                case.name,
                cost.instructions,
                more(cost.instructions, before.map(|cost| cost.instructions)),
                cost.calls,
                more(cost.calls, before.map(|cost| cost.calls)),
            );
        }
    }
    println!("expected: xtask/src/bench/instructions.txt; `!` is more than {TOLERANCE} % off");
    Ok(())
}

/// A program that runs the sidecar under callgrind: what starts sidecars need not know.
fn counting(valgrind: &Path, sidecar: &Path, scratch: &Scratch) -> Outcome<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let sidecar = sidecar.canonicalize().map_err(|error| format!("{}: {error}", sidecar.display()))?;
    let (valgrind, sidecar, folder) = (valgrind.display(), sidecar.display(), scratch.0.display());
    let script = format!(
        "#!/bin/sh\nexec {valgrind} --tool=callgrind --separate-threads=yes --callgrind-out-file={folder}/count.%p {sidecar} \"$@\"\n"
    );
    let file = scratch.write("counting", &script)?;
    let runs = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&file, runs).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// What each process of a case needed, the caller's first.
fn count(bench: &Bench, case: &Case, keep: Option<&Path>) -> Outcome<Vec<Cost>> {
    let application = Application::start(bench)?;
    let pair = case.start(bench, &application)?;
    // The first handshake under valgrind may take longer than a sidecar waits for one.
    let warm = || case.load(bench, &pair, WARM, None);
    warm().or_else(|_| warm()).or_else(|_| warm())?;
    control(&pair, "--zero")?;
    case.load(bench, &pair, COUNTED, None)?;
    control(&pair, "--dump")?;
    let sides = pair.processes.iter().enumerate();
    sides
        .map(|(side, process)| {
            let keep = keep.map(|folder| folder.join(format!("{}.{side}", case.name)));
            worker(&bench.scratch, process.id(), keep.as_deref())
        })
        .collect()
}

/// What the worker needed: of all threads it is the one that did most. Others count time, not requests.
fn worker(scratch: &Scratch, pid: u32, keep: Option<&Path>) -> Outcome<Cost> {
    let folder = std::fs::read_dir(&scratch.0).map_err(|error| error.to_string())?;
    let begins = format!("count.{pid}.1-");
    let files = folder.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(&begins));
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let dumps = texts.filter_map(|text| Some((read(&text)?, text)));
    let most = dumps.max_by(|(one, _), (other, _)| one.instructions.total_cmp(&other.instructions));
    let (cost, text) = most.ok_or("callgrind wrote no counts")?;
    if let Some(keep) = keep {
        std::fs::write(keep, text).map_err(|error| format!("{}: {error}", keep.display()))?;
    }
    Ok(cost)
}

fn control(pair: &Pair, what: &str) -> Outcome<()> {
    for process in &pair.processes {
        let said = Command::new("callgrind_control").arg(what).arg(process.id().to_string()).output();
        let said = said.map_err(|error| format!("callgrind_control: {error}"))?;
        if !said.status.success() || !String::from_utf8_lossy(&said.stdout).contains("OK") {
            return Err(format!("callgrind_control {what}: {}", String::from_utf8_lossy(&said.stdout)));
        }
    }
    Ok(())
}

/// The counts of a dump, by request. Its form: "Callgrind Format" in valgrind's manual.
fn read(text: &str) -> Option<Cost> {
    let total =
        |line: &str| line.strip_prefix("totals: ").or(line.strip_prefix("summary: "))?.trim().parse().ok();
    let instructions: f64 = text.lines().find_map(total)?;
    let mut allocators = std::collections::HashSet::new();
    let (mut calls, mut called) = (0.0, false);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("cfn=").or(line.strip_prefix("fn=")) {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if is_allocator(name) {
                allocators.insert(id);
            }
            called = allocators.contains(id);
        } else if let Some(count) = line.strip_prefix("calls=").filter(|_| called) {
            calls += count.split(' ').next()?.parse::<f64>().ok()?;
        }
    }
    let requests = f64::from(COUNTED);
    Some(Cost { instructions: instructions / requests, calls: calls / requests })
}

fn is_allocator(name: &str) -> bool {
    let name = name.trim_start_matches("__libc_").trim_start_matches("__");
    ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"].contains(&name)
}

/// Of the caller, then of the callee; none where nothing is written down.
fn expected(case: &str) -> [Option<Cost>; 2] {
    let line = EXPECTED.lines().find(|line| line.split_whitespace().next() == Some(case));
    let mut numbers = line.unwrap_or_default().split_whitespace().skip(1).map(str::parse::<f64>);
    let mut cost = || match (numbers.next(), numbers.next()) {
        (Some(Ok(instructions)), Some(Ok(calls))) => Some(Cost { instructions, calls }),
        _ => None,
    };
    [cost(), cost()]
}

fn difference(now: f64, before: f64) -> String {
    let percent = (now / before - 1.0) * 100.0;
    let mark = if percent.abs() > TOLERANCE { "!" } else { " " };
    format!("{percent:+.1} %{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read() {
        let dump = "version: 1\nevents: Ir\nfn=(1) main\n10 5\ncfn=(2) malloc\ncalls=4000 1\n10 7\n\
                    cfn=(3) free\ncalls=9 1\n10 7\nfn=(4) grow\ncfn=(2)\ncalls=2000 1\n1 1\ntotals: 20000000\n";
        let requests = f64::from(COUNTED);
        let cost = Cost { instructions: 20_000_000.0 / requests, calls: 6_000.0 / requests };
        assert_eq!(read(dump), Some(cost));
        assert_eq!(read("nothing"), None);
    }

    #[test]
    fn every_case_has_its_expectation() {
        for case in CASES {
            let [caller, callee] = expected(case.name);
            assert!(caller.is_some() && callee.is_some() == (case.shape != Shape::OneHop), "{}", case.name);
        }
    }
}
