//! The mesh joins what compose joins, and nothing that compose keeps apart.

use std::time::Duration;

use crate::project::{Project, Setup};

/// `server` stands in two networks, one of which has no way out; `stranger` shares none with it.
const SERVICES: &str = "services:
  server: { image: APPS, networks: [ front, back ] }
  outside: { image: APPS, command: [ sleep, infinity ], init: true, networks: [ front ] }
  inside: { image: APPS, command: [ sleep, infinity ], init: true, networks: [ back ] }
  stranger: { image: APPS, command: [ sleep, infinity ], init: true, networks: [ elsewhere ] }
networks: { front: {}, back: { internal: true }, elsewhere: {} }
";

fn asked(project: &Project, service: &str, host: &str) -> (bool, String) {
    let ask = format!(
        "import urllib.request as r; print(r.urlopen('http://{host}:8080/healthz', timeout=3).read().decode())"
    );
    project.try_exec(service, &["python3", "-c", &ask])
}

#[test]
#[ignore = "needs Docker"]
fn a_service_in_two_networks_is_reached_in_both_and_from_nowhere_else() {
    let project = Setup::new("wire-networks", SERVICES).up();
    project.until_meshed(&["server", "outside", "inside", "stranger"]);
    for service in ["outside", "inside"] {
        let answer = asked(&project, service, "server");
        assert_eq!((answer.0, answer.1.trim()), (true, "ok"), "{service}");
        let edge = project.edge(service, "server");
        assert_eq!((&edge["mtls"], &edge["errors"]), (&true.into(), &0.into()), "{edge}");
    }
    let resolve = ["python3", "-c", "import socket; print(socket.gethostbyname('server'))"];
    let (resolved, text) = project.try_exec("stranger", &resolve);
    assert!(!resolved, "stranger shares no network with server, and resolves it: {text}");
    for host in ["front", "back"].map(|network| project.address("server", network).to_string()) {
        let (answered, text) = asked(&project, "stranger", &host);
        assert!(!answered, "stranger shares no network with server, and reaches {host}: {text}");
    }
    // Names still work for it: it is apart, not broken.
    project.within(Duration::from_secs(10), "stranger resolves itself", || {
        let resolve = ["python3", "-c", "import socket; socket.gethostbyname('stranger')"];
        project.try_exec("stranger", &resolve).0.then_some(())
    });
}
