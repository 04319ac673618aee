//! A statically injected project: each replica's namespace has a holder, application and sidecar are joined to it.

use std::collections::BTreeSet;

use outrigger_wire::port;
use serde_json::Value;

use crate::capture::{Capture, hold, is_client_hello, openings};
use crate::project::{COUNTER, Posting, Project, Setup, apps, docker};

/// In a header of the caller's very first call.
const ASKED: &str = "canary-of-the-first-call";

/// What bash does first is to connect; the caller's exit code says whether it was answered well.
const FIRST_CALL: &str = r#"
services:
  server: { image: APPS }
  other: { image: APPS, command: [ sleep, infinity ], init: true }
  caller:
    image: APPS
    command:
      - bash
      - -c
      - >-
        exec 3<>/dev/tcp/server/8080 &&
        printf 'POST /count/1 HTTP/1.1\r\nhost: server\r\nx-asked: canary-of-the-first-call\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' >&3 &&
        head -n 1 <&3 | grep ' 200 '
"#;

/// The container of a service, also of one that has ended.
fn container(project: &Project, service: &str) -> String {
    let project = format!("label=com.docker.compose.project={}", project.name);
    let service = format!("label=com.docker.compose.service={service}");
    docker(&["ps", "-aq", "--filter", &project, "--filter", &service]).trim().to_owned()
}

#[test]
#[ignore = "needs Docker"]
fn the_very_first_call_of_an_application_is_tls_on_the_wire() {
    let project = Setup::new("holder-first", FIRST_CALL).inject();
    project.compose(&["up", "-d", "--no-deps", "server-holder"]);
    let capture = Capture::start(&project, "default", &apps());
    // Without a mesh, too, a call fails that comes before anybody listens.
    project.compose(&["up", "-d", "server"]);
    project.endpoints("server", 8080, 1);
    project.compose(&["up", "-d"]);
    let caller = container(&project, "caller");
    let code = docker(&["wait", &caller]);
    assert_eq!(code.trim(), "0", "{}", project.log(&caller));
    let [caller, server] =
        ["caller-holder", "server-holder"].map(|holder| project.address(holder, "default"));
    let frames = capture.end(&project, "other", server);
    assert!(!hold(&frames, ASKED), "the first call crossed the bridge in clear");
    let openings = openings(&frames, caller, server);
    assert!(!openings.is_empty(), "it crossed the bridge");
    for (flow, opening) in &openings {
        assert_eq!((*flow.to.ip(), flow.to.port()), (server, port::MESH), "{flow:?}");
        assert!(is_client_hello(&opening.first), "{flow:?} begins with {:02x?}", opening.first);
    }
}

fn replicated() -> Setup {
    let text = COUNTER.replacen("  counter:\n", "  counter:\n    deploy: { replicas: 3 }\n", 1);
    Setup::new("holder-loss", &text)
}

const REPLICAS: [&str; 3] = ["counter", "counter-2", "counter-3"];

/// When each running container of the project began its present run, by name.
fn runs(project: &Project) -> BTreeSet<(String, String)> {
    let filter = format!("label=com.docker.compose.project={}", project.name);
    let ids = docker(&["ps", "-q", "--filter", &filter]);
    let inspect: Vec<&str> =
        ["inspect", "-f", "{{.Name}} {{.State.StartedAt}}"].into_iter().chain(ids.lines()).collect();
    let runs = docker(&inspect);
    runs.lines().filter_map(|line| line.split_once(' ')).map(|(n, s)| (n.into(), s.into())).collect()
}

/// Waits until this container, by its name, has another run, all endpoints are there, and POSTs went on.
fn again(project: &Project, container: &str, before: &BTreeSet<(String, String)>, posting: &Posting) {
    let name = format!("/{container}");
    project.until(&format!("another run of {container}"), || {
        let now = runs(project);
        now.iter().any(|run| run.0 == name && !before.contains(run)).then_some(())
    });
    settled(project);
    posting.more(1);
}

