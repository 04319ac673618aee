//! The controller moves tagged services to a meshed revision: there, back, again, and after its death in the middle.

use std::time::Duration;

use outrigger_tests::ecs::Simulator;
use serde_json::{Value, json};

use super::controller::Controller;

const LIMIT: Duration = Duration::from_secs(120);

fn definition(family: &str) -> Value {
    json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["EC2"],
        "taskRoleArn": "arn:aws:iam::123456789012:role/cart",
        "containerDefinitions": [{
            "name": "app",
            "image": "shop/app:1",
            "memoryReservation": 64,
            "portMappings": [{ "containerPort": 8080 }],
            "healthCheck": { "command": ["CMD", "true"] },
        }],
        "tags": [{ "key": "team", "value": "shop" }],
    })
}

fn service(name: &str, tags: &[(&str, &str)]) -> Value {
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    json!({
        "cluster": "shop",
        "serviceName": name,
        "taskDefinition": name,
        "desiredCount": 2,
        "launchType": "EC2",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-a"] } },
        "tags": tags,
    })
}

/// A cluster with one service `cart` that asks for injection, steady.
fn shop() -> Simulator {
    let ecs = Simulator::start();
    ecs.post("cluster", json!({ "name": "shop", "instances": [{}, {}, {}] }));
    add(&ecs, "cart", &[("outrigger:inject", "true")]);
    ecs
}

fn add(ecs: &Simulator, name: &str, tags: &[(&str, &str)]) {
    ecs.post("definition", definition(name));
    ecs.post("service", service(name, tags));
    deployed(ecs, name, ":1");
}

fn controller(ecs: &Simulator, test: &str, more: &[(&str, &str)]) -> Controller {
    Controller::start(ecs, test, &[&[("OUTRIGGER_CLUSTERS", "shop")], more].concat())
}

fn of<'a>(services: &'a [Value], name: &str) -> &'a Value {
    services.iter().find(|service| service["serviceName"] == name).unwrap()
}

fn is_at(service: &Value, revision: &str, state: &str) -> bool {
    let primary = &service["deployments"][0];
    let definition = primary["taskDefinition"].as_str().unwrap();
    definition.ends_with(revision) && primary["rolloutState"] == state
}

/// Waits until a service runs a revision, and nothing else.
fn deployed(ecs: &Simulator, name: &str, revision: &str) {
    ecs.until("service", LIMIT, |services| is_at(of(services, name), revision, "COMPLETED").then_some(()));
}

fn breaker(ecs: &Simulator, name: &str) -> Value {
    let services = ecs.records("service");
    of(&services, name)["deploymentConfiguration"]["deploymentCircuitBreaker"].clone()
}

/// Waits until status says so of a service; what it says.
fn stands(controller: &Controller, name: &str, state: &str) -> String {
    controller.until(LIMIT, &format!("{name}: {state}"), |status| {
        let all = status["injections"].as_array()?;
        let found = all.iter().find(|one| one["service"] == format!("{name}.shop"))?;
        (found["state"] == state).then(|| found["what"].as_str().unwrap().to_owned())
    })
}

