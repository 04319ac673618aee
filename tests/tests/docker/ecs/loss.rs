//! End to end: nothing is lost while a service is deployed, while a task stops, and while the controller is away.

use std::time::Duration;

use serde_json::json;

use super::cloud::Cloud;
use super::tasks::{APP, calling, labelled, serving, storing, told};
use crate::project::{Posting, within};

/// POSTs per second.
const RATE: u64 = 100;
/// How long a task that waits for the controller is looked at.
const CLOSED: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn nothing_is_lost_while_a_service_is_deployed_and_its_tasks_stop() {
    let cloud = Cloud::start();
    let counter = storing(serving("counter", "awsvpc", "EC2"), &cloud.folder.display().to_string());
    cloud.service("counter", &told(counter.clone(), "NAME", "first"), 2);
    cloud.service("caller", &calling("caller", "awsvpc", "FARGATE"), 1);
    cloud.running("counter", 2);
    let caller = cloud.task("caller");
    cloud.until_answers(&caller, "http://counter:8080/healthz");
    let posting = Posting::start_in(&caller.container(APP), &cloud.folder.join("store"), RATE);

    let second = cloud.register(&told(counter, "NAME", "second"));
    cloud.update("counter", json!({ "taskDefinition": second }));
    let tasks = cloud.running("counter", 2);
    posting.more(1);

    cloud.ecs.post("stop", json!({ "task": tasks[0].arn, "reason": "a person" }));
    let gone = || (tasks[0].record()["lastStatus"] == "STOPPED").then_some(());
    within(super::cloud::PATIENCE, "the task stops", gone);
    cloud.running("counter", 2);
    posting.more(1);

    cloud.update("counter", json!({ "desiredCount": 1 }));
    cloud.running("counter", 1);
    posting.more(1);
    let names = posting.finish();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["first", "second"], "both revisions answered: {names:?}");
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_task_that_starts_while_the_controller_is_away_waits_for_it() {
    let cloud = Cloud::start();
    cloud.service("counter", &serving("counter", "awsvpc", "EC2"), 1);
    let old = labelled(calling("caller", "awsvpc", "EC2"), "outrigger.capture", "names");
    cloud.service("caller", &old, 1);
    let caller = cloud.task("caller");
    assert_eq!(cloud.until_answers(&caller, "http://counter:8080/healthz"), "counter");

    cloud.kill_controller();
    cloud.service("late", &serving("late", "awsvpc", "FARGATE"), 1);
    let late = within(CLOSED, "a task of late", || {
        let tasks = cloud.ecs.records("task");
        tasks.iter().find(|one| one["group"] == "service:late").map(|one| cloud.known(one))
    });
    let said = || late.log("outrigger-sidecar").contains("stays closed").then_some(());
    within(CLOSED, "its sidecar says that it waits", said);
    assert_eq!(late.record()["lastStatus"], "PENDING");
    assert!(!late.has(APP), "its application was started");
    assert_eq!(
        caller.ask("http://counter:8080/healthz", "").as_deref(),
        Some("counter"),
        "the others serve on"
    );

    cloud.start_controller();
    cloud.running("late", 1);
    assert_eq!(cloud.until_answers(&caller, "http://late:8080/healthz"), "late");
}
