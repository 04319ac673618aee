//! The simulator of ECS (`tests/ecs`), started for one test: takes the venv that `cargo xtask test docker` names in
//! `OUTRIGGER_TEST_ECS_PYTHON`, gives its addresses and a way to order things of it. It ends with the value.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Names the Python of the venv.
pub const PYTHON: &str = "OUTRIGGER_TEST_ECS_PYTHON";
/// How long one order may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(20);
/// How often [`Simulator::until`] looks.
const LOOK: Duration = Duration::from_millis(50);

/// A task definition for Fargate, of an application on port 8080 and a sidecar.
pub fn meshed(family: &str) -> Value {
    json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            { "name": "app", "image": "app", "portMappings": [{ "containerPort": 8080 }] },
            { "name": "outrigger-sidecar", "image": "sidecar", "dockerLabels": { "outrigger.managed": "sidecar" } }
        ]
    })
}

/// A service on Fargate of the definition of its own name.
pub fn service(name: &str, count: u32) -> Value {
    json!({
        "serviceName": name,
        "taskDefinition": name,
        "desiredCount": count,
        "launchType": "FARGATE",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-a", "subnet-b"] } }
    })
}

/// A running simulator.
pub struct Simulator {
    child: Child,
    addresses: Value,
}

impl Simulator {
    /// Starts one on free ports of the loopback address.
    ///
    /// # Panics
    ///
    /// Where it does not start: the message says what is missing.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more arguments (`python -m simulator --help` lists them).
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn with(arguments: &[&str]) -> Self {
        let python = env::var(PYTHON)
            .unwrap_or_else(|_| panic!("{PYTHON} names no Python; `cargo xtask test docker` makes one"));
        let mut child = Command::new(python)
            .args(["-m", "simulator", "--port", "0"])
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecs"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let out = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("the simulator's first line is readable");
        let addresses = serde_json::from_str(&line);
        Self { addresses: addresses.unwrap_or_else(|e| panic!("the simulator said {line:?}: {e}")), child }
    }

    /// What its first line says: `url`, `port`, `account`, `region`, and what its parts add.
    pub fn addresses(&self) -> &Value {
        &self.addresses
    }

    /// Where all its APIs are: for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> &str {
        self.addresses["url"].as_str().expect("the first line has an address")
    }

    /// The environment of a process that takes it for AWS.
    pub fn environment(&self) -> Vec<(String, String)> {
        let region = self.addresses["region"].as_str().unwrap_or("eu-central-1");
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// `GET /sim/<path>`.
    ///
    /// # Panics
    ///
    /// Where it refuses.
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "").unwrap_or_else(|e| panic!("GET /sim/{path}: {e}"))
    }

    /// `POST /sim/<path>` with an object.
    ///
    /// # Panics
    ///
    /// Where it refuses.
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…})")]
    pub fn post(&self, path: &str, order: Value) -> Value {
        self.ask("POST", path, &order.to_string()).unwrap_or_else(|e| panic!("POST /sim/{path} {order}: {e}"))
    }

    /// The records of a kind: `cluster`, `instance`, `definition`, `service` or `task`.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let mut state = self.get(&format!("state?kind={kind}"));
        match state[kind].take() {
            Value::Array(records) => records,
            other => panic!("records of {kind}: {other}"),
        }
    }

    /// Waits until `is` gives something of the records of a kind.
    ///
    /// # Panics
    ///
    /// After `limit`, with the records as they are then.
    pub fn until<T>(&self, kind: &str, limit: Duration, is: impl Fn(&[Value]) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let records = self.records(kind);
            if let Some(found) = is(&records) {
                return found;
            }
            assert!(started.elapsed() < limit, "not within {limit:?}: {}", json!(records));
            thread::sleep(LOOK);
        }
    }

    /// Fails where botocore's model found fault with a request or with an answer.
    ///
    /// # Panics
    ///
    /// With the faults.
    pub fn assert_no_faults(&self) {
        let faults = self.get("faults");
        assert_eq!(faults, json!({ "faults": [] }), "requests and answers are as botocore's model has them");
    }

    /// One exchange with a control path, each on a connection of its own.
    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let port = self.addresses["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_default()));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "{method} /sim/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("{} {body}", head.lines().next().unwrap_or_default())));
        }
        serde_json::from_str(body).map_err(io::Error::other)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Its input's end is its sign to end, so that it may clean up.
        drop(self.child.stdin.take());
        let started = Instant::now();
        while started.elapsed() < END {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
