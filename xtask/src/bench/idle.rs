//! A sidecar that does nothing: how soon it is ready, and what it takes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::hops::median;
use super::process::{Process, free_port};
use super::report::{Report, Row};
use super::tools::Binaries;
use super::{Outcome, Scratch, ask, certificates, outrigger};

/// Starts of which the median counts.
const STARTS: usize = 7;
/// Until memory that was only needed to start is given back.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures both.
///
/// # Errors
/// The sidecar does not get ready.
pub fn measure(binaries: &Binaries, scratch: &Scratch, report: &mut Report) -> Outcome<()> {
    let identity = certificates::make(scratch)?.client.folder;
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for start in 1..=STARTS {
        let (entry, mesh, admin) = (free_port()?, free_port()?, free_port()?);
        let file = scratch.write("idle.yaml", &outrigger::caller(entry, mesh))?;
        let command = outrigger::command(&binaries.sidecar, &file, &identity, admin);
        let begun = Instant::now();
        let mut process = Process::start("outrigger-idle", &command, None, scratch)?;
        process.until("become ready", || ask::get(admin, "/ready").is_some_and(|(code, _)| code == 200))?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        if start == STARTS {
            sleep(SETTLE);
            memory.push(process.memory());
        }
    }
    report.add(Row::at_most("sidecar: from start to ready", "ms", median(times), 50.0));
    for memory in memory {
        report.add(Row::at_most("sidecar: resident, idle", "MiB", memory.resident as f64 / 1024.0, 12.0));
        report.add(Row::number(
            "sidecar: of that its own (Pss), idle",
            "MiB",
            memory.proportional as f64 / 1024.0,
        ));
    }
    Ok(())
}
