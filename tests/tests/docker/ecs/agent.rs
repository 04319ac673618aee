//! The simulator's agent does what ECS promises of the order of containers, of metadata, and of tasks that end.

use std::time::Duration;

use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE};
use crate::project::{apps, within};

/// Says when metadata shows the order to stop and when the signal comes, and ends with it.
const WATCHER: &str = r#"
import json, os, signal, sys, time, urllib.request as r
signal.signal(signal.SIGTERM, lambda *_: (print("signal"), sys.exit(0)))
open("/tmp/ready", "w").close()
shown = None
while True:
    task = json.load(r.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task"))
    if task["DesiredStatus"] != shown:
        shown = task["DesiredStatus"]
        print(shown, task["LaunchType"], task["Cluster"], task["Family"])
    time.sleep(0.1)
"#;
/// Takes a second to end after the signal.
const SLOW: &str = r#"
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), print("gone"), sys.exit(0)))
print("started", open("/etc/hosts").read().count("10.9.8.7 cart"))
while True: signal.pause()
"#;

fn task() -> Value {
    json!({
        "family": "order",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["EC2", "FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {
                "name": "app",
                "image": apps(),
                "command": ["python3", "-uc", SLOW],
                "dependsOn": [{ "containerName": "watcher", "condition": "HEALTHY" }],
                "stopTimeout": 10
            },
            {
                "name": "watcher",
                "image": apps(),
                "command": ["python3", "-uc", WATCHER],
                "dependsOn": [{ "containerName": "step", "condition": "SUCCESS" }],
                "healthCheck": { "command": ["CMD", "test", "-f", "/tmp/ready"], "interval": 5 },
                "stopTimeout": 10
            },
            {
                "name": "step",
                "image": apps(),
                "essential": false,
                "command": ["sh", "-c", "echo 10.9.8.7 cart >> /etc/hosts"]
            }
        ]
    })
}

/// A container of a task, as the API has it.
fn state(cloud: &Cloud, arn: &str, container: &str) -> Value {
    let records = cloud.ecs.records("task");
    let task = records.iter().find(|one| one["taskArn"] == arn).expect("it was started");
    let containers = task["containers"].as_array().expect("a task has containers");
    containers.iter().find(|one| one["name"] == container).expect("it has this one").clone()
}

fn run(cloud: &Cloud, definition: &Value, launch: &str) -> String {
    cloud.ecs.post("definition", definition.clone());
    let order = json!({
        "cluster": "default",
        "taskDefinition": definition["family"],
        "launchType": launch,
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-a"] } }
    });
    let made = cloud.ecs.post("run", order);
    made["tasks"][0]["taskArn"].as_str().expect("a task is made").to_owned()
}

fn until(cloud: &Cloud, arn: &str, status: &str, limit: Duration) -> Value {
    within(limit, &format!("{arn} is {status}"), || {
        let records = cloud.ecs.records("task");
        records.into_iter().find(|one| one["taskArn"] == arn).filter(|one| one["lastStatus"] == status)
    })
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn containers_start_in_order_and_stop_in_the_reverse_one_and_metadata_tells_before_any_signal() {
    let cloud = Cloud::bare();
    for (launch, cluster) in
        [("EC2", "default"), ("FARGATE", "arn:aws:ecs:eu-central-1:123456789012:cluster/default")]
    {
        let arn = run(&cloud, &task(), launch);
        let record = until(&cloud, &arn, "RUNNING", PATIENCE);
        assert_eq!(record["healthStatus"], "HEALTHY", "{launch}");
        let task = cloud.known(&record);
        within(PATIENCE, "the application starts", || task.log("app").contains("started").then_some(()));
        assert_eq!(task.log("app").trim(), "started 1", "{launch}: the hosts file is shared");
        let step = state(&cloud, &arn, "step");
        assert_eq!((&step["lastStatus"], &step["exitCode"]), (&"STOPPED".into(), &0.into()), "{launch}");

        cloud.ecs.post("stop", json!({ "task": arn }));
        within(PATIENCE, "the order is told", || task.log("watcher").contains("STOPPED").then_some(()));
        assert!(!task.log("watcher").contains("signal"), "{launch}: the application still runs");
        until(&cloud, &arn, "STOPPED", PATIENCE);
        assert_eq!(task.log("app").trim(), "started 1\ngone", "{launch}");
        let watched = task.log("watcher");
        let said = |status: &str| format!("{status} {launch} {cluster} order");
        assert_eq!(watched.trim(), [&said("RUNNING"), &said("STOPPED"), "signal"].join("\n"));
    }
    cloud.ecs.assert_no_faults();
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn an_image_that_is_not_there_fails_to_start_and_an_essential_end_stops_the_task() {
    let cloud = Cloud::bare();
    let plain = |family: &str, more: Value| {
        let mut container = json!({ "name": "app", "image": apps(), "command": ["sh", "-c", "exit 3"] });
        let fields = container.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        json!({
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": [container]
        })
    };
    let missing = plain("missing", json!({ "image": "orecs-no-such-image:1" }));
    let refused = run(&cloud, &missing, "FARGATE");
    let ended = run(&cloud, &plain("ending", json!({})), "FARGATE");
    let refused = until(&cloud, &refused, "STOPPED", PATIENCE);
    assert_eq!(refused["stopCode"], "TaskFailedToStart");
    assert!(
        refused["stoppedReason"].as_str().is_some_and(|why| why.contains("CannotPullContainerError")),
        "{refused}"
    );
    let ended = until(&cloud, &ended, "STOPPED", PATIENCE);
    assert_eq!(
        (&ended["stopCode"], &ended["containers"][0]["exitCode"]),
        (&"EssentialContainerExited".into(), &3.into())
    );
}
