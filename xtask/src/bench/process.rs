//! Processes that are measured: pinned to a CPU, logged, ended by their pid.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Outcome, Scratch};

/// Microseconds of one tick in /proc/PID/stat: USER_HZ is 100 on every Linux platform we build for.
const TICK_US: f64 = 10_000.0;
/// A server that does not listen by then has failed; under valgrind, and beside a build, it takes seconds.
const START: Duration = Duration::from_secs(30);

/// Which CPU does what, as `taskset` has it; none: any.
pub struct Cpus {
    /// Of the proxies.
    pub proxies: Option<String>,
    /// Of load generator and application.
    pub load: Option<String>,
    /// Of proxies with two workers.
    pub pair: Option<String>,
}

impl Cpus {
    /// The first ones this process may use; with only one, nothing is pinned, with two, proxies of two workers share
    /// one with the load.
    pub fn find() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let mut cpus = list.unwrap_or_default().trim().split(',').flat_map(range);
        let (Some(first), Some(second)) = (cpus.next(), cpus.next()) else {
            return Self { proxies: None, load: None, pair: None };
        };
        let load = cpus.next().unwrap_or(second);
        let text = |cpu: usize| Some(cpu.to_string());
        Self { proxies: text(first), load: text(load), pair: Some(format!("{first},{second}")) }
    }
}

/// `4` or `0-3`.
fn range(text: &str) -> std::ops::Range<usize> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => first..last + 1,
        _ => 0..0,
    }
}

/// `command`, to run on these CPUs, killed by the kernel should this process be. `setpriv` and `taskset` become the
/// program, so the pid stays.
pub fn pinned(command: &Command, cpus: Option<&str>) -> Command {
    let mut pinned = Command::new("setpriv");
    pinned.args(["--pdeathsig", "KILL"]);
    if let Some(cpus) = cpus {
        pinned.args(["taskset", "--cpu-list", cpus]);
    }
    pinned.arg(command.get_program());
    copy(command, &mut pinned);
    pinned
}

fn copy(from: &Command, to: &mut Command) {
    to.args(from.get_args());
    to.envs(from.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// A running process. Dropping it kills it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in a log of the scratch folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &Command, cpus: Option<&str>, scratch: &Scratch) -> Outcome<Self> {
        let log = scratch.path(&format!("{name}.log"));
        let fault = |error: std::io::Error| format!("{name}: {error}");
        let file = File::create(&log).map_err(fault)?;
        let again = file.try_clone().map_err(fault)?;
        let mut command = pinned(command, cpus);
        let child = command.stdin(Stdio::null()).stdout(file).stderr(again).spawn().map_err(fault)?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Waits until something accepts at `address`.
    ///
    /// # Errors
    /// The process ended, or nothing accepts within 30 s; with the end of the log.
    pub fn listens(&mut self, address: SocketAddr) -> Outcome<()> {
        self.until(&format!("listen on {address}"), || TcpStream::connect(address).is_ok())
    }

    /// Waits until `done`.
    ///
    /// # Errors
    /// The process ended, or it takes more than 30 s; with the end of the log.
    pub fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) -> Outcome<()> {
        let begun = Instant::now();
        while !done() {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || begun.elapsed() > START {
                let state = ended.map_or("after 30 s".to_owned(), |status| status.to_string());
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(10).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                return Err(format!("{} does not {what} ({state}):\n{}", self.name, end.join("\n")));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It does not within 30 s.
    pub fn end(mut self) -> Outcome<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        asked.map_err(|error| format!("kill: {error}"))?;
        let begun = Instant::now();
        while self.child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if begun.elapsed() > START {
                return Err(format!("{} does not end", self.name));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its pid.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far, microseconds; threads included.
    pub fn cpu_us(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        ticks.sum::<f64>() * TICK_US
    }

    /// Resident and proportional memory, KiB.
    pub fn memory(&self) -> Memory {
        Memory::of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Memory of a process, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// VmRSS: pages in memory, shared ones too.
    pub resident: u64,
    /// Pss: shared pages divided by their users.
    pub proportional: u64,
}

impl Memory {
    /// Of a pid; zero where it cannot be read.
    pub fn of(pid: u32) -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self { resident: field("status", "VmRSS:"), proportional: field("smaps_rollup", "Pss:") }
    }
}

/// A port of loopback that nobody uses now.
///
/// # Errors
/// There is none.
pub fn free_port() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}
