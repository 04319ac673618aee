//! Nothing is lost and nothing doubled while replicas come and go, applications restart and the controller is
//! away: numbered POSTs that are never sent again, counted where they arrive.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{Project, docker};

/// POSTs per second that the poster sends, and that must be answered at least.
const RATE: u64 = 250;
const LEAST_RATE: u64 = 200;

/// All replicas append to one file, which the caller can read.
const SERVICES: &str = r#"
  counter:
    image: APPS
    environment: [ STORE=/seen/store ]
    volumes: [ seen:/seen ]
  caller:
    image: APPS
    init: true
    command: [ sleep, infinity ]
    volumes: [ seen:/seen ]
volumes: { outrigger-run: {}, outrigger-state: {}, seen: {} }
"#;

/// A poster under way in `caller`.
struct Posting<'a> {
    project: &'a Project,
    child: Child,
}

impl<'a> Posting<'a> {
    fn start(project: &'a Project) -> Self {
        let rate = format!("RATE={RATE}");
        let (caller, script) =
            (project.container("caller"), "echo $$ > /tmp/poster; exec python3 /app/poster.py");
        let child = Command::new("docker")
            .args(["exec", "-e", &rate, "-e", "SECONDS=600", "-e", "TARGET=http://counter:8080"])
            .args([&caller, "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let posting = Self { project, child };
        posting.more(2);
        posting
    }

    /// What arrived, in the order of its arrival.
    fn seen(&self) -> Vec<u64> {
        let text = self.project.exec("caller", &["sh", "-c", "cat /seen/store 2>/dev/null || true"]);
        text.lines().map(|number| number.parse().unwrap()).collect()
    }

    /// Waits until as much has arrived as takes this many seconds at the full rate.
    fn more(&self, seconds: u64) {
        let before = self.seen().len() as u64;
        let enough = || (self.seen().len() as u64 >= before + seconds * RATE).then_some(());
        self.project.until("POSTs go on", enough);
    }

    /// Ends it, checks that every POST was answered well and counted once, and returns how many each replica
    /// answered.
    fn finish(mut self) -> BTreeMap<String, u64> {
        self.project.exec("caller", &["sh", "-c", "kill $(cat /tmp/poster)"]);
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
        assert!(rate >= LEAST_RATE as f64, "{rate} POSTs per second");
        let names = tally["names"].as_object().unwrap();
        names.iter().map(|(name, times)| (name.clone(), times.as_u64().unwrap())).collect()
    }
}

fn up(environment: &[(&str, &str)]) -> Project {
    let project = Project::up("loss", environment, SERVICES);
    project.meshed(2);
    project.endpoints("counter", 8080, 1);
    project
}

fn scale(project: &Project, count: usize) {
    project.compose(&["up", "-d", "--no-recreate", "--scale", &format!("counter={count}")]);
    project.endpoints("counter", 8080, count);
    project.meshed(count + 1);
}

/// Restarts the applications of a service one after the other, each with the grace that the engine gives.
fn restart_each(project: &Project, service: &str, posting: &Posting<'_>) {
    let replicas = project.containers(service);
    for replica in &replicas {
        let sidecar = format!("{replica}-outrigger");
        let of = |sidecars: Vec<(String, String)>| sidecars.into_iter().find(|(name, _id)| *name == sidecar);
        let before = of(project.sidecars()).expect("the replica is meshed");
        docker(&["restart", replica]);
        project.until("another sidecar", || of(project.sidecars()).filter(|now| *now != before));
        project.endpoints(service, 8080, replicas.len());
        posting.more(1);
    }
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_replicas_come_and_go() {
    let project = up(&[]);
    let posting = Posting::start(&project);
    scale(&project, 3);
    posting.more(2);
    scale(&project, 1);
    posting.more(2);
    let names = posting.finish();
    assert_eq!(names.len(), 3, "every replica answered some: {names:?}");
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_the_only_replica_restarts() {
    let project = up(&[]);
    let posting = Posting::start(&project);
    restart_each(&project, "counter", &posting);
    restart_each(&project, "counter", &posting);
    posting.more(2);
    posting.finish();
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_replicas_restart_one_after_the_other() {
    let project = up(&[]);
    scale(&project, 3);
    let posting = Posting::start(&project);
    restart_each(&project, "counter", &posting);
    posting.more(2);
    let names = posting.finish();
    assert_eq!(names.len(), 3, "every replica answered some: {names:?}");
}

/// Unix seconds at which the certificate of each sidecar was issued, by workload.
fn issued(status: &Value) -> BTreeMap<String, u64> {
    let sidecars = status["sidecars"].as_array().unwrap();
    let issued = |sidecar: &Value| sidecar["certificate_issued"].as_u64();
    sidecars.iter().filter_map(|one| Some((one["workload"].as_str()?.to_owned(), issued(one)?))).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_the_controller_is_away_and_certificates_are_due() {
    /// Renewal is due at half of this, 5 % more or less.
    const LIFETIME: u64 = 100;
    const AWAY: Duration = Duration::from_secs(60);
    let project = up(&[("OUTRIGGER_CERTIFICATE_LIFETIME", &LIFETIME.to_string())]);
    let posting = Posting::start(&project);
    let first = issued(&project.meshed(2));
    assert_eq!(first.len(), 2, "both sidecars have a certificate: {first:?}");
    let sidecars = project.sidecars();
    let controller = project.container("outrigger");

    docker(&["kill", &controller]);
    let killed = now();
    thread::sleep(AWAY);
    let back = now();
    posting.more(1);
    docker(&["start", &controller]);
    for issued in first.values() {
        assert!(killed < issued + LIFETIME * 44 / 100, "killed before a renewal was due");
        assert!(back > issued + LIFETIME * 56 / 100, "away when it was");
    }

    let second = project.until("new certificates", || {
        let second = issued(&project.meshed(2));
        first.iter().all(|(name, before)| second.get(name).is_some_and(|now| now > before)).then_some(second)
    });
    for (name, issued) in &second {
        assert!(*issued + 30 >= back, "{name} renewed after the outage");
        assert!(now() < first[name] + LIFETIME, "{name} renewed before the end of its first certificate");
    }
    posting.more(2);
    posting.finish();
    assert_eq!(project.sidecars(), sidecars, "no sidecar was replaced");
}
