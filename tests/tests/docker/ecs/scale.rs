//! A cluster of 5,000 tasks: the controller follows it within ECS's published rates, and no refusal, no partial and no
//! stale answer costs an endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use outrigger_inject::ecs::{Options, inject, read, render};
use outrigger_tests::ecs::Simulator;
use serde_json::{Value, json};

use super::controller::Controller;

const SERVICES: usize = 100;
const TASKS_EACH: usize = 50;
const TASKS: usize = SERVICES * TASKS_EACH;
const LIMIT: Duration = Duration::from_secs(120);
/// Calls are counted over a steady time of this length.
const STEADY: Duration = Duration::from_secs(60);
/// How long after a deployment of 50 tasks the last of its events is seen at the latest, without optimisation and on a busy
/// machine: sooner than from one listing to the next.
const LATE: Duration = Duration::from_secs(45);
/// Resident memory of the controller with 5,000 tasks, built without optimisation, at its most.
const MEMORY: u64 = 256 * 1024 * 1024;

/// 100 services of 50 tasks each, all running.
fn cluster() -> Simulator {
    let ecs = Simulator::start();
    ecs.post("pace", json!({ "seconds": 0 }));
    for number in 0..SERVICES {
        let family = format!("service-{number:03}");
        let definition = json!({
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "1024",
            "memory": "2048",
            "taskRoleArn": "arn:aws:iam::123456789012:role/service",
            "containerDefinitions": [{
                "name": "app",
                "image": "app",
                "portMappings": [{ "containerPort": 8080, "name": "http", "appProtocol": "http" }]
            }]
        });
        let pin = format!("sha256:{}", "0".repeat(64));
        let options = Options { pin, ..Options::default() };
        let meshed = inject(&read(&definition.to_string()).unwrap(), &options).unwrap();
        ecs.post("definition", serde_json::from_str(&render(&meshed.definition)).unwrap());
        ecs.post(
            "service",
            json!({
                "serviceName": family,
                "taskDefinition": family,
                "desiredCount": TASKS_EACH,
                "launchType": "FARGATE",
                "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-a", "subnet-b", "subnet-c"] } }
            }),
        );
    }
    ecs.until("service", LIMIT, |services| {
        let done = services.iter().filter(|one| one["deployments"][0]["rolloutState"] == "COMPLETED").count();
        (done == SERVICES).then_some(())
    });
    ecs
}

/// Endpoints of all services whose task runs and is not wished to stop. (That they are ready is for sidecars to say, and
/// there are none here.)
fn running(status: &Value) -> usize {
    let services = status["services"].as_array().unwrap();
    let endpoints = services.iter().filter_map(|service| service["ports"][0]["endpoints"].as_array());
    endpoints.flatten().filter(|endpoint| endpoint["lifecycle"] == "running").count()
}

/// The source ECS in `/status`.
fn source(status: &Value) -> &Value {
    status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "ecs").unwrap()
}

fn whole(controller: &Controller, tasks: usize) {
    controller.until(LIMIT, "a whole view", |status| {
        (running(status) == tasks && source(status)["current"] == true).then_some(())
    });
}

/// Calls of ECS since a time of the simulator, by operation and outcome.
fn calls(ecs: &Simulator, since: f64) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for call in ecs.get(&format!("calls?since={since}"))["calls"].as_array().unwrap() {
        if call["service"] == "ecs" {
            let word = |name: &str| call[name].as_str().unwrap().to_owned();
            *counts.entry((word("operation"), word("outcome"))).or_default() += 1;
        }
    }
    counts
}

/// Names of the workloads of a service's running tasks.
fn named(ecs: &Simulator, service: &str) -> BTreeSet<String> {
    let group = format!("service:{service}");
    let tasks = ecs.records("task").into_iter();
    let runs = tasks.filter(|task| task["group"] == group && task["desiredStatus"] == "RUNNING");
    let id = |task: Value| {
        task["taskArn"].as_str().and_then(|arn| arn.rsplit('/').next()).unwrap()[..8].to_owned()
    };
    runs.map(|task| format!("{service}-{}", id(task))).collect()
}

fn now(ecs: &Simulator) -> f64 {
    ecs.post("clock", json!({}))["now"].as_f64().unwrap()
}

/// Prints calls, and fails where one was refused for being too many.
fn report(ecs: &Simulator, what: &str, since: f64, took: Duration) {
    println!("{what}: {:.1} s", took.as_secs_f64());
    let counts = calls(ecs, since);
    for ((operation, outcome), count) in &counts {
        println!("  {operation} {outcome}: {count}");
        assert_ne!(outcome, "ThrottlingException", "{what}: ECS refused {operation}");
    }
    let all: usize = counts.values().sum();
    println!("  calls a minute: {:.0}", all as f64 * 60.0 / took.as_secs_f64().max(60.0));
}

/// No bucket of ECS was ever emptier than half: other callers of the account have theirs.
fn assert_half_is_left(ecs: &Simulator) {
    let lowest = ecs.get("rates")["lowest"].clone();
    for (category, burst) in
        [("cluster read", 50.0), ("definition read", 50.0), ("resource read", 100.0), ("service read", 100.0)]
    {
        let lowest = lowest[category].as_f64().unwrap();
        println!("  bucket `{category}`: {lowest:.0} of {burst} left at its lowest");
        assert!(lowest >= burst / 2.0 - 1.0, "{category}: {lowest} of {burst}");
    }
}

