//! Follows the mesh file: looks when its folder changes, and once a second, since not every mount says so.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::Mesh;
use outrigger_model::mesh::Fault;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::kept::{self, Kept};
use super::look::{Found, look, mounted_alone};
use super::map;
use super::notify::{Notify, Signal};
use super::patience::{Patience, Reading};
use crate::status::Problem;

/// Where the mesh file is when nothing is said.
pub const DEFAULT: &str = "/etc/outrigger/mesh.yaml";
/// How often it is looked at although nothing said so.
const POLL: Duration = Duration::from_secs(1);
/// One who writes for longer than that, without a pause of that length, is not waited for.
const WRITING: Duration = Duration::from_secs(5);

/// Where the mesh file is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// It was asked for: having none is wrong.
    pub asked: bool,
    /// The state directory, for the last good text.
    pub state: PathBuf,
}

/// What this source sees.
#[derive(Clone, Debug, Default)]
pub struct MeshFile {
    /// What holds: of the file, of no file, or the last good one. None: the file is bad and there never was a good one.
    pub mesh: Option<Arc<Mesh>>,
    /// The file says what holds.
    pub current: bool,
    /// When the file was last seen to say what holds.
    pub read: Option<Instant>,
    /// Its path.
    pub path: String,
    /// The file, for a person.
    pub about: String,
    /// Why it is not current.
    pub error: Option<String>,
    /// What is wrong with it.
    pub problems: BTreeSet<Problem>,
}

/// Follows the file until dropped.
pub async fn watch(place: Place, out: watch::Sender<MeshFile>) {
    let mut patience = Patience::new(place.path.display().to_string());
    let notify = Notify::new().map_err(|error| {
        tracing::warn!(%error, "inotify: the mesh file is looked at once a second only");
    });
    let notify = notify.ok();
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut names = Names::of(&place.path);
    // The first look is at the first tick; what is there when the controller starts was written before.
    let (mut sure, mut writing) = (true, None::<Instant>);
    loop {
        tokio::select! {
            signal = next(notify.as_ref(), &names) => match signal {
                Signal::Writing => {
                    writing = Some(Instant::now());
                    patience.writing();
                    continue;
                }
                Signal::Written => (sure, writing) = (true, None),
                Signal::Changed => {}
            },
            _ = poll.tick() => {
                if writing.is_some_and(|since| since.elapsed() < WRITING) {
                    continue;
                }
            }
            () = until(patience.until()) => {}
        }
        if let Some(notify) = &notify {
            names = Names::of(&place.path);
            names.follow(notify);
        }
        let path = place.path.clone();
        // A network mount that hangs must not stop the controller.
        let Ok(found) = tokio::task::spawn_blocking(move || look(&path)).await else { continue };
        match patience.see(found, sure, Instant::now()) {
            Some(reading) => {
                let good = reading.text_if_good();
                out.send_modify(|file| believe(file, reading, &place));
                if let Some(text) = good {
                    keep(text, &place, &out).await;
                }
            }
            None if patience.until().is_none() => {
                // The same as before; nobody needs to hear of it.
                out.send_if_modified(|file| {
                    file.read = if file.current { Some(Instant::now()) } else { file.read };
                    false
                });
            }
            None => {}
        }
        sure = false;
    }
}

/// Keeps a good text, once it is on its way: a disk takes longer than everything else.
async fn keep(text: String, place: &Place, out: &watch::Sender<MeshFile>) {
    let kept = Kept::new(&place.state);
    let written = tokio::task::spawn_blocking(move || kept.keep(&text)).await;
    if let Ok(Err(error)) = written {
        let what = format!("{}: cannot be written ({error}): a restart could not start from it", kept::FILE);
        let subject = place.state.display().to_string();
        out.send_modify(|file| {
            file.problems.insert(problem(&subject, what));
        });
    }
}

