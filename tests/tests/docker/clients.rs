//! Real clients through the mesh, with two replicas of what they call. What is looked at stands in `tests/apps/clients`:
//! each script is a list of named checks.

use std::time::Duration;

use serde_json::Value;

use crate::postgres;
use crate::project::{Project, Setup, docker};

/// How long the checks of one client may take on a busy machine.
const CHECKS: Duration = Duration::from_secs(240);

/// Limits of requests that are shorter than what byte streams and upgraded connections last.
const MESH: &str = "services: { web: { timeout: 4s }, redis: { timeout: 1s }, database: { timeout: 1s } }\n";

fn setup(services: &str) -> Setup {
    let text = format!(
        "services:\n  caller: {{ image: APPS, command: [ sleep, infinity ], init: true, working_dir: /app/clients }}\n{services}"
    );
    let mounted = Some(("/etc/outrigger".to_owned(), vec![("mesh.yaml".to_owned(), MESH.to_owned())]));
    Setup { mounted, ..Setup::new("clients", &text) }
}

/// Runs a script of checks in `caller`; all of them must go well, and there must be this many.
pub fn checks(project: &Project, words: &[&str], count: usize) {
    let limit = CHECKS.as_secs().to_string();
    let (succeeded, text) = project.try_exec("caller", &[&["timeout", &limit][..], words].concat());
    println!("--- {words:?}\n{text}");
    let went_well = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(succeeded, "{words:?}: {text}");
    assert_eq!(went_well, count, "{words:?} ran other checks than it should: {text}");
}

/// Nothing went in clear: every edge, also those that nobody expects, is mutual TLS.
pub fn nothing_in_clear(project: &Project, destinations: &[&str]) {
    for destination in destinations {
        let edge = project.edge("caller", destination);
        assert_eq!(edge["mtls"], true, "{edge}");
    }
    let status = project.status().unwrap();
    let plain: Vec<&Value> =
        status["edges"].as_array().unwrap().iter().filter(|edge| edge["mtls"] != true).collect();
    assert!(plain.is_empty(), "in clear: {plain:?}");
    for sidecar in status["sidecars"].as_array().unwrap() {
        assert_eq!(sidecar["unmeshed_connections"], 0, "{sidecar:#}");
    }
}

#[test]
#[ignore = "needs Docker"]
fn curl_python_node_and_websocket_libraries_through_the_mesh() {
    let project =
        setup("  web: { image: APPS, command: [ node, clients/serve.js ], init: true, scale: 2 }\n").up();
    project.meshed(3);
    for port in [8080, 8082, 8443] {
        project.endpoints("web", port, 2);
    }
    checks(&project, &["python3", "with_curl.py"], 18);
    checks(&project, &["python3", "with_python.py"], 8);
    checks(&project, &["node", "with_node.js"], 7);
    checks(&project, &["python3", "with_websockets.py"], 9);
    checks(&project, &["node", "with_ws.js"], 1);
    nothing_in_clear(&project, &["web"]);
}

#[test]
#[ignore = "needs Docker"]
fn grpcio_through_the_mesh_and_its_channel_survives_the_replacement_of_each_replica() {
    let project =
        setup("  grpc: { image: APPS, command: [ python3, clients/grpc_serve.py ], init: true, scale: 2 }\n")
            .up();
    project.meshed(3);
    project.endpoints("grpc", 50051, 2);
    checks(&project, &["python3", "with_grpcio.py"], 12);

    let caller = project.container("caller");
    let steady = "python3 grpc_steady.py > /tmp/steady 2>&1; echo $? > /tmp/steady.code";
    docker(&["exec", "-d", &caller, "sh", "-c", steady]);
    project.until("calls are under way", || there(&project, "/tmp/under-way"));
    for replica in project.containers("grpc") {
        docker(&["restart", "--time", "10", &replica]);
        project.endpoints("grpc", 50051, 2);
    }
    project.exec("caller", &["touch", "/tmp/enough"]);
    project.until("the last call ended", || there(&project, "/tmp/steady.code"));
    let said = project.exec("caller", &["cat", "/tmp/steady"]);
    assert_eq!(project.exec("caller", &["cat", "/tmp/steady.code"]).trim(), "0", "{said}");
    assert!(said.contains("failed 0"), "{said}");
    nothing_in_clear(&project, &["grpc"]);
}

fn there(project: &Project, file: &str) -> Option<()> {
    project.try_exec("caller", &["test", "-e", file]).0.then_some(())
}

#[test]
#[ignore = "needs Docker"]
fn psql_and_redis_cli_through_the_mesh() {
    let image = postgres::image();
    let services = format!(
        "  redis: {{ image: APPS, command: [ redis-server, --bind, '*', --protected-mode, 'no', --save, '' ] }}
  database:
    image: '{image}'
    environment: {{ POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: correct-horse }}
"
    );
    let project = setup(&services).up();
    project.meshed(3);
    project.endpoints("redis", 6379, 1);
    checks(&project, &["python3", "with_redis_cli.py"], 6);
    checks(&project, &["python3", "with_psql.py"], 8);
    nothing_in_clear(&project, &["redis", "database"]);
}
