//! Callers outside the mesh: a service with an edge port is found in a hosted zone, at the addresses of its tasks.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cloud::{Cloud, PATIENCE, Task};
use super::route53::{Records, Route53, address, owner};
use super::tasks::{labelled, serving, told};
use crate::project::{apps, tried, within};

/// Beside the cloud, in no mesh.
struct Outsider(String);

impl Outsider {
    fn of(cloud: &Cloud) -> Self {
        Self(cloud.run("function", &["--network", cloud.network(), &apps(), "sleep", "infinity"]))
    }

    /// What `http://NAME:8080/healthz` answers in `x-name` from the addresses that the zone has for it; none where nobody does.
    fn calls(&self, records: &Records, name: &str) -> Option<String> {
        let host = address(name).0;
        let host = host.trim_end_matches('.');
        let addresses = records.get(&address(name)).map(|values| values.join(",")).unwrap_or_default();
        let (resolve, url) = (format!("{host}:8080:{addresses}"), format!("http://{host}:8080/healthz"));
        let words = ["exec", &self.0, "curl", "-sSfi", "-m", "5", "--resolve", &resolve, &url];
        let output = tried(&words);
        let text = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        let named = text.lines().find_map(|line| line.strip_prefix("x-name:"));
        named.filter(|_| output.status.success()).map(|name| name.trim().to_owned())
    }
}

fn of(tasks: &[Task<'_>]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.address().to_string()).collect()
}

fn found(records: &Records, name: &str) -> BTreeSet<String> {
    records.get(&address(name)).into_iter().flatten().cloned().collect()
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn outsiders_find_the_tasks_of_a_strict_service_at_its_edge_port() {
    let route53 = Route53::at("0.0.0.0");
    let zone = route53.zone(true);
    let cloud = Cloud::start_told(|gateway| {
        let url = format!("AWS_ENDPOINT_URL_ROUTE_53={}", route53.url_at(gateway));
        vec![url, format!("OUTRIGGER_EDGE_ZONE={zone}")]
    });
    let strict = |name| labelled(serving(name, "awsvpc", "FARGATE"), "outrigger.mode", "strict");
    let cart = labelled(strict("cart"), "outrigger.edge", "8080");
    cloud.service("cart", &told(cart.clone(), "NAME", "first"), 2);
    cloud.service("stock", &strict("stock"), 1);
    cloud.balanced("web", &strict("web"), 1);
    let outsider = Outsider::of(&cloud);
    let log = || cloud.controller_log();

    let first = of(&cloud.running("cart", 2));
    let records = route53.until(&zone, log, |records| found(records, "cart.default") == first);
    assert_eq!(found(&records, "cart"), first);
    assert_eq!(records[&owner("cart")], ["\"heritage=outrigger,mesh=default\""]);
    let answers = || outsider.calls(&records, "cart.default");
    assert_eq!(within(PATIENCE, "an answer to an outsider", answers), "first");
    let stock = cloud.task("stock");
    assert!(!records.contains_key(&address("stock")), "it has no edge port");
    let nameless = || {
        let status = cloud.status()?;
        let problems = status["problems"].as_array()?;
        Some(problems.iter().find(|one| one["kind"] == "edge")?["what"].to_string())
    };
    let said = within(PATIENCE, "status names those without an edge port", nameless);
    assert!(said.contains("no name of stock.default:"), "{said}");
    let port = format!("http://{}:8080/healthz", stock.address());
    let refused = tried(&["exec", &outsider.0, "curl", "-sSf", "-m", "5", &port]);
    assert!(!refused.status.success(), "strict refuses outsiders where there is no edge port");
    let target = format!("http://{}:8080/healthz", cloud.task("web").address());
    let balancer = || {
        let output = tried(&["exec", &outsider.0, "curl", "-sSf", "-m", "5", &target]);
        output.status.success().then_some(())
    };
    within(PATIENCE, "the port of a target group is an edge port, with no label", balancer);

    // A deployment: at every moment the name is there, and in the end it leads to the new tasks alone.
    let second = cloud.register(&told(cart, "NAME", "second"));
    cloud.update("cart", json!({ "taskDefinition": second }));
    let started = Instant::now();
    let records = loop {
        let records = route53.records(&zone);
        assert!(!found(&records, "cart").is_empty(), "{records:?}");
        let addresses = found(&records, "cart");
        if addresses.len() == 2 && addresses.is_disjoint(&first) {
            break records;
        }
        assert!(started.elapsed() < PATIENCE * 2, "{addresses:?} after {first:?}\n{}", log());
        thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(found(&records, "cart"), of(&cloud.running("cart", 2)));
    assert_eq!(outsider.calls(&records, "cart").as_deref(), Some("second"));
}