fn assert_memory(controller: &Controller) {
    let (now, most) = controller.memory();
    println!("  controller: {} MB resident, {} MB at its most", now >> 20, most >> 20);
    assert!(most < MEMORY, "{} MB", most >> 20);
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn five_thousand_tasks_are_followed_within_the_published_rates() {
    let ecs = cluster();
    let queue = ecs.addresses()["queue"].as_str().unwrap().to_owned();
    ecs.post("purge", json!({ "all": true }));
    let (since, started) = (now(&ecs), Instant::now());
    let controller = Controller::start(&ecs, "scale", &[("OUTRIGGER_QUEUE", &queue)]);
    whole(&controller, TASKS);
    report(&ecs, "first whole answer, 5,000 tasks in 100 services", since, started.elapsed());

    // Steady: a minute in which a service is deployed anew.
    let (since, started) = (now(&ecs), Instant::now());
    ecs.post("update", json!({ "service": "service-007", "forceNewDeployment": true }));
    ecs.until("service", LIMIT, |services| {
        let one = services.iter().find(|one| one["serviceName"] == "service-007").unwrap();
        (one["deployments"][0]["rolloutState"] == "COMPLETED").then_some(())
    });
    let settled = Instant::now();
    let wanted = named(&ecs, "service-007");
    controller.until(LIMIT, "a deployment", |status| {
        let services = status["services"].as_array().unwrap();
        let one = services.iter().find(|service| service["name"] == "service-007").unwrap();
        let runs = |endpoint: &&Value| endpoint["lifecycle"] == "running";
        let name = |endpoint: &Value| endpoint["workload"].as_str().unwrap().to_owned();
        let seen = one["ports"][0]["endpoints"].as_array().unwrap().iter().filter(runs).map(name);
        (seen.collect::<BTreeSet<_>>() == wanted).then_some(())
    });
    let late = settled.elapsed();
    println!("a deployment of 50 tasks, some 450 events, is seen {} ms after its end", late.as_millis());
    assert!(late < LATE, "{late:?}");
    while started.elapsed() < STEADY {
        assert_eq!(running(&controller.status().unwrap()), TASKS);
        std::thread::sleep(Duration::from_secs(1));
    }
    report(&ecs, "steady, with a queue", since, started.elapsed());
    assert_half_is_left(&ecs);
    assert_memory(&controller);
    drop(controller);

    let (since, started) = (now(&ecs), Instant::now());
    let controller = Controller::start(&ecs, "scale-polling", &[]);
    whole(&controller, TASKS);
    while started.elapsed() < STEADY {
        assert_eq!(running(&controller.status().unwrap()), TASKS);
        std::thread::sleep(Duration::from_secs(1));
    }
    report(&ecs, "without a queue, with the first whole answer", since, started.elapsed());
    assert_half_is_left(&ecs);
    assert_memory(&controller);
    ecs.assert_no_faults();
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn refused_partial_and_stale_answers_lose_no_endpoint() {
    let ecs = cluster();
    let controller = Controller::start(&ecs, "trouble", &[]);
    whole(&controller, TASKS);
    let trouble = [
        ("refused lists", json!({ "kind": "throttle", "operation": "ListTasks" })),
        ("refused descriptions", json!({ "kind": "throttle", "operation": "DescribeTasks" })),
        ("partial descriptions", json!({ "kind": "partial", "operation": "DescribeTasks" })),
        ("errors", json!({ "kind": "error", "operation": "DescribeTasks", "code": "ServerException" })),
        ("cut connections", json!({ "kind": "cut", "operation": "ListTasks" })),
    ];
    for (what, order) in trouble {
        ecs.post("trouble", order);
        let error = controller.until(LIMIT, what, |status| {
            assert_eq!(running(status), TASKS, "{what}");
            let source = source(status);
            (source["current"] == false).then(|| source["last_error"].clone())
        });
        println!("{what}: {error}");
        ecs.post("trouble", json!({ "clear": true }));
        controller.until(LIMIT, what, |status| {
            assert_eq!(running(status), TASKS, "{what}");
            (source(status)["current"] == true).then_some(())
        });
    }
    drop(controller);

    // With events, a task is known before reads of the API agree: answers that are behind take nothing back.
    let queue = ecs.addresses()["queue"].as_str().unwrap().to_owned();
    ecs.post("purge", json!({ "all": true }));
    let controller = Controller::start(&ecs, "stale", &[("OUTRIGGER_QUEUE", &queue)]);
    whole(&controller, TASKS);
    // A whole answer is some 110 reads here: one is from before.
    ecs.post("lag", json!({ "reads": 110 }));
    ecs.post("update", json!({ "service": "service-042", "desiredCount": TASKS_EACH + 5 }));
    whole(&controller, TASKS + 5);
    // A queue that fails once has a whole answer asked for at once.
    let since = now(&ecs);
    ecs.post(
        "trouble",
        json!({ "kind": "error", "operation": "ReceiveMessage", "code": "ServiceUnavailable", "count": 1 }),
    );
    controller.until(LIMIT, "a stale whole answer", |status| {
        assert_eq!(running(status), TASKS + 5, "a stale answer took endpoints away");
        let described = calls(&ecs, since).get(&("DescribeTasks".to_owned(), "ok".to_owned())).copied();
        (described.unwrap_or_default() >= TASKS / 100 && source(status)["current"] == true).then_some(())
    });
    assert_eq!(running(&controller.status().unwrap()), TASKS + 5);
    assert_memory(&controller);
    ecs.assert_no_faults();
}
