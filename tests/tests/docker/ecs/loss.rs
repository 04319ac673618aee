//! End to end: nothing is lost while a service is deployed, while a task stops, and while the controller is away.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE, Task};
use super::tasks::{APP, SIDECAR, calling, labelled, reached, serving, storing, told};
use crate::project::{Posting, docker, within};

/// POSTs per second.
const RATE: u64 = 100;
/// How long a task that waits for the controller is looked at.
const CLOSED: Duration = Duration::from_secs(20);
/// Serves on 8080. Once it is told to end it calls others until it is allowed to.
const LEAVING: &str = r#"
import http.server, os, signal, threading, time, urllib.request as r
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("x-name", "leaver")
        self.send_header("content-length", "0")
        self.end_headers()
def leave():
    while not os.path.exists("/tmp/go"):
        print("asked", r.urlopen("http://counter:8080/healthz", timeout=10).headers["x-name"])
        time.sleep(0.1)
    os._exit(5)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave).start())
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"#;

/// Two tasks of `counter`, captured in this way, and POSTs to them; its definition without the mesh.
fn posted_to(cloud: &Cloud, capture: &str) -> (Value, Posting) {
    let counter = match capture {
        "explicit" => reached(serving("counter", "bridge", "EC2")),
        _ => serving("counter", "awsvpc", "EC2"),
    };
    let counter =
        labelled(storing(counter, &cloud.folder.display().to_string()), "outrigger.capture", capture);
    cloud.service("counter", &told(counter.clone(), "NAME", "first"), 2);
    cloud.service("caller", &calling("caller", "awsvpc", "FARGATE"), 1);
    cloud.running("counter", 2);
    let caller = cloud.task("caller");
    cloud.until_answers(&caller, "http://counter:8080/healthz");
    let posting = Posting::start_in(&caller.container(APP), &cloud.folder.join("store"), RATE);
    (counter, posting)
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn nothing_is_lost_while_a_service_is_deployed_and_its_tasks_stop() {
    let cloud = Cloud::start();
    let (counter, posting) = posted_to(&cloud, "transparent");

    let second = cloud.register(&told(counter, "NAME", "second"));
    cloud.update("counter", json!({ "taskDefinition": second }));
    let tasks = cloud.running("counter", 2);
    posting.more(1);

    cloud.ecs.post("stop", json!({ "task": tasks[0].arn, "reason": "a person" }));
    let gone = || (tasks[0].record()["lastStatus"] == "STOPPED").then_some(());
    within(PATIENCE, "the task stops", gone);
    cloud.running("counter", 2);
    posting.more(1);

    cloud.update("counter", json!({ "desiredCount": 1 }));
    cloud.running("counter", 1);
    posting.more(1);
    let names = posting.finish();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["first", "second"], "both revisions answered: {names:?}");
}