async fn next(notify: Option<&Notify>, names: &Names) -> Signal {
    let Some(notify) = notify else { return pending().await };
    match notify.next(|name| names.0.iter().any(|(_, ours)| ours == name)).await {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "inotify: the mesh file is looked at once a second only");
            pending().await
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Folders and names of the file: as written, and where its links lead.
struct Names(Vec<(PathBuf, OsString)>);

impl Names {
    fn of(path: &Path) -> Self {
        let target = std::fs::canonicalize(path).ok().filter(|target| target != path);
        let paths = std::iter::once(path.to_owned()).chain(target);
        let split = |path: PathBuf| Some((path.parent()?.to_owned(), path.file_name()?.to_owned()));
        Self(paths.filter_map(split).collect())
    }

    fn follow(&self, notify: &Notify) {
        for (folder, _) in &self.0 {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // A folder that is not there is asked for again at the next look.
            let _looked_at_anyway = notify.follow(folder);
        }
    }
}

/// Takes what is at the path now.
fn believe(file: &mut MeshFile, reading: Reading, place: &Place) {
    let kept = Kept::new(&place.state);
    file.path = place.path.display().to_string();
    file.about = file.path.clone();
    match (reading.found, reading.mesh) {
        (_, Some(Ok(mesh))) => {
            if mounted_alone(&place.path) {
                file.about += ", mounted alone: a save by rename is not seen; mount its folder";
            }
            let problems = map::problems(mesh.warnings(), &file.path);
            tracing::info!(file = file.path, services = mesh.services().len(), "the mesh file holds");
            holds(file, mesh, problems);
        }
        (_, Some(Err(faults))) => {
            stays(file, &kept, map::problems(&faults, &place.path.display().to_string()), &told(&faults))
        }
        (Found::Nothing, _) if !place.asked => {
            if file.mesh.is_some() {
                tracing::info!(file = file.path, "the mesh file was removed: none holds");
            }
            file.about += " (there is none)";
            let _next_start_tells = kept.forget();
            holds(file, Mesh::default(), BTreeSet::new());
        }
        (Found::NoFolder, _) if !place.asked && file.mesh.is_none() && kept.mesh().is_none() => {
            file.about += " (there is none)";
            holds(file, Mesh::default(), BTreeSet::new());
        }
        (found, _) => {
            let what = why(found, place);
            stays(file, &kept, [problem(&file.path.clone(), what.clone())].into(), &what);
        }
    }
}

fn why(found: Found, place: &Place) -> String {
    match found {
        Found::Unusable(what) => what,
        Found::NoFolder => format!(
            "its folder is not there: mount it (./mesh:/etc/outrigger:ro); to run without a mesh file, remove {}",
            place.state.join(kept::FILE).display()
        ),
        Found::Nothing | Found::Text(_) => {
            "it is not there: put it back, or take OUTRIGGER_MESH_FILE away to run without one".into()
        }
    }
}

fn problem(subject: &str, what: String) -> Problem {
    Problem { kind: map::KIND, subject: subject.to_owned(), what }
}

fn told(faults: &[Fault]) -> String {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    match faults.len() {
        0 | 1 => first,
        several => format!("{several} faults; the first: {first}"),
    }
}

fn holds(file: &mut MeshFile, mesh: Mesh, problems: BTreeSet<Problem>) {
    // One that says the same is the same allocation: nothing downstream changes.
    if file.mesh.as_deref() != Some(&mesh) {
        file.mesh = Some(Arc::new(mesh));
    }
    (file.current, file.read, file.error, file.problems) = (true, Some(Instant::now()), None, problems);
}

/// The file cannot hold; what held before does.
fn stays(file: &mut MeshFile, kept: &Kept, mut problems: BTreeSet<Problem>, why: &str) {
    if file.mesh.is_none() {
        file.mesh = kept.mesh().map(Arc::new);
    }
    let outcome = if file.mesh.is_some() {
        "the last good mesh file stays in force"
    } else {
        "there is no good one to go on with: nothing is published until it is corrected, and sidecars keep what they have"
    };
    problems.insert(problem(&file.path, format!("not taken; {outcome}")));
    (file.current, file.error, file.problems) = (false, Some(format!("{why}; {outcome}")), problems);
}

#[cfg(test)]
mod tests;
