//! A small mesh of its own on the engine: a controller and one application.

use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for an engine on a busy machine; a pass never takes it.
const PATIENCE: Duration = Duration::from_secs(60);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Gone with everything in it when dropped.
pub struct Place {
    name: String,
}

impl Place {
    /// A controller that looks at this place alone, and an application `app` with its sidecar, ready.
    pub fn new(name: &str) -> Self {
        let place = Self { name: format!("tests-docker-{}-{name}", std::process::id()) };
        let (run, state) = (place.volume("run"), format!("{}:/var/lib/outrigger", place.full("state")));
        let engine = ["--pid=host", "-v", "/var/run/docker.sock:/var/run/docker.sock"];
        place.start(
            "outrigger",
            &[&engine[..], &["-v", &run, "-v", &state]].concat(),
            &[&image("controller")],
        );
        let apps = std::env::var("OUTRIGGER_TEST_APPS").unwrap_or_else(|_| "outrigger-test-apps:dev".into());
        place.start("app", &["--label", "outrigger.enable=true"], &[&apps, "sleep", "1000"]);
        place.until("a sidecar that is ready", || place.sidecar()["ready"] == true);
        place
    }

    /// `tests-docker-1-impostor-app`.
    pub fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The volume that holds the control socket, as `docker run -v` wants it.
    pub fn volume(&self, name: &str) -> String {
        format!("{}:/run/outrigger", self.full(name))
    }

    /// Runs a container of this place in the background.
    pub fn start(&self, name: &str, options: &[&str], image: &[&str]) {
        let project = format!("com.docker.compose.project={}", self.name);
        let service = format!("com.docker.compose.service={name}");
        let full = self.full(name);
        let words = ["run", "-d", "--name", &full, "--label", &project, "--label", &service];
        docker(&[&words[..], options, image].concat());
    }

    /// What the controller says of the sidecar; null while there is none.
    pub fn sidecar(&self) -> serde_json::Value {
        let output = run(&["exec", &self.full("outrigger"), "/outrigger", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["sidecars"][0].clone()
    }

    /// All that a container has written.
    pub fn log(&self, name: &str) -> String {
        let output = run(&["logs", &self.full(name)]);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits until it holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let said = || format!("{}\n{}", self.sidecar(), self.log("outrigger"));
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}\n{}", said());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let labels =
            [format!("com.docker.compose.project={}", self.name), format!("outrigger.mesh={}", self.name)];
        for label in labels {
            let found = run(&["ps", "-aq", "--filter", &format!("label={label}")]);
            let ids = String::from_utf8_lossy(&found.stdout).into_owned();
            for id in ids.lines() {
                run(&["rm", "-fv", id]);
            }
        }
        run(&["volume", "rm", &self.full("run"), &self.full("state")]);
    }
}

/// `outrigger-sidecar:0.1.0`.
pub fn image(name: &str) -> String {
    format!("outrigger-{name}:{VERSION}")
}

/// Runs the docker command, which must succeed.
pub fn docker(arguments: &[&str]) {
    let output = run(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn run(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().expect("docker is there")
}
