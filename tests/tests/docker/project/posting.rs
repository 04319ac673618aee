//! Numbered POSTs that are never sent again, counted where they arrive: nothing is lost and nothing doubled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{PATIENCE, Project, docker, within};

/// POSTs per second that the poster sends where the test does not say.
const RATE: u64 = 250;
/// How much of its rate must be answered at least.
const LEAST: f64 = 0.8;

/// A compose file with a `counter` and a `caller`: all replicas append to one file, which the caller can read.
pub const COUNTER: &str = r#"
services:
  counter:
    image: APPS
    environment: [ STORE=/seen/store ]
    volumes: [ seen:/seen ]
  caller:
    image: APPS
    init: true
    command: [ sleep, infinity ]
    volumes: [ seen:/seen ]
volumes: { seen: {} }
"#;

/// A poster under way in a container.
pub struct Posting {
    caller: String,
    /// The file that all replicas append to, where this process can read it; else it is the caller's `/seen/store`.
    store: Option<PathBuf>,
    child: Child,
    rate: u64,
}

impl Posting {
    /// Begins in `caller`, and waits until POSTs arrive.
    pub fn start(project: &Project) -> Self {
        Self::start_at(project, RATE)
    }

    /// The same with this many POSTs per second.
    pub fn start_at(project: &Project, per_second: u64) -> Self {
        Self::from(project.container("caller"), None, per_second)
    }

    /// Begins in any container, with a store that this process can read.
    pub fn start_in(container: &str, store: &Path, per_second: u64) -> Self {
        Self::from(container.to_owned(), Some(store.to_owned()), per_second)
    }

    fn from(caller: String, store: Option<PathBuf>, per_second: u64) -> Self {
        let (rate, script) =
            (format!("RATE={per_second}"), "echo $$ > /tmp/poster; exec python3 /app/poster.py");
        let child = Command::new("docker")
            .args(["exec", "-e", &rate, "-e", "SECONDS=600", "-e", "TARGET=http://counter:8080"])
            .args([&caller, "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let posting = Self { caller, store, child, rate: per_second };
        posting.more(2);
        posting
    }

    /// What arrived, in the order of its arrival.
    fn seen(&self) -> Vec<u64> {
        let text = match &self.store {
            Some(store) => fs::read_to_string(store).unwrap_or_default(),
            None => docker(&["exec", &self.caller, "sh", "-c", "cat /seen/store 2>/dev/null || true"]),
        };
        text.lines().map(|number| number.parse().unwrap()).collect()
    }

    /// Waits until as much has arrived as takes this many seconds at the full rate.
    pub fn more(&self, seconds: u64) {
        let before = self.seen().len() as u64;
        let enough = || (self.seen().len() as u64 >= before + seconds * self.rate).then_some(());
        within(PATIENCE, "POSTs go on", enough);
    }

    /// Ends it, checks that every POST was answered well and counted once, and returns how many each replica
    /// answered.
    pub fn finish(mut self) -> BTreeMap<String, u64> {
        docker(&["exec", &self.caller, "sh", "-c", "kill $(cat /tmp/poster)"]);
        let output = {
            let stdout = self.child.stdout.take().unwrap();
            std::io::read_to_string(stdout).unwrap()
        };
        self.child.wait().unwrap();
        let tally: Value = serde_json::from_str(&output).unwrap();
        println!("{tally}");
        let number = |name: &str| tally[name].as_u64().unwrap();
        assert_eq!(number("failed"), 0, "no failure seen by the client: {}", tally["failures"]);
        let last = number("last");
        assert_eq!((number("sent"), number("answered")), (last, last));
        let mut seen = self.seen();
        seen.sort_unstable();
        let doubled: Vec<u64> =
            seen.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(doubled.is_empty(), "counted twice: {doubled:?}");
        let lost: Vec<u64> = (1..=last).filter(|number| seen.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "answered, but never counted: {lost:?}");
        assert_eq!(seen.len() as u64, last, "nothing else was counted");
        let rate = last as f64 / tally["seconds"].as_f64().unwrap();
        assert!(rate >= LEAST * self.rate as f64, "{rate} POSTs per second");
        let names = tally["names"].as_object().unwrap();
        names.iter().map(|(name, times)| (name.clone(), times.as_u64().unwrap())).collect()
    }
}
