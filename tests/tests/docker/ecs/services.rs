//! The simulator itself: what its service scheduler and its task definitions do is what ECS promises.

use std::time::Duration;

use outrigger_tests::ecs::{self, Simulator};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

fn definition(family: &str) -> Value {
    json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{
            "name": "app",
            "image": "app",
            "healthCheck": { "command": ["CMD", "true"] }
        }]
    })
}

fn service(name: &str, count: u32) -> Value {
    let mut service = ecs::service(name, count);
    service["deploymentConfiguration"] =
        json!({ "deploymentCircuitBreaker": { "enable": true, "rollback": true } });
    service
}

/// The PRIMARY deployment of the only service, once `is` holds for it.
fn primary(ecs: &Simulator, is: impl Fn(&Value) -> bool) -> Value {
    ecs.until("service", LIMIT, |services| {
        let primary = &services[0]["deployments"][0];
        is(primary).then(|| primary.clone())
    })
}

fn completed(revision: &'static str) -> impl Fn(&Value) -> bool {
    move |one| {
        let of = one["taskDefinition"].as_str().is_some_and(|arn| arn.ends_with(revision));
        of && one["rolloutState"] == "COMPLETED"
    }
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_deployment_replaces_every_task_and_a_bad_one_rolls_back() {
    let ecs = Simulator::start();
    ecs.post("definition", definition("cart"));
    ecs.post("service", service("cart", 4));
    primary(&ecs, completed(":1"));
    let healthy = |records: &[Value], revision: &str| {
        let mine =
            |task: &&Value| task["taskDefinitionArn"].as_str().is_some_and(|arn| arn.ends_with(revision));
        records
            .iter()
            .filter(mine)
            .filter(|task| task["healthStatus"] == "HEALTHY" && task["lastStatus"] == "RUNNING")
            .count()
    };
    assert_eq!(healthy(&ecs.records("task"), ":1"), 4);

    ecs.post("definition", definition("cart"));
    ecs.post("update", json!({ "service": "cart", "taskDefinition": "cart:2" }));
    primary(&ecs, completed(":2"));
    let tasks = ecs.records("task");
    assert_eq!((healthy(&tasks, ":1"), healthy(&tasks, ":2")), (0, 4));

    for how in ["start", "health"] {
        ecs.post("definition", definition("cart"));
        let next = ecs.records("definition").len();
        ecs.post("fail", json!({ "match": format!("cart:{next}"), "how": how }));
        ecs.post("update", json!({ "service": "cart", "taskDefinition": format!("cart:{next}") }));
        let back = |one: &Value| {
            one["rolloutStateReason"].as_str().is_some_and(|reason| reason.contains("rolling back"))
        };
        primary(&ecs, back);
        primary(&ecs, completed(":2"));
        assert_eq!(healthy(&ecs.records("task"), ":2"), 4, "no good task was stopped for a bad one");
    }
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn moto_finds_the_same_fields_of_the_same_types() {
    let ecs = Simulator::start();
    ecs.post("pace", json!({ "hold": "PENDING" }));
    let python = std::env::var(ecs::PYTHON).unwrap();
    let judge = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ecs/judge.py");
    let out = std::process::Command::new(python).arg(judge).arg(ecs.url()).output().unwrap();
    let (said, erred) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}{erred}");
    println!("{said}");
    ecs.assert_no_faults();
}
