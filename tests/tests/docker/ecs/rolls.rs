//! A newer sidecar image comes to services that are meshed already.

use std::time::Duration;

use serde_json::{Value, json};

use super::cloud::Cloud;
use super::tasks::{APP, calling, serving, storing};
use crate::project::{Posting, docker, image, tried, within};

/// For three services, one after another.
const LIMIT: Duration = Duration::from_secs(240);
/// POSTs per second.
const RATE: u64 = 50;

/// The sidecar's image under another tag.
struct Newer(String);

impl Newer {
    fn of(tag: &str) -> Self {
        let newer = format!("{}-{tag}", image("sidecar"));
        docker(&["tag", &image("sidecar"), &newer]);
        Self(newer)
    }
}

impl Drop for Newer {
    fn drop(&mut self) {
        let _gone = tried(&["rmi", &self.0]);
    }
}

/// State and words of a service's injection.
fn stands(cloud: &Cloud, service: &str) -> Option<(String, String)> {
    let status = cloud.status()?;
    let found =
        status["injections"].as_array()?.iter().find(|one| one["service"] == format!("{service}.default"))?;
    Some((found["state"].as_str()?.to_owned(), found["what"].as_str()?.to_owned()))
}

/// Waits until every task of a service runs this revision, and the service says it is so.
fn settles(cloud: &Cloud, service: &str, revision: &str, state: &str) -> String {
    within(LIMIT, &format!("{service}: {state} at {revision}"), || {
        let services = cloud.ecs.records("service");
        let found = services.iter().find(|one| one["serviceName"] == service)?;
        let there = found["taskDefinition"].as_str()?.ends_with(revision);
        let alone = found["deployments"].as_array()?.len() == 1;
        let (is, what) = stands(cloud, service)?;
        (there && alone && is == state).then_some(what)
    })
}

/// Its application serves only if the instance's folder had a file `well` when it started.
fn falling_ill(store: &str) -> Value {
    let mut ill = storing(serving("ill", "awsvpc", "EC2"), store);
    let start = "test -e /seen/well && exec python3 -u counter.py; exec sleep infinity";
    let app = &mut ill["containerDefinitions"][0];
    app["command"] = json!(["sh", "-c", start]);
    let check = ["CMD", "curl", "-sf", "http://127.0.0.1:8080/healthz"];
    app["healthCheck"] =
        json!({ "command": check, "interval": 5, "timeout": 2, "retries": 2, "startPeriod": 10 });
    ill
}

fn image_is(image: &str) -> String {
    format!("OUTRIGGER_SIDECAR_IMAGE={image}")
}

fn sidecar_of(definition: &Value) -> &str {
    let containers = definition["containerDefinitions"].as_array().unwrap();
    let sidecar = containers.iter().find(|one| one["name"] == "outrigger-sidecar").unwrap();
    sidecar["image"].as_str().unwrap()
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn a_newer_image_rolls_into_one_service_after_another_and_no_request_is_lost() {
    let next = Newer::of("next");
    let old = image("sidecar");
    let cloud = Cloud::start_told(|_| vec![image_is(&old)]);
    let store = cloud.folder.display().to_string();
    cloud.tagged("counter", &storing(serving("counter", "awsvpc", "EC2"), &store), 2);
    cloud.tagged("web", &serving("web", "awsvpc", "EC2"), 1);
    std::fs::write(cloud.folder.join("well"), "").unwrap();
    cloud.tagged("ill", &falling_ill(&store), 1);
    for service in ["counter", "web", "ill"] {
        settles(&cloud, service, ":2", "meshed");
    }
    cloud.service("caller", &calling("caller", "awsvpc", "FARGATE"), 1);
    let caller = cloud.task("caller");
    for url in ["http://counter:8080/healthz", "http://web:8080/healthz", "http://ill:8080/healthz"] {
        cloud.until_answers(&caller, url);
    }

    let posting = Posting::start_in(&caller.container(APP), &cloud.folder.join("store"), RATE);
    std::fs::remove_file(cloud.folder.join("well")).unwrap();
    cloud.replace_controller(vec![image_is(&next.0)]);
    let mut together = Vec::new();
    let why = within(LIMIT, "all have had their turn", || {
        let services = cloud.ecs.records("service");
        let moving =
            services.iter().filter(|one| one["deployments"].as_array().is_some_and(|all| all.len() > 1));
        together.push(moving.count());
        let there = |name: &str| {
            let service = services.iter().find(|one| one["serviceName"] == name)?;
            (service["taskDefinition"].as_str()?.ends_with(":3") && stands(&cloud, name)?.0 == "meshed")
                .then_some(())
        };
        let (state, why) = stands(&cloud, "ill")?;
        if why.starts_with("goes back") {
            std::fs::write(cloud.folder.join("well"), "").unwrap();
        }
        there("counter").and(there("web"))?;
        (state == "refused").then_some(why)
    });
    assert!(together.iter().all(|moving| *moving <= 1), "one at a time: {together:?}");
    assert!(
        why.contains("sidecar image") && why.contains("-next") && why.contains("circuit breaker"),
        "{why}"
    );
    settles(&cloud, "ill", ":2", "refused");
    posting.more(1);
    posting.finish();
    assert_eq!(
        cloud.until_answers(&caller, "http://ill:8080/healthz"),
        "ill",
        "it serves on with what it had"
    );

    for definition in cloud.ecs.records("definition") {
        let arn = definition["taskDefinitionArn"].as_str().unwrap();
        if let Some((_, number)) =
            arn.rsplit_once(':').filter(|(_, number)| *number != "1" && !arn.contains("caller"))
        {
            assert_eq!(sidecar_of(&definition), if number == "2" { &old } else { &next.0 }, "{arn}");
        }
    }
    cloud.ecs.assert_no_faults();
}
