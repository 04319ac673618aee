//! The simulator's agent does what ECS promises of the order of containers, of metadata, and of tasks that end.

use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE, Task};
use super::tasks::in_subnet;
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

fn run<'a>(cloud: &'a Cloud, definition: &Value, launch: &str) -> Task<'a> {
    cloud.ecs.post("definition", definition.clone());
    cloud.run_task(definition["family"].as_str().expect("it has a name"), launch, &in_subnet("a"))
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn containers_start_in_order_and_stop_in_the_reverse_one_and_metadata_tells_before_any_signal() {
    let cloud = Cloud::bare();
    for (launch, cluster) in
        [("EC2", "default"), ("FARGATE", "arn:aws:ecs:eu-central-1:123456789012:cluster/default")]
    {
        let task = run(&cloud, &task(), launch);
        assert_eq!(task.until("RUNNING")["healthStatus"], "HEALTHY", "{launch}");
        within(PATIENCE, "the application starts", || task.log("app").contains("started").then_some(()));
        assert_eq!(task.log("app").trim(), "started 1", "{launch}: the hosts file is shared");
        let step = task.state("step");
        assert_eq!((&step["lastStatus"], &step["exitCode"]), (&"STOPPED".into(), &0.into()), "{launch}");

        cloud.ecs.post("stop", json!({ "task": task.arn }));
        within(PATIENCE, "the order is told", || task.log("watcher").contains("STOPPED").then_some(()));
        assert!(!task.log("watcher").contains("signal"), "{launch}: the application still runs");
        task.until("STOPPED");
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
    let refused = refused.until("STOPPED");
    assert_eq!(refused["stopCode"], "TaskFailedToStart");
    assert!(
        refused["stoppedReason"].as_str().is_some_and(|why| why.contains("CannotPullContainerError")),
        "{refused}"
    );
    let ended = ended.until("STOPPED");
    assert_eq!(
        (&ended["stopCode"], &ended["containers"][0]["exitCode"]),
        (&"EssentialContainerExited".into(), &3.into())
    );
}
