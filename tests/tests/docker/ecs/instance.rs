//! A controller that is a task on an EC2 instance serves the tasks of that instance over its Unix socket, and nobody else.

use std::time::Duration;

use outrigger_inject::ecs::SIDECAR;
use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE};
use super::tasks::{calling, labelled, meshed, serving};
use crate::project::{image, tried, within};

/// How long somebody who is not let in may take to say why.
const REFUSED: Duration = Duration::from_secs(40);
/// Where the socket of the instance's engine is.
const ENGINE: &str = "/var/run/docker.sock";
const FOLDER: &str = "/run/outrigger";

/// The host's folder of the control socket.
fn folder(cloud: &Cloud) -> String {
    cloud.folder.join("run").display().to_string()
}

/// Only on the instance in this zone.
fn placed(mut task: Value, zone: &str) -> Value {
    let expression = format!("attribute:ecs.availability-zone == eu-central-1{zone}");
    task["placementConstraints"] = json!([{ "type": "memberOf", "expression": expression }]);
    task
}

/// As `terraform/modules/controller` writes it with `placement`, but for the place of its state and of the socket's folder.
fn controller(cloud: &Cloud) -> Value {
    let mut environment = cloud.environment();
    environment.push("OUTRIGGER_MESH=default".into());
    let environment = environment.iter().filter_map(|pair| pair.split_once('='));
    let environment: Vec<Value> =
        environment.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mount = |volume: &str, path: &str| json!({ "sourceVolume": volume, "containerPath": path });
    let task = json!({
        "family": "controller",
        "networkMode": "awsvpc",
        "pidMode": "host",
        "requiresCompatibilities": ["EC2"],
        "cpu": "256",
        "memory": "512",
        "volumes": [
            { "name": "state" },
            { "name": "run", "host": { "sourcePath": folder(cloud) } },
            { "name": "engine", "host": { "sourcePath": ENGINE } }
        ],
        "containerDefinitions": [{
            "name": "controller",
            "image": image("controller"),
            "environment": environment,
            "linuxParameters": { "capabilities": { "drop": ["ALL"] } },
            "mountPoints": [mount("state", "/var/lib/outrigger"), mount("run", FOLDER), mount("engine", ENGINE)],
            "healthCheck": { "command": ["CMD", "/outrigger-controller", "health"], "startPeriod": 60 }
        }]
    });
    placed(task, "a")
}

/// A service of one task on the instance of `zone`, whose sidecar calls over the socket.
fn beside(cloud: &Cloud, name: &str, task: Value, zone: &str) {
    let revision = cloud.made(&meshed(&task, &folder(cloud), ""));
    cloud.serve(name, &revision, &placed(task, zone), 1);
}

/// Runs a sidecar that no ECS agent has started, with these labels; what it says once it was refused.
fn stranger(cloud: &Cloud, part: &str, labels: &[String]) -> String {
    let (mount, image) = (format!("{}:{FOLDER}", folder(cloud)), image("sidecar"));
    let mut words = vec!["--network", "none", "-v", &mount];
    for label in labels {
        words.extend(["--label", label]);
    }
    words.push(&image);
    let name = cloud.run(part, &words);
    within(REFUSED, &format!("{part} is refused"), || {
        let output = tried(&["logs", &name]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        said.contains("refuses this sidecar").then_some(said)
    })
}

fn told(status: &Value, subject: &str) -> Option<String> {
    let problems = status["problems"].as_array()?;
    let of = problems.iter().find(|one| one["kind"] == "refused" && one["subject"] == subject)?;
    Some(of["what"].as_str()?.to_owned())
}

fn edge_is_mtls(cloud: &Cloud, source: &str, destination: &str) {
    let named = |service: &str| format!("{service}.default");
    within(PATIENCE, &format!("an edge with mutual TLS from {source} to {destination}"), || {
        let status = cloud.status()?;
        let mut edges = status["edges"].as_array()?.iter();
        let ours = |edge: &&Value| {
            edge["source"] == named(source)
                && edge["destination"] == named(destination)
                && edge["mtls"] == true
        };
        edges.find(ours).map(|_| ())
    });
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_controller_on_an_instance_serves_the_tasks_of_that_instance_over_its_socket_and_nobody_else() {
    let cloud = Cloud::start_as_task(controller);
    beside(&cloud, "counter", serving("counter", "awsvpc", "EC2"), "a");
    let batch = labelled(calling("batch", "awsvpc", "EC2"), "outrigger.capture", "names");
    beside(&cloud, "batch", batch, "a");
    cloud.service("web", &serving("web", "awsvpc", "FARGATE"), 1);
    cloud.service("far", &placed(serving("far", "awsvpc", "EC2"), "b"), 1);

    let [counter, batch, web, far] = ["counter", "batch", "web", "far"].map(|service| cloud.task(service));
    let calls = [
        (&batch, "batch", "counter"),
        (&counter, "counter", "web"),
        (&web, "web", "counter"),
        (&batch, "batch", "far"),
        (&far, "far", "counter"),
    ];
    for (caller, name, callee) in calls {
        assert_eq!(cloud.until_answers(caller, &format!("http://{callee}:8080/healthz")), callee);
        edge_is_mtls(&cloud, name, callee);
    }

    let label = |name: &str, value: &str| format!("com.amazonaws.ecs.{name}={value}");
    let ours = || "outrigger.managed=sidecar".to_owned();
    let said = stranger(&cloud, "nobody", &[ours()]);
    assert!(said.contains("is not the sidecar of an ECS task on this instance"), "{said}");
    let labels = [ours(), label("task-arn", &counter.arn), label("container-name", "app")];
    let said = stranger(&cloud, "application", &labels);
    assert!(said.contains("for a task only outrigger-sidecar speaks"), "{said}");
    let labels = [ours(), label("task-arn", &far.arn), label("container-name", SIDECAR)];
    let said = stranger(&cloud, "forger", &labels);
    assert!(said.contains("runs on another EC2 instance than the controller"), "{said}");
    let id = far.arn.rsplit('/').next().unwrap();
    let shown = cloud.status().and_then(|status| told(&status, &format!("task {id}")));
    assert!(shown.is_some_and(|why| why.contains("another EC2 instance")), "it is in the status");

    // On a real instance it would find no socket; here both instances see one.
    beside(&cloud, "lost", serving("lost", "awsvpc", "EC2"), "b");
    let lost = within(PATIENCE, "a task of lost", || {
        let tasks = cloud.ecs.records("task");
        tasks.iter().find(|one| one["group"] == "service:lost").map(|one| cloud.known(one))
    });
    let refused = || lost.log(SIDECAR).contains("runs on another EC2 instance").then_some(());
    within(REFUSED, "the task of the other instance is refused", refused);
    assert_eq!(lost.record()["lastStatus"], "PENDING", "it stays closed");
    assert_eq!(batch.ask("http://counter:8080/healthz", "").as_deref(), Some("counter"), "the others go on");
    cloud.ecs.assert_no_faults();
}
