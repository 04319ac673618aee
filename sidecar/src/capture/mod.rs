//! The capture step: a short-lived process that puts the redirect rules into the network namespace it was
//! started in, then ends. It is the only one that needs a capability (NET_ADMIN).
//!
//! Takes: the sidecar's listeners on loopback, which it waits for. Gives: the table `inet outrigger`, in one
//! atomic batch, and on standard output one line of JSON. Touches no other table. `docs/capture.md` shows the
//! rules.

mod expression;
mod install;
mod message;
mod rules;
mod wait;

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub use install::InstallError;
use outrigger_wire::port;

use crate::netns;

/// Settings of the capture step.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How long to wait for the sidecar's listeners, in milliseconds.
    #[arg(long, env = "OUTRIGGER_CAPTURE_WAIT_MS", default_value_t = 10_000)]
    pub wait_ms: u64,
}

/// What the step has done, printed as JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The application's connections that are older than the rules and pass by the sidecar until they are
    /// closed.
    pub unmeshed: usize,
    /// How long the sidecar's listeners were waited for.
    pub waited_ms: u64,
}

/// Why capture is not set.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A listener of the sidecar does not accept.
    #[error(
        "nothing accepts on 127.0.0.1:{port} after {waited_ms} ms: is the sidecar running in this network namespace? No rule was set"
    )]
    NoSidecar {
        /// The listener.
        port: u16,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The kernel refused.
    #[error("{0}")]
    Install(#[from] InstallError),
    /// The connections cannot be counted.
    #[error(
        "the rules are set, but /proc/net/tcp cannot be read ({0}): connections older than the rules are unknown"
    )]
    Count(#[source] io::Error),
}

/// Runs the step: the report goes to standard output, a failure to standard error with exit code 1.
pub fn run(args: &Args) -> ExitCode {
    match capture(Duration::from_millis(args.wait_ms)) {
        Ok(report) => {
            let line = serde_json::to_string(&report).expect("numbers are always JSON");
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("capture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the sidecar's listeners, at most `limit` for all of them, then replaces the rules of the
/// current network namespace.
///
/// # Errors
/// See [`CaptureError`]; unless it says otherwise, the rules are as they were.
pub fn capture(limit: Duration) -> Result<Report, CaptureError> {
    let begun = Instant::now();
    for port in [port::OUTBOUND, port::INBOUND, port::DNS] {
        wait::until_accepting(port, begun + limit)
            .map_err(|wait::TimedOut| CaptureError::NoSidecar { port, waited_ms: millis(begun) })?;
    }
    let waited_ms = millis(begun);
    install::install(&resolvers())?;
    // Counted after the rules stand: whatever opens between the two would be missed the other way round.
    let established = netns::established().map_err(CaptureError::Count)?;
    Ok(Report { unmeshed: netns::unmeshed(&established), waited_ms })
}

/// The nameservers of this namespace; none where the file cannot be read, since only those on loopback
/// matter here and the engine's own is captured in any case.
fn resolvers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    crate::dns::nameservers(&text)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
