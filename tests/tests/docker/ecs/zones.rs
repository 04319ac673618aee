//! End to end: calls stay in their availability zone as far as its replicas carry them, and go on when they do not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE, Task};
use super::tasks::{APP, calling, in_subnet, serving};
use crate::project::{docker, within};

/// Calls of one measurement: with 90, a third that is meant is between a tenth and six tenths for certain.
const CALLS: usize = 90;

/// Calls as often as told, each on a connection of its own; prints who answered, one line each.
const CALLER: &str = r#"
import sys, urllib.request as r
for _ in range(int(sys.argv[1])):
    print(r.urlopen("http://counter:8080/healthz", timeout=10).headers["x-name"])
"#;

/// Runs a task in a zone, with a name that its answers carry.
fn replica<'a>(cloud: &'a Cloud, definition: &str, zone: &str, name: &str) -> Task<'a> {
    let mut order = in_subnet(zone);
    let named = json!([{ "name": APP, "environment": [{ "name": "NAME", "value": name }] }]);
    order["overrides"] = json!({ "containerOverrides": named });
    cloud.run_task(definition, "FARGATE", &order)
}

/// Who answered how many calls of a task.
fn answers(caller: &Task<'_>) -> BTreeMap<String, usize> {
    let said = docker(&["exec", &caller.container(APP), "python3", "-c", CALLER, &CALLS.to_string()]);
    let mut counts = BTreeMap::new();
    for name in said.lines() {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until these replicas, and no others, answer a caller.
fn until_answered_by(caller: &Task<'_>, names: &[&str]) {
    within(PATIENCE, &format!("answers of {names:?} alone"), || {
        answers(caller).keys().eq(names.iter().copied()).then_some(())
    });
}

/// What metadata tell the application of its task.
fn metadata(task: &Task<'_>) -> Value {
    let script = "import os, urllib.request as r; print(r.urlopen(os.environ['ECS_CONTAINER_METADATA_URI_V4'] + '/task').read().decode())";
    serde_json::from_str(&docker(&["exec", &task.container(APP), "python3", "-c", script])).expect("JSON")
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn calls_stay_in_their_zone_while_it_can_carry_them() {
    let cloud = Cloud::start();
    let counter = cloud.register(&serving("counter", "awsvpc", "FARGATE"));
    let caller = cloud.register(&calling("caller", "awsvpc", "FARGATE"));
    let replicas =
        [("a", "a1"), ("a", "a2"), ("b", "b1")].map(|(zone, name)| replica(&cloud, &counter, zone, name));
    let callers = ["a", "b"].map(|zone| cloud.run_task(&caller, "FARGATE", &in_subnet(zone)));
    for (task, zone) in replicas.iter().chain(&callers).zip(["a", "a", "b", "a", "b"]) {
        let zone = format!("eu-central-1{zone}");
        assert_eq!(task.until("RUNNING")["availabilityZone"], *zone, "as DescribeTasks has it");
        assert_eq!(metadata(task)["AvailabilityZone"], *zone);
    }
    let [in_a, in_b] = &callers;

    for caller in &callers {
        cloud.until_answers(caller, "http://counter:8080/healthz");
    }

    // Half of the callers are in b, and a third of the replicas: that much of all calls stays there.
    until_answered_by(in_a, &["a1", "a2"]);
    until_answered_by(in_b, &["a1", "a2", "b1"]);
    let own = answers(in_b)["b1"];
    assert!((CALLS * 4 / 10..CALLS * 9 / 10).contains(&own), "two thirds of {CALLS} stay in b: {own}");
    assert_eq!(answers(in_a).into_keys().collect::<Vec<_>>(), ["a1", "a2"]);
    // As many replicas as callers in each.
    cloud.ecs.post("stop", json!({ "task": replicas[0].arn }));
    until_answered_by(in_a, &["a2"]);
    until_answered_by(in_b, &["b1"]);
    // Nobody is left in b: all of its calls go to a.
    cloud.ecs.post("stop", json!({ "task": replicas[2].arn }));
    until_answered_by(in_b, &["a2"]);
    cloud.ecs.assert_no_faults();
}
