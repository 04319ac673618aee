//! A Docker engine that works: the one that runs, or one we install and start, and then stop again.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::run::{Fault, Run, folder, is_root, tail, until, unwritable, which};
use crate::say;

/// How long an engine may take to start answering.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop its containers and end.
const STOP: Duration = Duration::from_secs(30);
/// How long apt may take.
const INSTALL: Duration = Duration::from_secs(600);
const MANUAL: &str = "install Docker (https://docs.docker.com/engine/install), see that `docker info` works for \
                      this user (group docker), and run this again";

/// A reachable engine and how to speak compose to it.
pub struct Engine {
    /// Words that start compose: `docker compose` or `docker-compose`.
    compose: Vec<String>,
    /// This run started it, so this run stops it.
    started: bool,
}

impl Engine {
    /// Finds an engine; as root on a Debian-like machine also installs and starts one.
    pub fn ensure() -> Result<Self, Fault> {
        let step = say::step("engine", "looking for Docker");
        let before = running_pid();
        let step = match answers() {
            Some(_) if compose().is_some() => step,
            found => provide(step, found.is_some())?,
        };
        let (Some(version), Some((compose, name))) = (answers(), compose()) else {
            step.failed();
            return Err(Fault::new("Docker is there, compose is not", MANUAL));
        };
        let ours = running_pid();
        let note = ours.map(|pid| format!(", dockerd started by xtask (pid {pid})")).unwrap_or_default();
        step.done(format!("Docker {version}, {name}{note}"));
        Ok(Self { compose, started: ours.is_some() && before.is_none() })
    }

    /// A docker command.
    pub fn docker<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::new("docker", arguments)
    }

    /// A compose command.
    pub fn compose(&self, arguments: &[&str]) -> Run {
        let mut words = self.compose.iter().map(String::as_str);
        let program = words.next().unwrap_or("docker-compose");
        Run::new(program, words.chain(arguments.iter().copied()))
    }

    /// How a person types compose here.
    pub fn compose_words(&self) -> String {
        self.compose.join(" ")
    }

    /// Is this image here?
    pub fn has_image(&self, name: &str) -> bool {
        self.docker(["image", "inspect", "--format", "{{.Id}}", name]).read().is_ok()
    }

    /// Stops the engine if this run started it: one that was kept goes on for whoever kept it.
    pub fn stop(self) -> Result<(), Fault> {
        if self.started { self.stop_kept() } else { Ok(()) }
    }

    /// Stops the engine if this or an earlier run of ours started it.
    pub fn stop_kept(self) -> Result<(), Fault> {
        let Some(pid) = running_pid() else { return Ok(()) };
        let step = say::step("engine", "stopping the one we started");
        let step = Run::new("kill", ["-TERM", &pid.to_string()]).under(step)?.0;
        if until(STOP, || running_pid().is_none().then_some(())).is_none() {
            step.failed();
            return Err(Fault::new(format!("dockerd (pid {pid}) does not end"), "look at its log"));
        }
        let _ = fs::remove_file(pid_file()?);
        step.done("stopped");
        Ok(())
    }
}

/// The engine's version, if one answers.
fn answers() -> Option<String> {
    which("docker")?;
    let limit = Duration::from_secs(20);
    let version =
        Run::new("docker", ["version", "--format", "{{.Server.Version}}"]).within(limit).read().ok()?;
    Some(version.trim().to_owned())
}

