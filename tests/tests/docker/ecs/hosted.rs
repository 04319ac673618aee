//! End to end: where sidecars leave the hosts file alone, names of a hosted zone lead through the mesh.

use super::cloud::{Cloud, PATIENCE, Task};
use super::route53::{Records, Route53, address};
use super::tasks::{APP, calling, labelled, serving};
use crate::project::{docker, image, tried, within};

/// What a call to `http://counter.default.mesh.internal:8080` answers in `x-name`, by the address that the zone has for it.
fn calls(task: &Task<'_>, records: &Records) -> Option<String> {
    let at = records[&address("counter.default")].join(",");
    let (host, url) = ("counter.default.mesh.internal", "http://counter.default.mesh.internal:8080/healthz");
    let resolve = format!("{host}:8080:{at}");
    let output =
        tried(&["exec", &task.container(APP), "curl", "-sSfi", "-m", "5", "--resolve", &resolve, url]);
    let text = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    let named = text.lines().find_map(|line| line.strip_prefix("x-name:"));
    named.filter(|_| output.status.success()).map(|name| name.trim().to_owned())
}

/// Waits until every call of a service to `counter` is seen, over mutual TLS.
fn until_meshed(cloud: &Cloud, caller: &str) {
    let source = format!("{caller}.default");
    within(PATIENCE, &format!("an edge of {caller} over TLS"), || {
        let status = cloud.status()?;
        let mut edges = status["edges"].as_array()?.iter();
        let edge = edges.find(|one| one["source"] == *source && one["destination"] == "counter.default")?;
        (edge["mtls"] == true).then_some(())
    });
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn names_of_a_hosted_zone_lead_through_the_mesh_where_the_hosts_file_is_left_alone() {
    let route53 = Route53::at("0.0.0.0");
    let zones = ["platform", "names"].map(|capture| (capture, route53.zone(true)));
    let told = |gateway: &str, (capture, zone): &(&str, String)| {
        vec![
            format!("AWS_ENDPOINT_URL_ROUTE_53={}", route53.url_at(gateway)),
            format!("OUTRIGGER_SIDECAR_IMAGE={}", image("sidecar")),
            "OUTRIGGER_INJECT_NAMES=zone".to_owned(),
            format!("OUTRIGGER_NAMES_ZONE={zone}"),
            format!("OUTRIGGER_NAMES_FOR={capture}"),
        ]
    };
    let cloud = Cloud::start_told(|gateway| told(gateway, &zones[0]));
    let captured =
        |name: &str, capture| labelled(calling(name, "awsvpc", "FARGATE"), "outrigger.capture", capture);
    for capture in ["platform", "names"] {
        cloud.tagged(capture, &captured(capture, capture), 1);
    }
    let callers = ["platform", "names"].map(|capture| cloud.moved(capture));
    // Born after its callers.
    cloud.service("counter", &serving("counter", "awsvpc", "EC2"), 1);
    cloud.task("counter");

    for (caller, zone, range) in [(&callers[0], &zones[0], "240.64."), (&callers[1], &zones[1], "127.64.")] {
        if range == "127.64." {
            cloud.replace_controller(told(cloud.gateway(), zone));
        }
        let log = || cloud.controller_log();
        let written = |records: &Records| records.contains_key(&address("counter.default"));
        let records = route53.until(&zone.1, log, written);
        assert!(records[&address("counter.default")][0].starts_with(range), "{records:?}");
        let hosts = docker(&["exec", &caller.container(APP), "cat", "/etc/hosts"]);
        assert!(!hosts.contains("counter"), "{hosts}");
        assert_eq!(within(PATIENCE, "an answer", || calls(caller, &records)), "counter");
        until_meshed(&cloud, zone.0);
    }
    cloud.ecs.assert_no_faults();
}