fn settled(project: &Project) -> Value {
    project.meshed(4);
    project.endpoints("counter", 8080, 3)
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_each_container_of_each_replica_restarts() {
    let project = replicated().inject();
    project.compose(&["up", "-d"]);
    let status = settled(&project);
    let counter = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "counter");
    let endpoints = counter.unwrap()["ports"][0]["endpoints"].as_array().unwrap();
    let names: BTreeSet<&str> = endpoints.iter().map(|e| e["workload"].as_str().unwrap()).collect();
    let wanted: Vec<String> = (1..=3).map(|number| format!("{}-counter-{number}", project.name)).collect();
    assert_eq!(names, wanted.iter().map(String::as_str).collect());
    let posting = Posting::start(&project);
    for replica in REPLICAS {
        for part in ["", "-sidecar"] {
            let (container, before) = (project.container(&format!("{replica}{part}")), runs(&project));
            docker(&["restart", &container]);
            again(&project, &container, &before, &posting);
        }
        // With the holder, what is joined to it starts again too, and the mesh sees to it: perhaps before `restart` returns, so
        // that the names are asked for while all of it runs.
        let joined = [format!("{replica}-sidecar"), replica.to_owned()].map(|part| project.container(&part));
        let before = runs(&project);
        docker(&["restart", &project.container(&format!("{replica}-holder"))]);
        for container in &joined {
            again(&project, container, &before, &posting);
        }
    }
    let answered = posting.finish();
    assert_eq!(answered.len(), 3, "every replica answered: {answered:?}");
}

#[test]
#[ignore = "needs Docker"]
fn down_leaves_nothing_of_an_injected_project() {
    let project = replicated().inject();
    project.compose(&["up", "-d"]);
    settled(&project);
    // Also after the mesh had to start something again.
    let before = runs(&project);
    docker(&["kill", &project.container("counter-2-holder")]);
    docker(&["start", &container(&project, "counter-2-holder")]);
    let name = format!("/{}", project.container("counter-2"));
    project.until("its application again", || {
        runs(&project).iter().any(|run| run.0 == name && !before.contains(run)).then_some(())
    });
    settled(&project);
    let filter = format!("label=com.docker.compose.project={}", project.name);
    let volumes = docker(&["volume", "ls", "-q", "--filter", "dangling=false"]);
    let mounted = "{{range .Mounts}}{{.Name}} {{end}}";
    let ours: Vec<String> = project
        .everything()
        .iter()
        .flat_map(|name| {
            docker(&["inspect", "-f", mounted, name])
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|volume| volumes.lines().any(|line| line == volume))
        .collect();
    project.compose(&["down", "-v"]);
    assert_eq!(project.everything(), Vec::<String>::new());
    assert_eq!(docker(&["network", "ls", "-q", "--filter", &filter]), "");
    let left = docker(&["volume", "ls", "-q"]);
    let left: Vec<_> = left.lines().filter(|volume| ours.iter().any(|our| our == volume)).collect();
    assert_eq!(left, Vec::<&str>::new(), "anonymous volumes of sidecars too");
}

/// docker-compose 1.29 made the holder anew and left the others joined to the one before, without a network.
#[test]
#[ignore = "needs Docker"]
fn who_is_joined_follows_a_holder_whose_definition_changed() {
    let before = COUNTER.replace("APPS", &apps());
    let project = Setup::new("holder-change", &before).write();
    let files = project.files.clone();
    let mut project = project.injected();
    project.compose(&["up", "-d"]);
    project.endpoints("counter", 8080, 1);
    let holder = container(&project, "counter-holder");

    let after =
        before.replacen("  counter:\n", "  counter:\n    extra_hosts: [ 'elsewhere:192.0.2.7' ]\n", 1);
    project.write("docker-compose.yaml", &after);
    project.files = files;
    let project = project.injected();
    project.compose(&["up", "-d"]);
    assert_ne!(container(&project, "counter-holder"), holder, "it was made anew");
    let holder = docker(&["inspect", "-f", "{{.Id}}", &container(&project, "counter-holder")]);
    for service in ["counter", "counter-sidecar"] {
        let mode = docker(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", &container(&project, service)]);
        assert_eq!(mode.trim(), format!("container:{}", holder.trim()), "{service}");
    }
    project.meshed(2);
    project.endpoints("counter", 8080, 1);
    project.until_answers("caller", "http://counter:8080/healthz");
}
