//! A sidecar that does nothing: how soon it is ready, and what it takes.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::peer::{Shape, Side};
use super::process::{Process, free_port};
use super::program::{Program, fill};
use super::report::{Report, Row};
use super::{Bench, Outcome, ask, outrigger};

/// Starts of which the median counts.
const STARTS: usize = 7;
/// Until memory that was only needed to start is given back.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures both.
///
/// # Errors
/// The sidecar does not get ready.
pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let mut times = Vec::new();
    let mut memory = None;
    for start in 1..=STARTS {
        let (entry, mesh, admin) = (free_port()?, free_port()?, free_port()?);
        let words = [("entry", entry.to_string()), ("mesh", mesh.to_string())];
        let text = fill(Program::Outrigger.template(Shape::TwoHops, Side::Caller), &words);
        let file = bench.scratch.write("idle.yaml", &text)?;
        let (process, took) = ready(bench, "outrigger-idle", &file, admin)?;
        times.push(took);
        if start == STARTS {
            sleep(SETTLE);
            memory = Some(process.memory());
        }
    }
    report.add(Row::samples("from start to ready", "ms", &times).wanted(50.0));
    let memory = memory.unwrap_or_default();
    report.add(Row::at_most("resident", "MiB", memory.resident as f64 / 1024.0, 12.0));
    report.add(Row::number("of that its own (Pss)", "MiB", memory.proportional as f64 / 1024.0));
    Ok(())
}

/// A caller's sidecar that runs a file, and the milliseconds until it was ready.
///
/// # Errors
/// It does not get ready.
pub fn ready(bench: &Bench, name: &str, file: &Path, admin: SocketAddr) -> Outcome<(Process, f64)> {
    let identity = &bench.certificates.client.folder;
    let command = outrigger::command(&bench.binaries.sidecar, file, identity, 1, admin);
    let begun = Instant::now();
    let mut process = Process::start(name, &command, None, &bench.scratch)?;
    process.until("become ready", || ask::get(admin, "/ready").is_some_and(|(code, _)| code == 200))?;
    Ok((process, begun.elapsed().as_secs_f64() * 1000.0))
}
