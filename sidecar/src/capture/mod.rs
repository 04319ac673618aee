//! The capture step: a short-lived process that puts the redirect rules into the network namespace it was
//! started in, then ends. It is the only one that needs a capability (NET_ADMIN).
//!
//! Takes: the sidecar's listeners on loopback, which it waits for. Gives: the table `inet outrigger`, in one
//! atomic batch, and on standard output one line of JSON. Touches no other table. `docs/capture.md` shows the
//! rules.

mod accepting;
mod expression;
mod install;
mod message;
mod rules;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub use install::InstallError;
use outrigger_wire::port;

use crate::{netns, wait};

/// Settings of the capture step.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Set the rules as soon as the sidecar listens, also before it is certified and configured: for an application
    /// that runs already.
    #[arg(long)]
    pub listening: bool,
    /// Set the rules at once, for a sidecar that starts after this: until then they refuse every connection.
    #[arg(long, conflicts_with = "listening")]
    pub first: bool,
    /// How long to wait for the sidecar.
    #[command(flatten)]
    pub wait: wait::Limit,
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
    /// The sidecar is not ready.
    #[error("{0}. No rule was set")]
    NotReady(wait::NotReady),
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
pub fn run(admin: SocketAddr, args: &Args) -> ExitCode {
    let (begun, limit) = (Instant::now(), Duration::from_secs(args.wait.timeout));
    if args.first {
        return said(close().map(|()| Report { unmeshed: 0, waited_ms: 0 }).map_err(CaptureError::from));
    }
    let ready = if args.listening { Ok(()) } else { wait::until_ready(admin, limit, begun, "capture") };
    let limit = limit.saturating_sub(begun.elapsed());
    said(ready.map_err(CaptureError::NotReady).and_then(|()| capture(limit)))
}

fn said(outcome: Result<Report, CaptureError>) -> ExitCode {
    match outcome {
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

/// Replaces the rules of the current network namespace now, whether there is a sidecar or not: without one they refuse
/// every connection that crosses its border.
///
/// # Errors
/// See [`InstallError`]; the rules are then as they were.
pub fn close() -> Result<(), InstallError> {
    install::install(&resolvers())
}

/// Waits for the sidecar's listeners, at most `limit` for all of them, then replaces the rules of the
/// current network namespace.
///
/// # Errors
/// See [`CaptureError`]; unless it says otherwise, the rules are as they were.
pub fn capture(limit: Duration) -> Result<Report, CaptureError> {
    let begun = Instant::now();
    for port in [port::OUTBOUND, port::INBOUND, port::DNS] {
        accepting::until_accepting(port, begun + limit)
            .map_err(|accepting::TimedOut| CaptureError::NoSidecar { port, waited_ms: millis(begun) })?;
    }
    let waited_ms = millis(begun);
    close()?;
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
