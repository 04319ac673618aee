//! Nothing is lost and nothing doubled while replicas come and go, applications restart and the controller is
//! away: numbered POSTs that are never sent again, counted where they arrive.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::project::{COUNTER, Posting, Project, Setup, docker};

fn up(environment: Vec<String>) -> Project {
    let project = Setup { environment, ..Setup::new("loss", COUNTER) }.up();
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
fn restart_each(project: &Project, service: &str, posting: &Posting) {
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
    let project = up(Vec::new());
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
    let project = up(Vec::new());
    let posting = Posting::start(&project);
    restart_each(&project, "counter", &posting);
    restart_each(&project, "counter", &posting);
    posting.more(2);
    posting.finish();
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_replicas_restart_one_after_the_other() {
    let project = up(Vec::new());
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
    let project = up(vec![format!("OUTRIGGER_CERTIFICATE_LIFETIME={LIFETIME}")]);
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
