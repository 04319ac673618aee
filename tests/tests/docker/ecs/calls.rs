//! End to end: tasks in every network mode call each other by name, over TLS; services born later are there too.

use std::net::Ipv4Addr;

use outrigger_wire::port;
use serde_json::{Value, json};

use super::cloud::{Cloud, PATIENCE, Task};
use super::tasks::{APP, SIDECAR, calling, labelled, reached, restarting, serving, told};
use crate::capture::{Capture, hold, is_client_hello, openings};
use crate::project::{apps, docker, within};

/// In the body that callers send.
const ASKED: &str = "canary-of-the-caller";

fn up() -> Cloud {
    let cloud = Cloud::start();
    cloud.service("counter", &serving("counter", "awsvpc", "EC2"), 1);
    let web = serving("web", "awsvpc", "FARGATE");
    cloud.serve("web", &cloud.made(&restarting(cloud.meshed(&web))), &web, 1);
    cloud.service("batch", &labelled(calling("batch", "awsvpc", "EC2"), "outrigger.capture", "names"), 1);
    cloud.service("stock", &bridged(), 1);
    cloud.service("desk", &hosted(), 1);
    cloud
}

/// In host mode it shares the instance's network with whoever else does: its port is not one of the others.
fn hosted() -> Value {
    let desk = labelled(serving("desk", "host", "EC2"), "outrigger.upstreams", "counter:8080=9002");
    let mut desk = told(desk, "PORT", "8090");
    desk["containerDefinitions"][0]["portMappings"] = json!([{ "containerPort": 8090 }]);
    desk
}

/// The port of the instance that leads to the sidecar of a task in bridge mode.
fn host_port(task: &Task<'_>) -> u16 {
    let sidecar = task.state(SIDECAR);
    let mut bindings = sidecar["networkBindings"].as_array().expect("it maps ports").iter();
    let mesh = bindings.find(|one| one["containerPort"] == port::MESH).expect("its port for peers is mapped");
    mesh["hostPort"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
}

/// In bridge mode each container has a network of its own: application and sidecar meet at a port of the instance.
fn bridged() -> Value {
    labelled(reached(serving("stock", "bridge", "EC2")), "outrigger.upstreams", "counter:8080=9001")
}

/// What the mesh saw between two services, as soon as it is reported.
fn edge(cloud: &Cloud, source: &str, destination: &str) -> Value {
    let named = |service: &str| format!("{service}.default");
    within(PATIENCE, &format!("an edge from {source} to {destination}"), || {
        let status = cloud.status()?;
        let mut edges = status["edges"].as_array()?.iter();
        edges
            .find(|edge| edge["source"] == named(source) && edge["destination"] == named(destination))
            .cloned()
    })
}

/// Every connection between the two leads to a sidecar's port for peers, one of these, and those that opened meanwhile
/// began with TLS.
fn is_tls(frames: &[Vec<u8>], caller: Ipv4Addr, callee: Ipv4Addr, ports: &[u16]) {
    let openings = openings(frames, caller, callee);
    assert!(!openings.is_empty(), "requests crossed the network between {caller} and {callee}");
    for (flow, opening) in &openings {
        assert!(ports.contains(&flow.from.port()) || ports.contains(&flow.to.port()), "{flow:?}");
        let begins = opening.syn.is_none() || is_client_hello(&opening.first);
        assert!(begins, "{flow:?} begins with {:02x?}", opening.first);
    }
}

#[test]
#[ignore = "needs Docker and the simulator of ECS"]
fn tasks_in_every_network_mode_call_each_other_by_name_over_tls() {
    let cloud = up();
    let [counter, web, batch, stock, desk] =
        ["counter", "web", "batch", "stock", "desk"].map(|service| cloud.task(service));
    let calls: [(&Task<'_>, &str, &str); 8] = [
        (&web, "counter", "http://counter:8080/healthz"),
        (&batch, "counter", "http://counter:8080/healthz"),
        (&batch, "web", "http://web:8080/healthz"),
        (&counter, "web", "http://web:8080/healthz"),
        (&stock, "counter", "http://outrigger-sidecar:9001/healthz"),
        (&counter, "stock", "http://stock:8080/healthz"),
        (&desk, "counter", "http://127.0.0.1:9002/healthz"),
        (&counter, "desk", "http://desk:8090/healthz"),
    ];
    for (caller, callee, url) in calls {
        assert_eq!(cloud.until_answers(caller, url), callee);
    }

    let (bridge, name) = cloud.wire();
    let capture = Capture::on(bridge, name, &apps());
    for (caller, callee, url) in calls {
        let url = url.replace("healthz", "count/1");
        assert_eq!(caller.ask(&url, ASKED).as_deref(), Some(callee), "{url}");
    }
    let frames = capture.end_in(&batch.container(APP), counter.address());
    assert!(!hold(&frames, ASKED), "a caller's body crossed the network in clear");
    is_tls(&frames, web.address(), counter.address(), &[port::MESH]);
    is_tls(&frames, batch.address(), web.address(), &[port::MESH]);
    // The tasks in bridge and host mode have the address of one instance.
    let bridged = host_port(&stock);
    assert_ne!(bridged, port::MESH);
    is_tls(&frames, counter.address(), stock.address(), &[port::MESH, bridged]);
    let crossed = |port| {
        openings(&frames, counter.address(), stock.address()).keys().any(|flow| flow.to.port() == port)
    };
    assert!(crossed(bridged) && crossed(port::MESH), "both were called over the network");
    let edges = [("web", "counter"), ("batch", "web"), ("stock", "counter"), ("counter", "stock")];
    for (caller, callee) in edges.into_iter().chain([("desk", "counter"), ("counter", "desk")]) {
        assert_eq!(edge(&cloud, caller, callee)["mtls"], true, "{caller} to {callee}");
    }

    cloud.service("late", &serving("late", "awsvpc", "FARGATE"), 1);
    for caller in [&web, &batch, &counter] {
        assert_eq!(cloud.until_answers(caller, "http://late:8080/healthz"), "late");
    }

    // A sidecar that dies is started again in its task, where ECS is told to.
    let started = |container| docker(&["inspect", "-f", "{{.State.StartedAt}}", &web.container(container)]);
    let before = [APP, SIDECAR].map(started);
    docker(&["kill", "-s", "KILL", &web.container(SIDECAR)]);
    within(PATIENCE, "it runs again", || (started(SIDECAR) != before[1]).then_some(()));
    assert_eq!(cloud.until_answers(&counter, "http://web:8080/healthz"), "web");
    assert_eq!(cloud.until_answers(&web, "http://counter:8080/healthz"), "counter");
    assert_eq!((cloud.task("web").arn, started(APP)), (web.arn.clone(), before[0].clone()), "the same task");
    cloud.ecs.assert_no_faults();
}
