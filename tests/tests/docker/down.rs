//! What the mesh adds to a project goes with the project.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::project::{Setup, docker};

/// How long a sidecar may outlive its application.
const GONE: Duration = Duration::from_secs(10);

const SERVICES: &str = "services:
  server: { image: APPS }
  client: { image: APPS, command: [ sleep, infinity ], init: true }
";

fn listed(words: &[&str]) -> BTreeSet<String> {
    docker(words).lines().map(str::to_owned).collect()
}

fn networks(name: &str) -> BTreeSet<String> {
    listed(&["network", "ls", "--format", "{{.Name}}", "--filter", &format!("name={name}")])
}

/// All volumes that these containers use, anonymous ones too.
fn volumes(containers: &[String]) -> BTreeSet<String> {
    let format = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{println .Name}}{{end}}{{end}}";
    let mounts = containers.iter().flat_map(|container| listed(&["inspect", "-f", format, container]));
    mounts.filter(|volume| !volume.is_empty()).collect()
}

#[test]
#[ignore = "needs Docker"]
fn down_leaves_no_container_and_no_network_and_with_v_no_volume() {
    let project = Setup::new("wire-down", SERVICES).up();
    project.until_meshed(&["client", "server"]);
    project.until_answers("client", "http://server:8080/healthz");
    let made = project.everything();
    let sidecars = made.iter().filter(|name| name.ends_with("-outrigger")).count();
    assert_eq!((made.len(), sidecars), (5, 2), "{made:?}");
    let used = volumes(&made);
    assert!(used.len() > 2, "the controller's two and one for each sidecar: {used:?}");

    project.compose(&["down"]);
    project.within(GONE, "no container is left", || project.everything().is_empty().then_some(()));
    assert_eq!(networks(&project.name), BTreeSet::new());
    let left: BTreeSet<_> = listed(&["volume", "ls", "-q"]).intersection(&used).cloned().collect();
    let named = BTreeSet::from(["outrigger-run", "outrigger-state"].map(|volume| project.full(volume)));
    assert_eq!(left, named, "only what compose keeps by name");

    project.compose(&["down", "-v"]);
    let left: BTreeSet<_> = listed(&["volume", "ls", "-q"]).intersection(&used).cloned().collect();
    assert_eq!(left, BTreeSet::new());
}

#[test]
#[ignore = "needs Docker"]
fn down_right_after_up_leaves_nothing() {
    let project = Setup::new("wire-early", SERVICES).write();
    for round in 0..3 {
        project.compose(&["up", "-d"]);
        // Not a wait for something: each round meets another moment of the injection.
        thread::sleep(Duration::from_millis(round * 200));
        project.compose(&["down", "-v"]);
        project.within(GONE, "no container is left", || project.everything().is_empty().then_some(()));
        assert_eq!(networks(&project.name), BTreeSet::new(), "round {round}");
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_controller_that_is_stopped_while_it_injects_leaves_nothing_half_made() {
    let project = Setup::new("wire-midway", "services: { server: { image: APPS } }\n").up();
    project.until_meshed(&["server"]);
    let (controller, server) = (project.container("outrigger"), project.container("server"));
    let mesh = format!("label=outrigger.mesh={}", project.name);
    let half_made = ["ps", "-a", "--filter", &mesh, "--filter", "status=created", "--format", "{{.Names}}"];
    for round in 0..6 {
        docker(&["stop", "-t", "1", &server]);
        let sidecar = format!("{server}-outrigger");
        let gone = || project.sidecars().iter().all(|(name, _)| *name != sidecar);
        project.within(GONE, "its sidecar is gone", || gone().then_some(()));
        docker(&["start", &server]);
        // Not a wait for something, as above.
        thread::sleep(Duration::from_millis(round * 15));
        docker(&["stop", &controller]);
        assert_eq!(docker(&half_made), "", "round {round}");
        docker(&["start", &controller]);
        project.until_meshed(&["server"]);
    }
}
