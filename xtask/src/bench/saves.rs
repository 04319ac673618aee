//! From a saved mesh file to all sidecars having acknowledged what it changed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Outcome, ask};

/// Saves that are measured.
const SAVES: usize = 25;
/// Between two looks at the controller's status, which cost the controller time, too.
const LOOK: Duration = Duration::from_millis(3);
/// Between two saves: people do not save faster.
const PAUSE: Duration = Duration::from_millis(100);
/// A save that took nobody so far by then was lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Saves a file of another timeout, as editors do, again and again; milliseconds of each. `folder` is what the
/// controller has at `/etc/outrigger`.
///
/// # Errors
/// The file cannot be written, or a sidecar does not acknowledge what it changed.
pub fn measure(folder: &Path, status: SocketAddr, sidecars: usize) -> Outcome<Vec<f64>> {
    let mut took = Vec::new();
    for save in 0..SAVES {
        sleep(PAUSE);
        let before = acknowledged(status).ok_or("the controller stopped answering")?;
        let text = format!("services:\n  app: {{ timeout: {}s }}\n", 10 + save);
        let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::write(folder.join("new"), text).map_err(fault)?;
        let begun = Instant::now();
        fs::rename(folder.join("new"), folder.join("mesh.yaml")).map_err(fault)?;
        loop {
            let now = acknowledged(status).unwrap_or_default();
            let changed = now.iter().filter(|(workload, version)| before.get(*workload) != Some(*version));
            if changed.count() >= sidecars {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("a save was not taken by all sidecars after {} s", PATIENCE.as_secs()));
            }
            sleep(LOOK);
        }
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(took)
}

/// The version that each sidecar acknowledged last and that is the newest sent to it.
fn acknowledged(status: SocketAddr) -> Option<BTreeMap<String, String>> {
    let (_, body) = ask::get(status, "/status").filter(|(code, _)| *code == 200)?;
    let status: Value = serde_json::from_str(&body).ok()?;
    let text = |sidecar: &Value, name: &str| sidecar.get(name)?.as_str().map(str::to_owned);
    let sidecars = status.get("sidecars")?.as_array()?.iter();
    let settled = sidecars.filter_map(|sidecar| {
        let version = text(sidecar, "config_version")?;
        let newest = text(sidecar, "sent_version")? == version;
        newest.then_some((text(sidecar, "workload")?, version))
    });
    Some(settled.collect())
}
