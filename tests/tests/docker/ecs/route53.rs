//! moto's Route 53 beside a test (`tests/ecs/hosted_zones.py`).

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::ecs::PYTHON;
use serde_json::{Value, json};

/// The longest wait within it is the writer's own after a failure: five seconds, doubled each time.
pub const LIMIT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// By name and type.
pub type Records = BTreeMap<(String, String), Vec<String>>;

/// `tests/ecs/hosted_zones.py`; it ends with the value.
pub struct Route53 {
    child: Child,
    said: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    next: AtomicU32,
    /// Where it answers on this machine.
    pub url: String,
}

impl Route53 {
    /// On the loopback address.
    pub fn start() -> Self {
        Self::at("127.0.0.1")
    }

    /// On an address of this machine.
    pub fn at(address: &str) -> Self {
        let python = env::var(PYTHON).expect("cargo xtask test docker makes a venv");
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecs/hosted_zones.py"))
            .arg(address)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let first = read(&mut answers);
        let url = first["url"].as_str().unwrap().to_owned();
        Self { child, said: Mutex::new((orders, answers)), next: AtomicU32::new(1), url }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…})")]
    fn order(&self, order: Value) -> Value {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(said.0, "{order}").unwrap();
        read(&mut said.1)
    }

    /// A zone `mesh.internal`; its id.
    pub fn zone(&self, private: bool) -> String {
        let mut with = json!({
            "Name": "mesh.internal",
            "CallerReference": format!("{}", self.next.fetch_add(1, Ordering::Relaxed)),
            "HostedZoneConfig": { "PrivateZone": private },
        });
        if private {
            with["VPC"] = json!({ "VPCRegion": "eu-central-1", "VPCId": "vpc-1" });
        }
        let made = self.order(json!({ "call": "create_hosted_zone", "with": with }));
        made["HostedZone"]["Id"].as_str().unwrap().trim_start_matches("/hostedzone/").to_owned()
    }

    /// Somebody else's records.
    pub fn add(&self, zone: &str, records: &[(String, &str, &str)]) {
        let change = |(name, kind, value): &(String, &str, &str)| {
            let set =
                json!({ "Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{ "Value": value }] });
            json!({ "Action": "CREATE", "ResourceRecordSet": set })
        };
        let changes: Vec<Value> = records.iter().map(change).collect();
        let with = json!({ "HostedZoneId": zone, "ChangeBatch": { "Changes": changes } });
        self.order(json!({ "call": "change_resource_record_sets", "with": with }));
    }

    pub fn records(&self, zone: &str) -> Records {
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

    /// Waits until `is` holds for the zone's records; these. `log`: what the controller says.
    pub fn until(&self, zone: &str, log: impl Fn() -> String, is: impl Fn(&Records) -> bool) -> Records {
        let started = Instant::now();
        loop {
            let records = self.records(zone);
            if is(&records) {
                return records;
            }
            let ours: Vec<_> = records.iter().filter(|((name, _), _)| !name.starts_with("a-")).collect();
            assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {ours:#?}\n{}", log());
            thread::sleep(LOOK);
        }
    }

    /// Where it answers containers that reach this machine at `gateway`.
    pub fn url_at(&self, gateway: &str) -> String {
        let port = self.url.rsplit(':').next().unwrap_or_default();
        format!("http://{gateway}:{port}")
    }

    /// The next calls fail.
    pub fn refuse(&self, code: &str, count: usize) {
        self.order(json!({ "refuse": code, "count": count }));
    }

    /// How many changes were asked for.
    pub fn changes(&self) -> usize {
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

/// The name and type of the record that says whose `name` is.
pub fn owner(name: &str) -> (String, String) {
    (format!("_outrigger.{name}.mesh.internal."), "TXT".into())
}

/// Those of the record with the addresses of `name`.
pub fn address(name: &str) -> (String, String) {
    (format!("{name}.mesh.internal."), "A".into())
}
