//! On the wire between two containers: what they say is plain without the mesh, TLS with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use outrigger_wire::port;

use crate::capture::{Capture, Flow, Opening, hold, is_client_hello, openings};
use crate::project::{Project, Setup, apps};

/// In the body that the client sends.
const ASKED: &str = "canary-of-the-client";
/// In a header of what the server answers.
const ANSWERED: &str = "canary-of-the-server";

/// What crossed the bridge while a client sent three requests, each over its own connection.
struct Wire {
    frames: Vec<Vec<u8>>,
    openings: BTreeMap<Flow, Opening>,
    server: Ipv4Addr,
}

fn watched(project: &Project) -> Wire {
    let address = |service| project.address(service, "default");
    let (client, server) = (address("client"), address("server"));
    let capture = Capture::start(project, "default", &apps());
    for number in 1..=3 {
        let post = format!(
            "import urllib.request as r; a = r.urlopen('http://server:8080/count/{number}', b'{ASKED}', timeout=10); \
             print(a.status, a.headers['x-name'])"
        );
        assert_eq!(project.exec("client", &["python3", "-c", &post]).trim(), format!("200 {ANSWERED}"));
    }
    let frames = capture.end(project, "client", server);
    let openings = openings(&frames, client, server);
    Wire { frames, openings, server }
}

fn setup(test: &str) -> Setup {
    let text = format!(
        "services:
  server: {{ image: APPS, environment: {{ NAME: {ANSWERED} }} }}
  client: {{ image: APPS, command: [ sleep, infinity ], init: true }}
"
    );
    Setup::new(test, &text)
}

#[test]
#[ignore = "needs Docker"]
fn without_the_mesh_the_capture_reads_every_word() {
    let project = Setup { meshed: false, ..setup("wire-plain") }.up();
    project.until_answers("client", "http://server:8080/healthz");
    let wire = watched(&project);
    assert!(hold(&wire.frames, ASKED), "the client's body is in the frames");
    assert!(hold(&wire.frames, ANSWERED), "the server's answer is in the frames");
    assert_eq!(wire.openings.len(), 3, "{:?}", wire.openings.keys());
    for (flow, opening) in &wire.openings {
        assert_eq!((*flow.to.ip(), flow.to.port()), (wire.server, 8080));
        assert!(opening.first.starts_with(b"POST /count/"), "{flow:?} {opening:?}");
    }
}

#[test]
#[ignore = "needs Docker"]
fn with_the_mesh_every_flow_is_tls_and_no_word_is_read() {
    let project = setup("wire-mesh").up();
    project.until_meshed(&["client", "server"]);
    let wire = watched(&project);
    assert!(!hold(&wire.frames, ASKED), "the client's body crossed the bridge in clear");
    assert!(!hold(&wire.frames, ANSWERED), "the server's answer crossed the bridge in clear");
    assert!(!wire.openings.is_empty(), "the requests crossed the bridge");
    for (flow, opening) in &wire.openings {
        assert!(opening.syn.is_some(), "{flow:?} is older than the capture: {opening:?}");
        assert_eq!((*flow.to.ip(), flow.to.port()), (wire.server, port::MESH), "{flow:?}");
        assert!(is_client_hello(&opening.first), "{flow:?} begins with {:02x?}", opening.first);
    }
    let edge = project.edge("client", "server");
    assert_eq!((&edge["mtls"], &edge["requests"]), (&true.into(), &3.into()), "{edge}");
}