/// Compose v2 as a plugin where present, else 1.29.
fn compose() -> Option<(Vec<String>, String)> {
    let plugin = Run::new("docker", ["compose", "version", "--short"]).read().ok();
    if let Some(version) =
        plugin.filter(|version| version.trim().starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
    {
        return Some((vec!["docker".into(), "compose".into()], format!("compose {}", version.trim())));
    }
    which("docker-compose")?;
    let version = Run::new("docker-compose", ["version", "--short"]).read().ok()?;
    Some((vec!["docker-compose".into()], format!("docker-compose {}", version.trim())))
}

fn provide(step: say::Step, answers_already: bool) -> Result<say::Step, Fault> {
    if !is_root() {
        step.failed();
        return Err(Fault::new("no Docker engine with compose answers, and we are not root", MANUAL));
    }
    let step = install(step, answers_already)?;
    if answers_already || until(Duration::from_secs(1), answers).is_some() { Ok(step) } else { start(step) }
}

fn install(step: say::Step, only_compose: bool) -> Result<say::Step, Fault> {
    let wanted = [
        ("docker-compose", "docker-compose"),
        ("dockerd", "docker.io"),
        ("docker", "docker.io"),
        ("iptables", "iptables"),
        ("nft", "nftables"),
        ("mmdebstrap", "mmdebstrap"),
    ];
    let few = if only_compose { 1 } else { wanted.len() };
    let absent = wanted.iter().take(few).filter(|(program, _)| which(program).is_none());
    let mut absent: Vec<&str> = absent.map(|(_, package)| *package).collect();
    absent.dedup();
    apt(step, &absent)
}

/// Installs Debian packages; nothing to do for an empty list.
pub fn apt(step: say::Step, packages: &[&str]) -> Result<say::Step, Fault> {
    if packages.is_empty() {
        return Ok(step);
    }
    if which("apt-get").is_none() {
        step.failed();
        return Err(Fault::new(format!("not found: {}", packages.join(", ")), MANUAL));
    }
    let advice = "see that apt-get works on this machine (network, mirrors), or install it by hand";
    let step = Run::new("apt-get", ["update", "-q"]).advise(advice).within(INSTALL).under(step)?.0;
    let words = ["install", "-qy", "--no-install-recommends"].iter().chain(packages);
    let run =
        Run::new("apt-get", words).env("DEBIAN_FRONTEND", "noninteractive").advise(advice).within(INSTALL);
    Ok(run.under(step)?.0)
}

fn start(step: say::Step) -> Result<say::Step, Fault> {
    step.tick("starting Docker");
    let log = folder("log")?.join("dockerd.log");
    if Path::new("/run/systemd/system").exists() {
        let advice = "see `systemctl status docker`";
        return Ok(Run::new("systemctl", ["start", "docker"]).advise(advice).under(step)?.0);
    }
    let Some(dockerd) = which("dockerd") else {
        step.failed();
        return Err(Fault::new("dockerd was installed and is not there", MANUAL));
    };
    let out = File::create(&log).map_err(|e| unwritable(&log, &e))?;
    let err = out.try_clone().map_err(|e| unwritable(&log, &e))?;
    // Its own process group: Ctrl-C here must not pull the engine away from under running containers.
    let spawned = Command::new(dockerd).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn();
    let mut child = spawned.map_err(|e| Fault::new(format!("cannot start dockerd: {e}"), MANUAL))?;
    let pid_file = pid_file()?;
    fs::write(&pid_file, child.id().to_string()).map_err(|e| unwritable(&pid_file, &e))?;
    let up = until(START, || match child.try_wait() {
        Ok(None) => answers().map(|_| true),
        Ok(Some(_)) | Err(_) => Some(false),
    });
    if up == Some(true) {
        return Ok(step);
    }
    step.failed();
    let _ = child.kill();
    let advice =
        "a container without privileges cannot run an engine: use a machine that can, or set DOCKER_HOST";
    Err(Fault { what: "dockerd does not come up".into(), seen: tail(&log), advice: advice.into() })
}

fn pid_file() -> Result<PathBuf, Fault> {
    Ok(folder("engine")?.join("dockerd.pid"))
}

/// The pid of the engine we started, while it lives.
fn running_pid() -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file().ok()?).ok()?.trim().parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A zombie is dead: we never reap our child, and its parent may be gone.
    (stat.contains("(dockerd)") && !stat.contains(") Z ")).then_some(pid)
}
