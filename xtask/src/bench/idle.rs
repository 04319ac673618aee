//! A sidecar that does nothing: how soon it is ready, and what it takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::hops::median;
use super::process::{Process, free_port};
use super::report::{Report, Row};
use super::tools::Binaries;
use super::{Outcome, Scratch, certificates, outrigger};

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
        process.until("become ready", || ready(admin))?;
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

/// `GET /ready` answers 200.
fn ready(admin: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
