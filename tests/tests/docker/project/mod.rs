//! A compose project of one test: written, brought up, asked, and taken down with everything of its mesh.

mod mesh;
mod posting;
mod setup;

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use posting::{COUNTER, Posting};
pub use setup::Setup;

/// How long containers may take to come, go or serve. A pass never takes it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A compose project; dropping it takes it down, with its sidecars, volumes and files.
pub struct Project {
    /// Its name, which is also its mesh's.
    pub name: String,
    /// Where its files lie.
    pub folder: PathBuf,
    /// The compose files, in order. A test may put others in their place.
    pub files: Vec<PathBuf>,
    compose: Vec<String>,
}

/// Image of the test applications (`tests/apps`).
pub fn apps() -> String {
    env::var("OUTRIGGER_TEST_APPS").unwrap_or_else(|_unset| "outrigger-test-apps:dev".into())
}

/// `outrigger-sidecar:0.1.0`, or of the tag that `OUTRIGGER_TEST_TAG` names.
pub fn image(name: &str) -> String {
    format!("outrigger-{name}:{}", tag())
}

fn tag() -> String {
    env::var("OUTRIGGER_TEST_TAG").unwrap_or_else(|_unset| env!("CARGO_PKG_VERSION").into())
}

/// Runs docker, which must succeed; what it printed.
pub fn docker(words: &[&str]) -> String {
    said(&format!("docker {words:?}"), &tried(words))
}

/// Runs docker, which may fail.
pub fn tried(words: &[&str]) -> Output {
    Command::new("docker").args(words).stdin(Stdio::null()).output().expect("docker is there")
}

/// Asks until there is an answer; fails the test when that takes too long.
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "not within {} s: {what}", limit.as_secs());
        thread::sleep(LOOK);
    }
}

fn said(what: &str, output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Project {
    /// Runs compose on the project, which must succeed; what it printed.
    pub fn compose(&self, words: &[&str]) -> String {
        said(&format!("compose {words:?}"), &self.try_compose(words))
    }

    /// Runs compose on the project, which may fail.
    pub fn try_compose(&self, words: &[&str]) -> Output {
        let (program, first) = self.compose.split_first().expect("compose has a name");
        let files = self.files.iter().flat_map(|file| ["-f".into(), file.clone()]);
        let mut command = Command::new(program);
        command.args(first).args(["-p", &self.name]).args(files).args(words);
        command.current_dir(&self.folder).env("OUTRIGGER_VERSION", tag()).stdin(Stdio::null());
        command.output().expect("compose is there")
    }

    /// Writes a file of the project's folder whole, as an editor does: a new one in the old one's place.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// Names of the running containers of a service, in order.
    pub fn containers(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let names = docker(&["ps", "--filter", &project, "--filter", &service, "--format", "{{.Names}}"]);
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The name of the first container of a service.
    pub fn container(&self, service: &str) -> String {
        let mut names = self.containers(service);
        assert!(!names.is_empty(), "{service} runs");
        names.remove(0)
    }

    /// The engine's name of a network or a volume of this project.
    pub fn full(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    /// The address of a service's first container on a network of this project.
    pub fn address(&self, service: &str, network: &str) -> Ipv4Addr {
        let networks = format!("(index .NetworkSettings.Networks \"{}\")", self.full(network));
        let format = format!("{{{{{networks}.IPAddress}}}}");
        docker(&["inspect", "-f", &format, &self.container(service)]).trim().parse().expect("an address")
    }

    /// Runs a command in the first container of a service: whether it succeeded, and all that it printed.
    pub fn try_exec(&self, service: &str, words: &[&str]) -> (bool, String) {
        let container = self.container(service);
        let output = tried(&[&["exec", &container][..], words].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a command in the first container of a service, which must succeed; all that it printed.
    pub fn exec(&self, service: &str, words: &[&str]) -> String {
        let (succeeded, text) = self.try_exec(service, words);
        assert!(succeeded, "{service}: {words:?}: {text}");
        text
    }

    /// All that a container has written.
    pub fn log(&self, container: &str) -> String {
        let output = tried(&["logs", container]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Asks until there is an answer; fails the test with what the mesh says when that takes too long.
    pub fn until<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        self.within(PATIENCE, what, ask)
    }

    /// Like [`Project::until`], with another limit.
    pub fn within<T>(&self, limit: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        within(limit, what, ask)
    }

    /// Waits until `service` gets an answer from this URL.
    pub fn until_answers(&self, service: &str, url: &str) {
        let ask = format!("import urllib.request as r; r.urlopen('{url}', timeout=2)");
        self.until(url, || self.try_exec(service, &["python3", "-c", &ask]).0.then_some(()));
    }

    /// Names of all containers of the project and of its mesh, ended ones too.
    pub fn everything(&self) -> Vec<String> {
        let list = |label: &str| {
            let filter = format!("label={label}={}", self.name);
            docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])
        };
        let lists = ["com.docker.compose.project", "outrigger.mesh"].map(list);
        let mut names: Vec<String> = lists.iter().flat_map(|list| list.lines()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Prints what every container said last.
    fn tell(&self) {
        for name in self.everything() {
            let output = tried(&["logs", "--tail=40", &name]);
            let said = [output.stdout, output.stderr].concat();
            println!("--- {name}\n{}", String::from_utf8_lossy(&said));
        }
        if self.is_meshed() {
            println!("--- status\n{:#}", self.status().unwrap_or_default());
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell();
        }
        // Nobody needs time to end well here. The controller goes first, so that it puts no sidecar to what is left.
        for containers in [self.containers("outrigger"), self.everything(), self.everything()] {
            if !containers.is_empty() {
                let names = containers.iter().map(String::as_str);
                let _removed = tried(&["rm", "-fv"].into_iter().chain(names).collect::<Vec<_>>());
            }
        }
        let _down = self.try_compose(&["down", "-v", "-t", "0", "--remove-orphans"]);
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
