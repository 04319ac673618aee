//! The real controller, as a process beside the simulator.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
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
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(&built)
            .env_clear()
            .env("OUTRIGGER_PLATFORM", "ecs")
            .env("OUTRIGGER_STATE", folder.join("state"))
            .env("OUTRIGGER_CONTROL", folder.join("control.sock"))
            .env("OUTRIGGER_CONTROL_LISTEN", "127.0.0.1:0")
            .env("OUTRIGGER_ADMIN", admin.to_string())
            .envs(ecs.environment())
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{}: {e}; `cargo build -p outrigger-controller` makes it", built.display())
            });
        Self { child, admin, folder }
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
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The admin address is known to its user only by being said; so one that is free is chosen before.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
}
