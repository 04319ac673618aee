//! Names of services in a hosted zone: the real controller beside the simulator of ECS and moto's Route 53.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::ecs::{PYTHON, Simulator, meshed, service};
use serde_json::{Value, json};

use super::controller::Controller;

/// The longest wait within it is the writer's own after a failure: five seconds, doubled each time.
const LIMIT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);
/// More than one page of a listing has, and before `cart` in its order.
const FILLING: usize = 320;
/// Attempts of one call, as the SDK makes them, and one more.
const REFUSED: usize = 4;

/// By name and type.
type Records = BTreeMap<(String, String), Vec<String>>;

/// `tests/ecs/hosted_zones.py`; it ends with the value.
struct Route53 {
    child: Child,
    said: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    url: String,
}

impl Route53 {
    fn start() -> Self {
        let python = env::var(PYTHON).expect("cargo xtask test docker makes a venv");
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecs/hosted_zones.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let first = read(&mut answers);
        let url = first["url"].as_str().unwrap().to_owned();
        Self { child, said: Mutex::new((orders, answers)), url }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…})")]
    fn order(&self, order: Value) -> Value {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(said.0, "{order}").unwrap();
        read(&mut said.1)
    }

    /// A zone `mesh.internal`; its id.
    fn zone(&self, private: bool) -> String {
        let mut with = json!({
            "Name": "mesh.internal",
            "CallerReference": format!("private {private}"),
            "HostedZoneConfig": { "PrivateZone": private },
        });
        if private {
            with["VPC"] = json!({ "VPCRegion": "eu-central-1", "VPCId": "vpc-1" });
        }
        let made = self.order(json!({ "call": "create_hosted_zone", "with": with }));
        made["HostedZone"]["Id"].as_str().unwrap().trim_start_matches("/hostedzone/").to_owned()
    }

    /// Somebody else's records.
    fn add(&self, zone: &str, records: &[(String, &str, &str)]) {
        let change = |(name, kind, value): &(String, &str, &str)| {
            let set =
                json!({ "Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{ "Value": value }] });
            json!({ "Action": "CREATE", "ResourceRecordSet": set })
        };
        let changes: Vec<Value> = records.iter().map(change).collect();
        let with = json!({ "HostedZoneId": zone, "ChangeBatch": { "Changes": changes } });
        self.order(json!({ "call": "change_resource_record_sets", "with": with }));
    }

    fn records(&self, zone: &str) -> Records {
        let (mut records, mut from) = (Records::new(), json!({ "HostedZoneId": zone }));
        loop {
            let page = self.order(json!({ "call": "list_resource_record_sets", "with": from }));
            for set in page["ResourceRecordSets"].as_array().unwrap() {
                let word = |name: &str| set[name].as_str().unwrap().to_owned();
                let values = set["ResourceRecords"].as_array().unwrap().iter();
                let values = values.map(|one| one["Value"].as_str().unwrap().to_owned()).collect();
                records.insert((word("Name"), word("Type")), values);
            }
            if page["IsTruncated"] == false {
                return records;
            }
            from["StartRecordName"] = page["NextRecordName"].clone();
            from["StartRecordType"] = page["NextRecordType"].clone();
        }
    }

    /// Waits until `is` holds for the zone's records; these.
    fn until(&self, zone: &str, controller: &Controller, is: impl Fn(&Records) -> bool) -> Records {
        let started = Instant::now();
        loop {
            let records = self.records(zone);
            if is(&records) {
                return records;
            }
            let ours: Vec<_> = records.iter().filter(|((name, _), _)| !name.starts_with("a-")).collect();
            assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {ours:#?}\n{}", controller.log());
            thread::sleep(LOOK);
        }
    }

    /// The next calls fail.
    fn refuse(&self, code: &str, count: usize) {
        self.order(json!({ "refuse": code, "count": count }));
    }

    /// How many changes were asked for.
    fn changes(&self) -> usize {
        let calls = self.order(json!({ "calls": true }));
        calls.as_array().unwrap().iter().filter(|call| call.as_str().unwrap().starts_with("POST ")).count()
    }
}

impl Drop for Route53 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(answers: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("hosted_zones.py said {line:?}: {e}"))
}

/// A service with one task.
fn serve(ecs: &Simulator, name: &str) {
    ecs.post("definition", meshed(name));
    ecs.post("service", service(name, 1));
}

/// `cart` and `web`, whose tasks run.
fn cluster() -> Simulator {
    let ecs = Simulator::start();
    ecs.post("pace", json!({ "seconds": 0.05 }));
    serve(&ecs, "cart");
    serve(&ecs, "web");
    let runs = |tasks: &[Value]| tasks.len() == 2 && tasks.iter().all(|task| task["lastStatus"] == "RUNNING");
    ecs.until("task", LIMIT, |tasks| runs(tasks).then_some(()));
    ecs
}

/// What `/status` says of a name or of the zone, once it does.
fn problem(controller: &Controller, subject: &str) -> String {
    controller.until(LIMIT, subject, |status| {
        let problems = status["problems"].as_array()?;
        let of = |one: &&Value| one["kind"] == "names" && one["subject"] == subject;
        problems.iter().find(of)?["what"].as_str().map(str::to_owned)
    })
}

fn owner(name: &str) -> (String, String) {
    (format!("_outrigger.{name}.mesh.internal."), "TXT".into())
}

fn address(name: &str) -> (String, String) {
    (format!("{name}.mesh.internal."), "A".into())
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn names_come_to_a_private_zone_and_go_and_what_others_made_stays() {
    let (ecs, route53) = (cluster(), Route53::start());
    let zone = route53.zone(true);
    let mut theirs: Vec<_> =
        (0..FILLING).map(|n| (format!("a-{n:03}.mesh.internal"), "A", "10.0.0.2")).collect();
    theirs.push(("web.mesh.internal".into(), "A", "10.0.0.1"));
    route53.add(&zone, &theirs);
    let before = route53.records(&zone);
    assert!(before.len() > FILLING, "{}", before.len());

    route53.refuse("Throttling", REFUSED);
    let more = [("AWS_ENDPOINT_URL_ROUTE_53", route53.url.as_str()), ("OUTRIGGER_NAMES_ZONE", zone.as_str())];
    let mut controller = Controller::start(&ecs, "names", &more);
    let refused = problem(&controller, &format!("hosted zone {zone}"));
    assert!(refused.contains("Throttling") && refused.contains("tried again"), "{refused}");

    let ours = ["cart", "cart.default", "web.default"];
    let whole = |records: &Records| ours.iter().all(|name| records.contains_key(&address(name)));
    let after = route53.until(&zone, &controller, whole);
    for name in ours {
        assert_eq!(after[&owner(name)], ["\"heritage=outrigger,mesh=default\""]);
        assert!(after[&address(name)][0].starts_with("240.64."), "{:?}", after[&address(name)]);
    }
    assert_eq!(after[&address("cart")], after[&address("cart.default")]);
    assert_ne!(after[&address("cart")], after[&address("web.default")]);
    assert_eq!(after.len(), before.len() + 2 * ours.len(), "and nothing else");
    let taken = problem(&controller, "web.mesh.internal");
    assert!(taken.contains("left alone"), "{taken}");
    assert_eq!(after[&address("web")], ["10.0.0.1"]);
    assert_eq!(route53.changes(), 1, "all names in one call");

    // A service goes while the controller is away; what it left is found again, on every page of the zone.
    controller.kill();
    ecs.post("update", json!({ "service": "cart", "desiredCount": 0 }));
    ecs.until("task", LIMIT, |tasks| {
        let stopped = tasks.iter().filter(|task| task["lastStatus"] == "STOPPED").count();
        (stopped == 1).then_some(())
    });
    controller.start_again();
    let left = route53.until(&zone, &controller, |records| !records.contains_key(&owner("cart")));
    let mut expected = before.clone();
    for key in [owner("web.default"), address("web.default")] {
        expected.insert(key.clone(), after[&key].clone());
    }
    assert_eq!(left, expected);
    assert_eq!(route53.changes(), 2, "the one that stays is not written again");

    // One that comes when changes are refused is written when they no longer are.
    route53.refuse("PriorRequestNotComplete", REFUSED);
    serve(&ecs, "stock");
    let next = route53.until(&zone, &controller, |records| records.contains_key(&address("stock")));
    assert_eq!(next.len(), left.len() + 4);
    assert!(route53.changes() >= 2 + REFUSED);
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_public_zone_is_refused() {
    let (ecs, route53) = (cluster(), Route53::start());
    let zone = route53.zone(false);
    let before = route53.records(&zone);
    let more = [("AWS_ENDPOINT_URL_ROUTE_53", route53.url.as_str()), ("OUTRIGGER_NAMES_ZONE", zone.as_str())];
    let controller = Controller::start(&ecs, "names-public", &more);
    let refused = problem(&controller, &format!("hosted zone {zone}"));
    assert!(refused.contains("public zone"), "{refused}");
    assert_eq!((route53.records(&zone), route53.changes()), (before, 0));
}
