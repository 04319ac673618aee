//! A compose project with the mesh in it, that leaves nothing behind.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long containers may take to come, go or serve.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A compose project that is up; dropping it takes it down with everything of its mesh.
pub struct Project {
    /// Its name, which is also its mesh's.
    pub name: String,
    directory: PathBuf,
}

impl Project {
    /// Starts a controller for the whole project, and `rest`: a compose file's text from the first service on, in
    /// which `APPS` stands for the image of the test applications and `BASE` for the plain one. `environment` is
    /// the controller's.
    pub fn up(test: &str, environment: &[(&str, &str)], rest: &str) -> Self {
        let apps = env::var("OUTRIGGER_TEST_APPS").expect("cargo xtask test sets OUTRIGGER_TEST_APPS");
        let base = env::var("OUTRIGGER_TEST_BASE").unwrap_or_else(|_unset| apps.clone());
        let name = format!("{test}-{}", std::process::id());
        let directory = env::temp_dir().join(&name);
        fs::create_dir_all(&directory).unwrap();
        let environment: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = CONTROLLER
            .replace("VERSION", env!("CARGO_PKG_VERSION"))
            .replace("ENVIRONMENT", &serde_json::to_string(&environment).unwrap());
        let rest = rest.replace("APPS", &apps).replace("BASE", &base);
        fs::write(directory.join("docker-compose.yaml"), text + &rest).unwrap();
        let project = Self { name, directory };
        project.compose(&["up", "-d"]);
        project
    }

    /// Runs compose on the project, which must succeed; its output.
    pub fn compose(&self, words: &[&str]) -> String {
        said(&format!("compose {words:?}"), &self.composed(words))
    }

    fn composed(&self, words: &[&str]) -> Output {
        let plugin = Command::new("docker").args(["compose", "version"]).output();
        let mut command = if plugin.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        } else {
            Command::new("docker-compose")
        };
        command.args(["-p", &self.name]).args(words).current_dir(&self.directory).output().unwrap()
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

    /// Container ids of the sidecars, by name.
    pub fn sidecars(&self) -> Vec<(String, String)> {
        let mesh = format!("label=outrigger.mesh={}", self.name);
        let managed = "label=outrigger.managed=sidecar";
        let words =
            ["ps", "--no-trunc", "--filter", &mesh, "--filter", managed, "--format", "{{.Names}} {{.ID}}"];
        let mut sidecars: Vec<_> = docker(&words)
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, id)| (name.to_owned(), id.to_owned()))
            .collect();
        sidecars.sort();
        sidecars
    }

    /// Runs a command in the first container of a service, which must succeed; its output.
    pub fn exec(&self, service: &str, words: &[&str]) -> String {
        let container = self.container(service);
        let words: Vec<&str> = ["exec", &container].into_iter().chain(words.iter().copied()).collect();
        docker(&words)
    }

    /// What `outrigger status` says; none while the controller does not answer.
    pub fn status(&self) -> Option<Value> {
        let controller = self.containers("outrigger").into_iter().next()?;
        let words = ["exec", &controller, "/outrigger", "status", "--json"];
        let output = Command::new("docker").args(words).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Asks until there is an answer; fails the test with what the mesh says when it takes too long.
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                self.tell();
                panic!("{what}: not in {} s", PATIENCE.as_secs());
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits until exactly this many sidecars are there, and all of them serve the configuration sent last.
    pub fn meshed(&self, count: usize) -> Value {
        self.until(&format!("{count} sidecars that serve"), || {
            let status = self.status()?;
            let sidecars = status["sidecars"].as_array()?;
            let serves = |sidecar: &Value| {
                sidecar["connected"] == true
                    && sidecar["ready"] == true
                    && sidecar["config_version"] == sidecar["sent_version"]
            };
            (status["ready"] == true && sidecars.len() == count && sidecars.iter().all(serves))
                .then_some(status)
        })
    }

    /// Waits until a port of a service has exactly this many endpoints, and all of them take traffic.
    pub fn endpoints(&self, service: &str, port: u16, count: usize) -> Value {
        self.until(&format!("{count} endpoints of {service}"), || {
            let status = self.status()?;
            let services = status["services"].as_array()?;
            let service = services.iter().find(|candidate| candidate["name"] == service)?;
            let port = service["ports"].as_array()?.iter().find(|candidate| candidate["port"] == port)?;
            let endpoints = port["endpoints"].as_array()?;
            let ready = endpoints.iter().filter(|endpoint| endpoint["ready"] == true).count();
            let there = ready == count && endpoints.len() == count;
            there.then(|| status.clone())
        })
    }

    /// Prints what the project's containers and its sidecars said.
    pub fn tell(&self) {
        let label = |label: &str| format!("label={label}={}", self.name);
        for filter in [label("com.docker.compose.project"), label("outrigger.mesh")] {
            for name in docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).lines() {
                let output = Command::new("docker").args(["logs", "--tail=40", name]).output().unwrap();
                let said = [output.stdout, output.stderr].concat();
                println!("--- {name}\n{}", String::from_utf8_lossy(&said));
            }
        }
        println!("--- status\n{:#}", self.status().unwrap_or_default());
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell();
        }
        let _down = self.composed(&["down", "-v", "-t", "2", "--remove-orphans"]);
        let mesh = format!("label=outrigger.mesh={}", self.name);
        let left = Command::new("docker").args(["ps", "-aq", "--filter", &mesh]).output();
        for id in left.iter().flat_map(|output| str::from_utf8(&output.stdout)).flat_map(str::lines) {
            let _removed = Command::new("docker").args(["rm", "-fv", id]).stderr(Stdio::null()).output();
        }
        // A network stays while a sidecar is in it: once more, now that none is.
        let _down = self.composed(&["down", "-v", "-t", "2"]);
        let _removed = fs::remove_dir_all(&self.directory);
    }
}

/// Runs docker, which must succeed; its output.
pub fn docker(words: &[&str]) -> String {
    said(&format!("docker {words:?}"), &Command::new("docker").args(words).output().unwrap())
}

fn said(what: &str, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `compose/outrigger.yaml` without the published port.
const CONTROLLER: &str = r#"
services:
  outrigger:
    image: outrigger-controller:VERSION
    pid: host
    restart: unless-stopped
    labels: { outrigger.enable: "true" }
    environment: ENVIRONMENT
    volumes: [ /var/run/docker.sock:/var/run/docker.sock, outrigger-run:/run/outrigger, outrigger-state:/var/lib/outrigger ]
"#;
