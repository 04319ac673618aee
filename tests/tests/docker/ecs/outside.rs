//! Services outside the mesh that Cloud Map knows: what the controller sees of them on the simulator, and a meshed task that calls
//! an unmeshed one beside a meshed one of the same service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use outrigger_controller::aws;
use outrigger_controller::source::cloud_map::client::Api;
use outrigger_controller::source::cloud_map::kept::Kept;
use outrigger_controller::source::cloud_map::record::{Answer, Seen};
use outrigger_controller::source::cloud_map::watch::watch;
use outrigger_controller::source::ecs::calls::Calls;
use outrigger_controller::source::file::watch::MeshFile;
use outrigger_model::Mesh;
use outrigger_tests::ecs::Simulator;
use serde_json::{Value, json};
use tokio::runtime;
use tokio::sync::{oneshot, watch as channel};
use tokio::time::timeout;

use super::cloud::{Cloud, PATIENCE};
use super::tasks::{labelled, serving};
use crate::project::within;

const LIMIT: Duration = Duration::from_secs(60);

/// Looks up what this mesh file says, for the cluster `shop`.
struct Watching {
    seen: channel::Receiver<Seen>,
    calls: Calls,
    /// It ends with the value.
    _stop: oneshot::Sender<()>,
}

impl Watching {
    /// On a thread of its own: the simulator is asked with calls that block.
    fn start(ecs: &Simulator, mesh: &str) -> Self {
        let (url, calls) = (ecs.url().to_owned(), Calls::default());
        let region = ecs.addresses()["region"].as_str().expect("the first line has it").to_owned();
        let (tell, seen) = channel::channel(Seen::default());
        let (_stop, stop) = oneshot::channel();
        let mesh = Arc::new(Mesh::read(mesh, "mesh.yaml").expect("a mesh file"));
        let counted = calls.clone();
        let watching = async move {
            let (_file, file) = channel::channel(MeshFile { mesh: Some(mesh), ..MeshFile::default() });
            let api = Api::new(&aws::at(&url, &region).await, counted);
            tokio::select! {
                () = watch(api, file, ["shop".to_owned()].into(), Kept::default(), tell) => {}
                _ = stop => {}
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        thread::spawn(move || runtime.block_on(watching));
        Self { seen, calls, _stop }
    }

    /// The only answer, as soon as it is so.
    async fn until(&mut self, is: impl Fn(&Answer) -> bool) -> Answer {
        let found = timeout(LIMIT, self.seen.wait_for(|seen| only(seen).is_some_and(&is))).await;
        let found = found.map(|found| only(&found.expect("it watches on")).cloned());
        match found {
            Ok(found) => found.expect("there is one"),
            Err(_) => panic!("not within {LIMIT:?}: {:#?}", *self.seen.borrow()),
        }
    }
}

fn only(seen: &Seen) -> Option<&Answer> {
    seen.answers.values().next()
}

fn ids(answer: &Answer) -> BTreeSet<&str> {
    answer.instances.iter().flat_map(|all| all.iter()).map(|instance| instance.id.as_str()).collect()
}

fn register(ecs: &Simulator, id: &str, attributes: Value) {
    let (namespace, service) = ("shop.internal", "billing");
    ecs.post(
        "registered",
        json!({ "namespace": namespace, "service": service, "id": id, "attributes": attributes }),
    );
}

fn deregister(ecs: &Simulator, id: &str) {
    ecs.post("deregistered", json!({ "namespace": "shop.internal", "service": "billing", "id": id }));
}

#[tokio::test]
#[ignore = "needs the simulator of ECS"]
async fn instances_come_and_go_and_no_failure_takes_one_out() {
    let ecs = Simulator::start();
    let all = "services: { billing: { ports: [ 80 ], cloud-map: { namespace: shop.internal, attributes: { stage: prod } } } }";
    let mut source = Watching::start(&ecs, all);
    let refused = source.until(|answer| answer.error.is_some()).await;
    assert!(refused.error.as_ref().is_some_and(|said| said.contains("NamespaceNotFound")), "{refused:?}");
    let begun = timeout(Duration::from_secs(5), source.seen.wait_for(|seen| seen.begun)).await;
    begun.expect("a refusal is not waited for").expect("it watches on");

    register(
        &ecs,
        "i-1",
        json!({ "AWS_INSTANCE_IPV4": "10.0.0.5", "AWS_INSTANCE_PORT": "32768", "stage": "prod" }),
    );
    register(&ecs, "i-2", json!({ "AWS_INSTANCE_IPV4": "10.0.0.6", "stage": "prod" }));
    register(&ecs, "i-3", json!({ "AWS_INSTANCE_IPV4": "10.0.0.7", "stage": "test" }));
    register(&ecs, "evil", json!({ "AWS_INSTANCE_IPV4": "169.254.169.254", "stage": "prod" }));
    register(&ecs, "named", json!({ "AWS_INSTANCE_CNAME": "db.example", "stage": "prod" }));
    let whole = |answer: &Answer| ids(answer).len() == 2 && answer.left_out.len() == 2;
    let answer = source.until(whole).await;
    assert_eq!(ids(&answer), ["i-1", "i-2"].into());
    assert_eq!(answer.error, None);
    let told = answer.left_out.join("\n");
    assert!(
        answer.left_out.len() == 2 && told.contains("169.254.169.254") && told.contains("AWS_INSTANCE_CNAME"),
        "{told}"
    );

    // Throttled, away, or cut: who was there stays.
    for order in [
        json!({ "operation": "DiscoverInstancesRevision", "kind": "throttle", "count": 1 }),
        json!({ "operation": "DiscoverInstancesRevision", "kind": "cut", "count": 1 }),
    ] {
        ecs.post("trouble", order.clone());
        let answer = source.until(|answer| answer.error.is_some()).await;
        assert_eq!(ids(&answer), ["i-1", "i-2"].into(), "{order}");
        let answer = source.until(|answer| answer.error.is_none()).await;
        assert_eq!(ids(&answer), ["i-1", "i-2"].into(), "{order}");
    }
    deregister(&ecs, "i-1");
    let answer = source.until(|answer| ids(answer).len() == 1).await;
    assert_eq!(ids(&answer), ["i-2"].into());
    let calls = source.calls.operations();
    let of = |operation: &str| calls[&*format!("servicediscovery:{operation}")].calls;
    assert!(of("DiscoverInstancesRevision") >= 3 && of("DiscoverInstances") >= 3, "{calls:?}");
    ecs.assert_no_faults();
}

/// Half of the requests to the service go to a task without a sidecar, half to one that has.
const MESH: &str = "
services:
  billing:
    ports: { 8080: http }
    cloud-map: { namespace: shop.internal, version: old }
    routes:
      - backends: [ { version: old, weight: 50 }, { version: v2, weight: 50 } ]
";

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_meshed_task_calls_an_unmeshed_one_beside_a_meshed_one_of_the_same_service() {
    let cloud = Cloud::start_told(|_| vec![format!("OUTRIGGER_MESH_TEXT={MESH}")]);
    let old = serving("billing-old", "awsvpc", "EC2");
    cloud.serve("billing-old", &cloud.made(&old), &old, 1);
    let new = labelled(serving("billing-new", "awsvpc", "FARGATE"), "outrigger.service", "billing");
    cloud.service("billing-new", &labelled(new, "outrigger.version", "v2"), 1);
    cloud.service("web", &serving("web", "awsvpc", "FARGATE"), 1);
    let [old, new, web] = ["billing-old", "billing-new", "web"].map(|service| cloud.task(service));
    assert!(!old.has("outrigger-sidecar"));
    // As ECS registers tasks; the meshed one stands there, too, and a trap.
    for (task, port) in [(&old, "8080"), (&new, "8080")] {
        let id = task.arn.rsplit('/').next().expect("an ARN ends with an id");
        register(
            &cloud.ecs,
            id,
            json!({ "AWS_INSTANCE_IPV4": task.address().to_string(), "AWS_INSTANCE_PORT": port }),
        );
    }
    register(&cloud.ecs, "trap", json!({ "AWS_INSTANCE_IPV4": "169.254.170.2" }));

    let mut seen = BTreeSet::new();
    within(PATIENCE, "both kinds answer", || {
        seen.extend(web.ask("http://billing:8080/healthz", ""));
        (seen.len() == 2).then_some(())
    });
    assert_eq!(seen, ["billing-old".to_owned(), "billing-new".to_owned()].into());

    let billing = within(PATIENCE, "the status of billing", || of_billing(&cloud));
    assert_eq!(
        (&billing["outside"]["registry"], &billing["outside"]["instances"]),
        (&json!("Cloud Map shop.internal/billing"), &json!(1))
    );
    let endpoints = billing["ports"][0]["endpoints"].as_array().expect("endpoints");
    let outside = endpoints.iter().filter(|one| one["outside"] == true).count();
    assert_eq!((endpoints.len(), outside), (2, 1), "{endpoints:?}");
    let status = cloud.status().expect("a controller that runs");
    assert!(status["problems"].to_string().contains("169.254.170.2"), "{}", status["problems"]);
    // Sidecars report every few seconds: the first report may have the meshed one alone.
    let is = |edge: &Value| edge["source"] == "web.default" && edge["destination"] == "billing.default";
    within(PATIENCE, "an edge of which some is plaintext", || {
        let status = cloud.status()?;
        let mut edges = status["edges"].as_array()?.iter();
        (edges.find(|edge| is(edge))?["mtls"] == false).then_some(())
    });

    let id = old.arn.rsplit('/').next().expect("an ARN ends with an id").to_owned();
    deregister(&cloud.ecs, &id);
    let gone = || of_billing(&cloud).filter(|billing| billing["outside"]["instances"] == 0);
    within(PATIENCE, "the unmeshed task is no replica any more", gone);
    cloud.ecs.assert_no_faults();
}

fn of_billing(cloud: &Cloud) -> Option<Value> {
    let status = cloud.status()?;
    status["services"].as_array()?.iter().find(|service| service["name"] == "billing").cloned()
}
