//! Proofs of tasks before an STS that computes their signatures again with botocore.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use outrigger_controller::attest::Caller;
use outrigger_controller::attest::sts::Sts;
use outrigger_controller::attest::task::{TaskAttestor, TaskRefused};
use outrigger_controller::aws;
use outrigger_controller::settings::StsEndpoint;
use outrigger_controller::source::ecs::client::Api;
use outrigger_controller::source::ecs::record::{Seen, Stage};
use outrigger_controller::source::ecs::watch::watch;
use outrigger_lifecycle::Tasks;
use outrigger_model::WorkloadId;
use outrigger_sidecar::task::Credentials;
use outrigger_sidecar::task::proof::prove;
use outrigger_tests::ecs::Simulator;
use serde_json::{Value, json};
use tokio::sync::watch as channel;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
const BOUND: &str = "sha256:0a/0b";
/// In bridge mode the address is the host's.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));

struct Mesh {
    ecs: Simulator,
    region: String,
    attestor: TaskAttestor,
    seen: channel::Receiver<Seen>,
    _tasks: Tasks,
}

impl Mesh {
    async fn start() -> Self {
        let ecs = Simulator::start();
        let region = ecs.addresses()["region"].as_str().unwrap().to_owned();
        let config = aws::at(ecs.url(), &region).await;
        let (tell, seen) = channel::channel(Seen::default());
        let mut tasks = Tasks::new();
        tasks.spawn("source", watch(Api::new(&config), vec!["default".to_owned()], None, tell));
        let sts = Sts::new(Some(StsEndpoint::try_from(ecs.url().to_owned()).unwrap()));
        Self { region, attestor: TaskAttestor::new(seen.clone(), sts), seen, _tasks: tasks, ecs }
    }

    /// A meshed task in bridge mode, once the source sees it run; its ARN.
    async fn task(&mut self, role: &str) -> String {
        self.ecs.post("instance", json!({ "cluster": "default", "zone": "a" }));
        let labels = json!({ "outrigger.managed": "sidecar", "outrigger.capture": "explicit" });
        let sidecar =
            json!({ "name": "outrigger-sidecar", "image": "s", "memory": 64, "dockerLabels": labels });
        let app = json!({ "name": "cart", "image": "c", "memory": 64 });
        self.ecs.post(
            "definition",
            json!({ "family": "cart", "networkMode": "bridge", "taskRoleArn": role, "containerDefinitions": [app, sidecar] }),
        );
        let made = self.ecs.post("run", json!({ "taskDefinition": "cart", "launchType": "EC2" }));
        let arn = made["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let id = WorkloadId(arn.clone());
        let runs = |seen: &Seen| seen.tasks.get(&id).is_some_and(|task| task.last_status == Stage::Running);
        timeout(LIMIT, self.seen.wait_for(runs)).await.expect("it runs").unwrap();
        arn
    }

    fn credentials(&self, order: Value) -> Credentials {
        Credentials::read(self.ecs.post("credentials", order).to_string().as_bytes()).unwrap()
    }

    /// Calls with a proof that was signed for `bound_to`, over a connection that is [`BOUND`].
    async fn call(&self, credentials: &Credentials, bound_to: &str) -> Result<Caller, TaskRefused> {
        let proof = prove(credentials, &self.region, bound_to, SystemTime::now()).unwrap();
        timeout(LIMIT, self.attestor.caller(Ok(proof), BOUND, FROM)).await.expect("in time")
    }

    async fn refused(&self, credentials: &Credentials, bound_to: &str, words: &str) {
        let refused = self.call(credentials, bound_to).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[tokio::test]
#[ignore = "needs the simulator of ECS: cargo xtask test docker"]
async fn botocore_computes_the_same_signature_and_no_other_is_let_in() {
    let mut mesh = Mesh::start().await;
    let arn = mesh.task("arn:aws:iam::123456789012:role/mesh/cart-task").await;
    let own = mesh.credentials(json!({ "task": arn }));
    let caller = mesh.call(&own, BOUND).await.unwrap();
    assert_eq!((caller.workload.0.as_str(), caller.address), (arn.as_str(), Some(FROM)));

    mesh.refused(&own, "sha256:0a/another", "SignatureDoesNotMatch").await;
    mesh.refused(&own, "sha256:another/0b", "SignatureDoesNotMatch").await;
    let forged = Credentials { secret_access_key: "guessed".into(), ..own.clone() };
    mesh.refused(&forged, BOUND, "SignatureDoesNotMatch").await;
    let other = mesh.credentials(json!({ "task": arn, "role": "arn:aws:iam::123456789012:role/web-task" }));
    mesh.refused(&other, BOUND, "has the role cart-task by its definition, and the proof is of web-task")
        .await;
    let foreign =
        mesh.credentials(json!({ "task": arn, "role": "arn:aws:iam::444455556666:role/cart-task" }));
    mesh.refused(&foreign, BOUND, "the proof is of account 444455556666").await;
    let expired = mesh.credentials(json!({ "task": arn, "lifetime": -1 }));
    mesh.refused(&expired, BOUND, "ExpiredToken").await;
    let revoked = mesh.credentials(json!({ "task": arn }));
    mesh.ecs.post("revoke", json!({ "access_key": revoked.access_key_id }));
    mesh.refused(&revoked, BOUND, "InvalidClientTokenId").await;

    mesh.ecs.post("stop", json!({ "task": arn }));
    let id = WorkloadId(arn.clone());
    let stops = |seen: &Seen| seen.tasks.get(&id).is_none_or(|task| task.is_stopping());
    timeout(LIMIT, mesh.seen.wait_for(stops)).await.expect("it is seen").unwrap();
    let told = mesh.call(&own, BOUND).await.unwrap_err();
    let gone =
        matches!(told, TaskRefused::Stopping(_) | TaskRefused::Unknown { .. } | TaskRefused::Nobody { .. });
    assert!(gone, "{told}");
    mesh.ecs.assert_no_faults();
}