fn put_back(ecs: &Simulator, to: &str) {
    ecs.post("update", json!({ "cluster": "shop", "service": "cart", "taskDefinition": to }));
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_tagged_service_is_meshed_drift_is_healed_twice_and_nothing_else_is_touched() {
    let ecs = shop();
    add(&ecs, "plain", &[]);
    add(&ecs, "stack", &[("outrigger:inject", "true"), ("aws:cloudformation:stack-name", "shop")]);
    add(&ecs, "dry", &[("outrigger:inject", "dry-run")]);
    ecs.post("trouble", json!({ "kind": "throttle", "operation": "UpdateService", "count": 1 }));
    let before = breaker(&ecs, "cart");
    assert_ne!(before["rollback"], true, "{before}");
    let mut controller = controller(&ecs, "injection-moves", &[]);
    stands(&controller, "cart", "meshed");
    deployed(&ecs, "cart", ":2");
    assert_eq!(breaker(&ecs, "cart"), before, "the setting is as it was");
    assert!(stands(&controller, "stack", "refused").contains("CloudFormation"));
    assert!(stands(&controller, "dry", "planned").contains("would get a meshed revision"));

    let definitions = ecs.records("definition");
    let made = definitions
        .iter()
        .find(|one| one["taskDefinitionArn"].as_str().unwrap().ends_with("cart:2"))
        .unwrap();
    let names: Vec<_> =
        made["containerDefinitions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["app", "outrigger-sidecar", "outrigger-capture"], "{made}");
    let told = made["containerDefinitions"][1]["environment"].to_string();
    let pin = controller.status().unwrap()["control_pin"].as_str().unwrap().to_owned();
    assert!(
        told.contains("https://controller.outrigger.internal:15010") && told.contains(&pin),
        "{pin}: {told}"
    );
    assert_eq!(made["taskRoleArn"], definition("cart")["taskRoleArn"]);

    // Somebody puts the earlier revision back, and the controller does not forget how often.
    for _ in 0..2 {
        controller.kill();
        put_back(&ecs, "cart:1");
        deployed(&ecs, "cart", ":1");
        controller.start_again();
        deployed(&ecs, "cart", ":2");
        stands(&controller, "cart", "meshed");
    }
    controller.kill();
    put_back(&ecs, "cart:1");
    deployed(&ecs, "cart", ":1");
    controller.start_again();
    assert!(stands(&controller, "cart", "refused").contains("ignore_changes"));
    let cart = |one: &&Value| one["family"] == "cart";
    assert_eq!(ecs.records("definition").iter().filter(cart).count(), 2, "no revision was made twice");
    let services = ecs.records("service");
    for name in ["plain", "stack", "dry"] {
        assert!(is_at(of(&services, name), ":1", "COMPLETED"), "{name}");
    }
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_revision_that_fails_is_taken_back_and_not_tried_again() {
    let ecs = shop();
    ecs.post("fail", json!({ "match": "cart:2", "how": "start" }));
    let controller = controller(&ecs, "injection-fails", &[]);
    let why = stands(&controller, "cart", "refused");
    assert!(why.contains("did not become healthy") && why.contains("circuit breaker"), "{why}");
    deployed(&ecs, "cart", ":1");
    assert_ne!(breaker(&ecs, "cart")["rollback"], true);
    let deployments = ecs.records("service")[0]["deployments"].clone();
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(ecs.records("service")[0]["deployments"], deployments, "it is left alone");
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_revision_that_is_slow_is_taken_back() {
    let ecs = shop();
    ecs.post("pace", json!({ "hold": "PENDING" }));
    let controller = controller(&ecs, "injection-slow", &[("OUTRIGGER_INJECT_PATIENCE", "30")]);
    ecs.until("service", LIMIT, |services| is_at(of(services, "cart"), ":2", "IN_PROGRESS").then_some(()));
    ecs.until("service", LIMIT, |services| {
        services[0]["taskDefinition"].as_str().unwrap().ends_with(":1").then_some(())
    });
    ecs.post("pace", json!({ "hold": null }));
    let why = stands(&controller, "cart", "refused");
    assert!(why.contains("no further task became healthy"), "{why}");
    deployed(&ecs, "cart", ":1");
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_controller_that_dies_in_the_middle_goes_on() {
    let ecs = shop();
    ecs.post("pace", json!({ "hold": "PENDING" }));
    let mut controller = controller(&ecs, "injection-dies", &[]);
    ecs.until("service", LIMIT, |services| is_at(of(services, "cart"), ":2", "IN_PROGRESS").then_some(()));
    controller.kill();
    assert_eq!(breaker(&ecs, "cart")["rollback"], true, "ECS goes on watching");
    ecs.post("pace", json!({ "hold": null }));
    deployed(&ecs, "cart", ":2");
    controller.start_again();
    stands(&controller, "cart", "meshed");
    ecs.until("service", LIMIT, |services| {
        let breaker = &of(services, "cart")["deploymentConfiguration"]["deploymentCircuitBreaker"];
        (breaker["rollback"] != true).then_some(())
    });
    ecs.assert_no_faults();
}

/// Pipelines deregister revisions; a service runs on, also with one of which ECS lists no newest any more.
#[test]
#[ignore = "needs the simulator of ECS"]
fn a_service_whose_revisions_are_all_deregistered_is_meshed() {
    let ecs = shop();
    ecs.post("inactive", json!({ "taskDefinition": "cart:1" }));
    let controller = controller(&ecs, "injection-deregistered", &[]);
    stands(&controller, "cart", "meshed");
    deployed(&ecs, "cart", ":2");
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_service_that_the_role_may_not_move_keeps_the_others_not_waiting() {
    let ecs = shop();
    add(&ecs, "web", &[("outrigger:inject", "true")]);
    for operation in ["RegisterTaskDefinition", "UpdateService"] {
        let denied = json!({ "kind": "error", "operation": operation, "count": 1, "code": "AccessDeniedException", "status": 400 });
        ecs.post("trouble", denied);
    }
    // Of cart no revision could be made, web could not be moved to its own: each waits a minute, and no try was lost.
    let controller = controller(&ecs, "injection-denied", &[]);
    for (name, operation) in [("cart", "ecs:RegisterTaskDefinition"), ("web", "ecs:UpdateService")] {
        let why = stands(&controller, name, "refused");
        assert!(why.contains(operation) && why.contains("to the controller's role"), "{why}");
    }
    for name in ["cart", "web"] {
        deployed(&ecs, name, ":2");
        stands(&controller, name, "meshed");
    }
    ecs.assert_no_faults();
}
