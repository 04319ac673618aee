//! The real controller, as a process beside the simulator.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::ecs::Simulator;
use serde_json::Value;

const LOOK: Duration = Duration::from_millis(200);
/// For `/status` of a large mesh on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// A controller with `OUTRIGGER_PLATFORM=ecs`.
pub struct Controller {
    child: Child,
    built: PathBuf,
    environment: Vec<(String, String)>,
    admin: SocketAddr,
    folder: PathBuf,
}

impl Controller {
    /// Starts `outrigger-controller`, as it was built beside this test; `more` is added to its environment.
    pub fn start(ecs: &Simulator, test: &str, more: &[(&str, &str)]) -> Self {
        let folder = env::temp_dir().join(format!("outrigger-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let test = env::current_exe().unwrap();
        let built = test.ancestors().nth(2).unwrap().join("outrigger-controller");
        let admin = free_port();
        let path = |name: &str| folder.join(name).display().to_string();
        let own = [
            ("OUTRIGGER_PLATFORM", "ecs".to_owned()),
            ("OUTRIGGER_STATE", path("state")),
            ("OUTRIGGER_CONTROL", path("control.sock")),
            ("OUTRIGGER_CONTROL_LISTEN", "127.0.0.1:0".into()),
            ("OUTRIGGER_ADMIN", admin.to_string()),
        ];
        let mut environment: Vec<(String, String)> = own.map(|(name, value)| (name.to_owned(), value)).into();
        environment.extend(ecs.environment());
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let child = spawn(&built, &environment, &folder);
        Self { child, built, environment, admin, folder }
    }

    /// Dies at once, without a last word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again after [`Self::kill`], with the state that it left.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.built, &self.environment, &self.folder);
    }

    /// `/status`, or why there is none yet.
    pub fn status(&self) -> io::Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.admin, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET /status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(io::Error::other)
    }

    /// Waits until `is` gives something of `/status`.
    pub fn until<T>(&self, limit: Duration, what: &str, is: impl Fn(&Value) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let status = self.status();
            if let Some(found) = status.as_ref().ok().and_then(&is) {
                return found;
            }
            let seen = status.map_or_else(|e| e.to_string(), |status| status["sources"].to_string());
            assert!(started.elapsed() < limit, "{what}: not within {limit:?}: {seen}\n{}", self.log());
            thread::sleep(LOOK);
        }
    }

    /// Resident memory in bytes: now, and the most so far.
    pub fn memory(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(built: &Path, environment: &[(String, String)], folder: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(built);
    command.env_clear().envs(environment.iter().cloned());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    child.unwrap_or_else(|e| {
        panic!("{}: {e}; `cargo build -p outrigger-controller` makes it", built.display())
    })
}

/// The admin address is known to its user only by being said; so one that is free is chosen before.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
}
