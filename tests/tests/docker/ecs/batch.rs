//! End to end: tasks that are no service's. They call through the mesh, end when their application ends, with its exit
//! code, and nobody ever calls them; what their definition and RunTask say of order, of restarts and of containers holds.

use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE, Task};
use super::tasks::{APP, SIDECAR, calling, in_subnet, restarting, serving};
use crate::project::{apps, docker, within};

/// Asks a service of the mesh, says who answered, and ends with the code that it is told.
const JOB: &str = r#"
import os, sys, urllib.request as r
answer = r.urlopen("http://counter:8080/healthz", timeout=10)
print("asked", answer.headers["x-name"], *sys.argv[1:])
sys.exit(int(os.environ.get("CODE", "0")))
"#;
/// Does so only when it is run for the second time, and with 0; the first time it ends with 7 after the least period of
/// a restart policy.
const SECOND: &str = r#"
import os, sys, time, urllib.request as r
print("asked", r.urlopen("http://counter:8080/healthz", timeout=10).headers["x-name"])
if not os.path.exists("/tmp/first"):
    open("/tmp/first", "w").close()
    time.sleep(0.5)
    sys.exit(7)
"#;
/// Does so once it is told to.
const TOLD: &str = r#"
import os, time, urllib.request as r
while not os.path.exists("/tmp/go"): time.sleep(0.05)
print("asked", r.urlopen("http://counter:8080/healthz", timeout=10).headers["x-name"])
"#;

/// A definition of one container that runs a program.
fn job(family: &str, launch: &str, program: &str, essential: bool) -> Value {
    let mut task = calling(family, "awsvpc", launch);
    let app = &mut task["containerDefinitions"][0];
    app["command"] = json!(["python3", "-uc", program]);
    app["essential"] = essential.into();
    task
}

/// A container before the application; `more` is added to it.
fn step(task: &mut Value, name: &str, condition: &str, program: &str, more: &Value) {
    let mut step = json!({
        "name": name,
        "image": apps(),
        "essential": false,
        "command": ["python3", "-uc", program],
        "linuxParameters": { "initProcessEnabled": true }
    });
    step.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let containers = task["containerDefinitions"].as_array_mut().expect("a list");
    containers.push(step);
    let waits = json!({ "containerName": name, "condition": condition });
    match containers[0]["dependsOn"].as_array_mut() {
        Some(others) => others.push(waits),
        None => containers[0]["dependsOn"] = json!([waits]),
    }
}

/// Waits for its end; it, and what its containers ended with.
fn ended(task: &Task<'_>, containers: &[&str]) -> (Value, Vec<Option<i64>>) {
    let record = task.until("STOPPED");
    (record, containers.iter().map(|name| task.state(name)["exitCode"].as_i64()).collect())
}

/// Fails where the mesh has an endpoint of any other service.
fn only_counter_is_called(cloud: &Cloud) {
    let Some(status) = cloud.status() else { return };
    for service in status["services"].as_array().into_iter().flatten() {
        let ports = service["ports"].as_array().map_or(0, Vec::len);
        assert!(service["name"] == "counter" || ports == 0, "{service}");
    }
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_batch_task_calls_through_the_mesh_and_ends_with_its_application() {
    let cloud = Cloud::start();
    cloud.service("counter", &serving("counter", "awsvpc", "EC2"), 1);
    cloud.task("counter");
    let start = |task: &Value, more: Value| {
        let mut order = in_subnet("a");
        order.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let launch = task["requiresCompatibilities"][0].as_str().expect("it says where");
        cloud.run_task(&cloud.register(task), launch, &order)
    };

    // RunTask says how it ends; and one with other words and no essential container but the sidecar.
    let code = json!([{ "name": APP, "environment": [{ "name": "CODE", "value": "3" }] }]);
    let report =
        start(&job("report", "FARGATE", JOB, true), json!({ "overrides": { "containerOverrides": code } }));
    let words = json!([{ "name": APP, "command": ["python3", "-uc", JOB, "nightly"] }]);
    let nightly = start(
        &job("nightly", "EC2", "sys.exit('not this')", false),
        json!({ "overrides": { "containerOverrides": words } }),
    );
    let mut ordered = job("ordered", "EC2", JOB, true);
    step(&mut ordered, "migrate", "SUCCESS", JOB, &json!({}));
    step(&mut ordered, "lint", "COMPLETE", "import sys; sys.exit(1)", &json!({}));
    let ordered = start(&ordered, json!({}));
    let mut stuck = job("stuck", "FARGATE", JOB, true);
    step(&mut stuck, "migrate", "SUCCESS", "import time; time.sleep(600)", &json!({ "startTimeout": 2 }));
    let stuck = start(&stuck, json!({}));
    let mut again = job("again", "FARGATE", SECOND, false);
    let policy = json!({ "enabled": true, "ignoredExitCodes": [0], "restartAttemptPeriod": 60 });
    again["containerDefinitions"][0]["restartPolicy"] = policy;
    let again = start(&again, json!({}));
    let outliving = restarting(cloud.meshed(&job("outliving", "FARGATE", TOLD, false)));
    let outliving = cloud.run_task(&cloud.made(&outliving), "FARGATE", &in_subnet("a"));
    let all = [&report, &nightly, &ordered, &stuck, &again, &outliving];

    // A sidecar that dies is started again, and still knows what it is there for: the application came after it.
    outliving.until("RUNNING");
    docker(&["kill", "-s", "KILL", &outliving.container(SIDECAR)]);
    within(PATIENCE, "its sidecar is started again", || {
        let log = outliving.log(SIDECAR);
        (log.matches("connected to the controller").count() > 1).then_some(())
    });
    docker(&["exec", &outliving.container(APP), "touch", "/tmp/go"]);
    within(PATIENCE, "all tasks end", || {
        only_counter_is_called(&cloud);
        all.iter().all(|task| task.record()["lastStatus"] == "STOPPED").then_some(())
    });

    let (record, codes) = ended(&report, &[APP, SIDECAR]);
    assert_eq!((&record["stopCode"], codes), (&"EssentialContainerExited".into(), vec![Some(3), Some(0)]));
    assert_eq!(report.log(APP).trim(), "asked counter");
    let (record, codes) = ended(&nightly, &[APP, SIDECAR, "outrigger-capture"]);
    assert_eq!((&record["stopCode"], codes), (&"EssentialContainerExited".into(), vec![Some(0); 3]));
    assert_eq!(nightly.log(APP).trim(), "asked counter nightly");
    let (_, codes) = ended(&ordered, &[APP, "migrate", "lint", SIDECAR]);
    assert_eq!(codes, [Some(0), Some(0), Some(1), Some(0)]);
    assert_eq!([ordered.log("migrate"), ordered.log(APP)], ["asked counter\n"; 2]);
    let (record, codes) = ended(&stuck, &[APP, SIDECAR]);
    assert_eq!((&record["stopCode"], codes), (&"TaskFailedToStart".into(), vec![Some(143), Some(0)]));
    assert!(record["stoppedReason"].as_str().is_some_and(|why| why.contains("timed out")), "{record}");
    assert!(!stuck.has(APP), "its application was started");
    let (_, codes) = ended(&again, &[APP, SIDECAR]);
    assert_eq!(codes, [Some(0), Some(0)]);
    assert_eq!(again.log(APP).trim(), "asked counter\nasked counter", "it ran twice, the sidecar once");
    let (_, codes) = ended(&outliving, &[APP, SIDECAR]);
    assert_eq!((codes, outliving.log(APP).trim()), (vec![Some(0), Some(0)], "asked counter"));
    cloud.ecs.assert_no_faults();
}
