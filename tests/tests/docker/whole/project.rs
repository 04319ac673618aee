//! A compose project of one test: written, brought up, asked, taken down.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a project may take until its sidecars serve or its applications answer.
const READY: Duration = Duration::from_secs(60);

/// A running compose project; dropping it takes it down, volumes included.
pub struct Project {
    name: String,
    folder: PathBuf,
    meshed: bool,
}

/// The image of the test applications.
pub fn apps() -> String {
    std::env::var("OUTRIGGER_TEST_APPS").unwrap_or_else(|_| "outrigger-test-apps:dev".into())
}

/// `docker` with these words, which must succeed; gives what it printed.
pub fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().expect("docker runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {errors}", words.join(" "));
    String::from_utf8(output.stdout).expect("docker prints text")
}

/// Asks every 100 ms until there is an answer.
pub fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < within, "not within {} s: {what}", within.as_secs());
        thread::sleep(Duration::from_millis(100));
    }
}

impl Project {
    /// Up with the controller beside it.
    pub fn meshed(name: &str, services: &str) -> Self {
        Self::up(name, services, true)
    }

    /// Up as it is.
    pub fn plain(name: &str, services: &str) -> Self {
        Self::up(name, services, false)
    }

    fn up(name: &str, services: &str, meshed: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder of temporary files is writable");
        fs::write(folder.join("docker-compose.yaml"), services).expect("it is ours");
        let project = Self { name: name.to_owned(), folder, meshed };
        project.compose(&["up", "-d"]);
        project
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine's name of a network of this project.
    pub fn network(&self, network: &str) -> String {
        format!("{}_{network}", self.name)
    }

    /// The address of a service's only container on a network of this project.
    pub fn address(&self, service: &str, network: &str) -> Ipv4Addr {
        let format =
            format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.network(network));
        docker(&["inspect", "-f", &format, &self.container(service)]).trim().parse().expect("an address")
    }

    /// The id of a service's only container.
    pub fn container(&self, service: &str) -> String {
        let filters = [("project", self.name.as_str()), ("service", service)];
        let filters =
            filters.map(|(label, value)| format!("--filter=label=com.docker.compose.{label}={value}"));
        docker(&["ps", "-q", &filters[0], &filters[1]]).trim().to_owned()
    }

    /// compose with these words, which must succeed; gives what it printed.
    pub fn compose(&self, words: &[&str]) -> String {
        let output = self.composed(words).output().expect("docker-compose runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker-compose {}: {errors}", words.join(" "));
        String::from_utf8(output.stdout).expect("compose prints text")
    }

    fn composed(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command.args(["-p", &self.name, "-f"]).arg(self.folder.join("docker-compose.yaml"));
        if self.meshed {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
            command.arg("-f").arg(root.join("compose/outrigger.yaml"));
        }
        command.args(words);
        command
    }

    /// Runs a command in a service's container: whether it succeeded, and all that it printed.
    pub fn try_exec(&self, service: &str, words: &[&str]) -> (bool, String) {
        let container = self.container(service);
        let output =
            Command::new("docker").args(["exec", &container]).args(words).output().expect("docker runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a command in a service's container; it must succeed. Gives what it printed.
    pub fn exec(&self, service: &str, words: &[&str]) -> String {
        let (succeeded, text) = self.try_exec(service, words);
        assert!(succeeded, "{service}: {words:?}: {text}");
        text
    }

    /// Waits until `service` gets an answer from this URL.
    pub fn until_answers(&self, service: &str, url: &str) {
        let ask = format!("import urllib.request as r; r.urlopen('{url}', timeout=2)");
        until(url, READY, || self.try_exec(service, &["python3", "-c", &ask]).0.then_some(()));
    }

    /// The mesh's status; none before the controller answers.
    pub fn status(&self) -> Option<Value> {
        let (_, text) = self.try_exec("outrigger", &["/outrigger", "status", "--json"]);
        serde_json::from_str(&text).ok()
    }

    /// Waits until the sidecars of these services serve what was last sent to them.
    pub fn until_meshed(&self, services: &[&str]) {
        let ready = |sidecar: &Value, service: &str| {
            sidecar["ready"] == true
                && sidecar["config_version"] == sidecar["sent_version"]
                && sidecar["service"] == format!("{service}.{}", self.name)
        };
        until("all sidecars serve", READY, || {
            let status = self.status()?;
            let sidecars = status["sidecars"].as_array()?;
            services.iter().all(|service| sidecars.iter().any(|s| ready(s, service))).then_some(())
        });
    }

    /// What the mesh saw between two services, as soon as it is reported.
    pub fn edge(&self, source: &str, destination: &str) -> Value {
        let named = |service: &str| format!("{service}.{}", self.name);
        until(&format!("an edge from {source} to {destination}"), READY, || {
            let status = self.status()?;
            let mut edges = status["edges"].as_array()?.iter();
            let ours =
                |edge: &&Value| edge["source"] == named(source) && edge["destination"] == named(destination);
            edges.find(ours).cloned()
        })
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = self.composed(&["logs", "--no-color", "--tail=20"]).output();
            eprintln!(
                "{}",
                logs.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
            );
        }
        let _ = self.composed(&["down", "-v", "-t", "1"]).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
