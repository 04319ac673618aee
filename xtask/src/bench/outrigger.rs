//! Our sidecar, run from a file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What the sidecar's image sets is part of how it is released.
const IMAGE: &str = include_str!("../../../images/sidecar/Dockerfile");

/// A sidecar that runs a file.
pub fn command(sidecar: &Path, file: &Path, identity: &Path, workers: usize, admin: SocketAddr) -> Command {
    let mut command = Command::new(sidecar);
    command.arg("--config").arg(file).arg("--identity").arg(identity);
    command.env("OUTRIGGER_WORKERS", workers.to_string()).env("OUTRIGGER_LOG", "warn");
    command.env("OUTRIGGER_ADMIN", admin.to_string());
    command.envs(IMAGE.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('=')));
    command
}
