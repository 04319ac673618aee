//! The demo shop as a compose project: up, asked, down.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::run::{Fault, Run, root, until};
use crate::say;
use crate::sources::Sources;

/// The compose project.
pub const PROJECT: &str = "shop";
/// The shop itself; not a line of it knows the mesh.
pub const COMPOSE: &str = "compose/shop/docker-compose.yaml";
/// What adds the mesh.
pub const CONTROLLER: &str = "compose/outrigger.yaml";
/// How long the shop may take from `up` to its first whole page.
const READY: Duration = Duration::from_secs(90);
/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The shop of this repository on an engine.
pub struct Shop<'a> {
    engine: &'a Engine,
    env_file: PathBuf,
    meshed: bool,
}

/// What an HTTP server answered.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Everything after the head, as it came.
    pub body: String,
}

impl<'a> Shop<'a> {
    /// The shop from these images, with the controller beside it or alone.
    pub fn new(engine: &'a Engine, base: &Sources, meshed: bool) -> Result<Self, Fault> {
        Ok(Self { engine, env_file: base.env_file()?, meshed })
    }

    /// The command line of a compose call, for people.
    pub fn words(&self, rest: &str) -> String {
        let words: Vec<String> = self.arguments().iter().map(|word| short(word)).collect();
        format!("{} {} {rest}", self.engine.compose_words(), words.join(" "))
    }

    /// A compose call.
    pub fn compose(&self, rest: &[&str]) -> Run {
        let words = self.arguments();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(rest.iter().copied()).collect();
        self.engine.compose(&words)
    }

    fn arguments(&self) -> Vec<String> {
        let env = self.env_file.to_string_lossy();
        let mut words = vec!["--env-file", &env, "-p", PROJECT, "-f", COMPOSE];
        if self.meshed {
            words.extend(["-f", CONTROLLER]);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// Builds its images.
    pub fn build(&self) -> Result<(), Fault> {
        let step = say::step("shop", "building its images");
        let advice = "read the build's output above; a Dockerfile's base image may be missing";
        let step = self.compose(&["build"]).advise(advice).under(step)?.0;
        step.done("web (Node), cart (Go), catalog, checkout and pricing (Python), load (Node)");
        Ok(())
    }

    /// Creates and starts it.
    pub fn up(&self) -> Result<(), Fault> {
        let step = say::step("up", "starting");
        let advice = "a port in use? SHOP_PORT and OUTRIGGER_PORT set others; something left over? `cargo xtask demo --down`";
        let step = self.compose(&["up", "-d"]).advise(advice).under(step)?.0;
        let count = self.containers()?;
        step.done(format!("{count} containers"));
        Ok(())
    }

    /// Waits until its page is whole, which needs every service behind it.
    pub fn ready(&self) -> Result<SocketAddr, Fault> {
        let step = say::step("ready", "waiting for the first whole page");
        let web = self.published("web", 8080)?;
        let mut last = String::new();
        let mut looked = Instant::now();
        let outcome = until(READY, || {
            match request(web, "GET", "/ready") {
                Ok(answer) if answer.status == 200 => return Some(Ok(())),
                Ok(answer) => last = format!("{} {}", answer.status, answer.body.trim()),
                Err(e) => last = e.to_string(),
            }
            step.tick(&last);
            if looked.elapsed() < Duration::from_secs(2) {
                return None;
            }
            looked = Instant::now();
            self.ended().ok().flatten().map(Err)
        });
        match outcome {
            Some(Ok(())) => {
                step.done(format!("http://{web}"));
                Ok(web)
            }
            Some(Err(name)) => {
                step.failed();
                let seen = self.engine.docker(["logs", "--tail=20", &name]).both().unwrap_or_default();
                Err(Fault { what: format!("{name} ended"), seen, advice: "its last words are above".into() })
            }
            None => {
                step.failed();
                let what = format!("http://{web}/ready did not turn 200 in {} s: {last}", READY.as_secs());
                let seen = self.compose(&["logs", "--no-color", "--tail=3"]).read().unwrap_or_default();
                let advice = "the services' last words are above; run with --keep and look around";
                Err(Fault { what, seen, advice: advice.into() })
            }
        }
    }

    /// The name of a container of ours that is not running, if any.
    fn ended(&self) -> Result<Option<String>, Fault> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let words = ["ps", "-a", "--filter", &project, "--filter", "status=exited", "--format", "{{.Names}}"];
        Ok(self.engine.docker(words).read()?.lines().next().map(str::to_owned))
    }

    /// Takes it down with everything it kept, and gives how many of its containers, networks and volumes are left.
    pub fn down(&self) -> Result<(), Fault> {
        let step = say::step("down", "stopping");
        let step = self.compose(&["down", "-v", "--remove-orphans"]).under(step)?.0;
        let left = until(Duration::from_secs(20), || self.left().ok().filter(Vec::is_empty));
        if left.is_some() {
            step.done("nothing is left running: no container, network or volume (images stay, as a cache)");
            return Ok(());
        }
        step.failed();
        let left = self.left()?.join(", ");
        Err(Fault::new(
            format!("left over after down: {left}"),
            "docker rm -f the containers, then the networks and volumes",
        ))
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> Result<String, Fault> {
        let id = self.compose(&["ps", "-q", service]).read()?;
        Ok(id.trim().to_owned())
    }

    fn published(&self, service: &str, port: u16) -> Result<SocketAddr, Fault> {
        let shown = self.compose(&["port", service, &port.to_string()]).read()?;
        let address = shown.trim().parse().ok();
        address
            .ok_or_else(|| Fault::new(format!("{service} publishes no port {port}"), "read `docker ps -a`"))
    }

    /// How many of its services are to be meshed: all but the controller.
    pub fn services(&self) -> Result<usize, Fault> {
        let names = self.compose(&["ps", "--services"]).read()?;
        Ok(names.lines().filter(|name| !name.trim().is_empty() && name.trim() != "outrigger").count())
    }

    fn containers(&self) -> Result<usize, Fault> {
        Ok(self.compose(&["ps", "-q"]).read()?.lines().filter(|line| !line.trim().is_empty()).count())
    }

    /// Everything of the project that exists: its own, and what the mesh made for it.
    fn left(&self) -> Result<Vec<String>, Fault> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        // A mesh is named after its compose project.
        let mesh = format!("label=outrigger.mesh={PROJECT}");
        let mut left = Vec::new();
        for (words, filter) in [
            (["ps", "-a"].as_slice(), project.as_str()),
            (&["ps", "-a"], &mesh),
            (&["network", "ls"], &project),
            (&["volume", "ls"], &project),
        ] {
            let format = if words.contains(&"ps") { "{{.Names}}" } else { "{{.Name}}" };
            let words = words.iter().copied().chain(["--filter", filter, "--format", format]);
            left.extend(self.engine.docker(words).read()?.lines().map(str::to_owned));
        }
        Ok(left)
    }
}

/// A path as a person in the repository types it.
fn short(word: &str) -> String {
    let root = format!("{}/", root().display());
    word.strip_prefix(&root).unwrap_or(word).to_owned()
}

/// One HTTP/1.1 request on its own connection.
pub fn request(to: SocketAddr, method: &str, path: &str) -> std::io::Result<Answer> {
    let to = if to.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, to.port())) } else { to };
    let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))?;
    Ok(Answer { status, body: body.to_owned() })
}