/// Workloads that the mesh has as ready endpoints of a service, and those that it has at all.
fn endpoints(cloud: &Cloud, service: &str) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let status = cloud.status()?;
    let service = status["services"].as_array()?.iter().find(|one| one["name"] == service)?;
    let all = service["ports"][0]["endpoints"].as_array()?;
    let names = |all: &mut dyn Iterator<Item = &Value>| {
        all.filter_map(|one| one["workload"].as_str().map(str::to_owned)).collect()
    };
    Some((names(&mut all.iter().filter(|one| one["ready"] == true)), names(&mut all.iter())))
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn nothing_is_lost_while_the_controller_restarts_in_a_deployment_and_events_come_twice_late_or_never() {
    let cloud = Cloud::start();
    let (counter, posting) = posted_to(&cloud, "platform");

    let said = |status: &str| format!("\"lastStatus\": \"{status}\"");
    for trouble in [
        json!({ "kind": "drop", "match": said("DEACTIVATING") }),
        json!({ "kind": "drop", "match": said("STOPPING") }),
        json!({ "kind": "delay", "match": said("PENDING"), "seconds": 2 }),
        json!({ "kind": "reorder", "count": 5 }),
        json!({ "kind": "duplicate" }),
    ] {
        cloud.ecs.post("events", trouble);
    }
    let second = cloud.register(&told(counter, "NAME", "second"));
    cloud.update("counter", json!({ "taskDefinition": second }));
    within(PATIENCE, "a task of the second revision", || {
        let tasks = cloud.ecs.records("task");
        let new = |one: &&Value| one["taskDefinitionArn"].as_str().is_some_and(|arn| arn.ends_with(&second));
        tasks.iter().filter(new).any(|one| one["lastStatus"] == "PENDING").then_some(())
    });
    cloud.kill_controller();
    posting.more(1);
    cloud.start_controller();
    let tasks = cloud.running("counter", 2);
    posting.more(1);
    cloud.ecs.post("events", json!({ "clear": true }));
    let expected: BTreeSet<String> = tasks
        .iter()
        .filter_map(|task| Some(format!("counter-{}", task.arn.rsplit('/').next()?.get(..8)?)))
        .collect();
    within(PATIENCE, "the view is right", || {
        (endpoints(&cloud, "counter")? == (expected.clone(), expected.clone())).then_some(())
    });
    let names = posting.finish();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["first", "second"], "both revisions answered: {names:?}");
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn nothing_is_lost_while_a_task_in_bridge_mode_stops() {
    let cloud = Cloud::start();
    let (_, posting) = posted_to(&cloud, "explicit");
    cloud.update("counter", json!({ "desiredCount": 1 }));
    cloud.running("counter", 1);
    posting.more(1);
    // Another one, on the instance that has the port free again.
    cloud.update("counter", json!({ "desiredCount": 2 }));
    cloud.running("counter", 2);
    posting.more(1);
    assert_eq!(posting.finish().into_keys().collect::<Vec<_>>(), ["first"]);
}

/// What an outsider at this machine's end of the network gets from a task's port.
fn outside(task: &Task<'_>) -> String {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((task.address(), 8080)), CLOSED).unwrap();
    stream.set_read_timeout(Some(CLOSED)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: leaver\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_ascii_lowercase()
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_task_that_stops_is_left_by_its_peers_first_and_its_sidecar_outlives_its_application() {
    let cloud = Cloud::start();
    cloud.service("counter", &serving("counter", "awsvpc", "EC2"), 1);
    let mut leaver = serving("leaver", "awsvpc", "FARGATE");
    let app = &mut leaver["containerDefinitions"][0];
    app["command"] = json!(["python3", "-uc", LEAVING]);
    app["stopTimeout"] = 90.into();
    cloud.service("leaver", &leaver, 1);
    let (counter, leaver) = (cloud.task("counter"), cloud.task("leaver"));
    assert_eq!(cloud.until_answers(&counter, "http://leaver:8080/"), "leaver");
    assert_eq!(cloud.until_answers(&leaver, "http://counter:8080/healthz"), "counter");
    cloud.update("leaver", json!({ "desiredCount": 0 }));

    // ECS has told its application, which is not done.
    let asked = || leaver.log(APP).matches("asked counter").count();
    within(PATIENCE, "its application ends", || (asked() > 0).then_some(()));
    let nobody = || {
        cloud.status()?;
        endpoints(&cloud, "leaver").is_none_or(|(ready, _)| ready.is_empty()).then_some(())
    };
    within(PATIENCE, "its peers leave it", nobody);
    assert_eq!(counter.ask("http://leaver:8080/", ""), None, "no peer reaches it any more");
    assert!(outside(&leaver).contains("x-name: leaver"), "a load balancer does");
    let before = asked();
    within(PATIENCE, "its own calls are carried", || (asked() > before + 5).then_some(()));
    assert_eq!(leaver.state(SIDECAR)["lastStatus"], "RUNNING");

    docker(&["exec", &leaver.container(APP), "touch", "/tmp/go"]);
    leaver.until("STOPPED");
    assert_eq!([APP, SIDECAR].map(|name| leaver.state(name)["exitCode"].as_i64()), [Some(5), Some(0)]);
    assert!(!leaver.log(APP).contains("Traceback"), "{}", leaver.log(APP));
    cloud.ecs.assert_no_faults();
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
