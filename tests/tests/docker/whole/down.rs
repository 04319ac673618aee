//! What the mesh adds to a project goes with the project.

use std::collections::BTreeSet;
use std::time::Duration;

use super::project::{Project, apps, docker, until};

/// How long a sidecar may outlive its application.
const GONE: Duration = Duration::from_secs(10);

fn listed(words: &[&str]) -> BTreeSet<String> {
    docker(words).lines().map(str::to_owned).collect()
}

/// Every container that belongs to the project or to its mesh, ended ones too.
fn containers(name: &str) -> BTreeSet<String> {
    let labels = ["com.docker.compose.project", "outrigger.mesh"];
    let filters =
        labels.map(|label| format!("label={label}={name}")).into_iter().chain([format!("name={name}_")]);
    let list = |filter: String| listed(&["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]);
    filters.flat_map(list).collect()
}

fn networks(name: &str) -> BTreeSet<String> {
    listed(&["network", "ls", "--format", "{{.Name}}", "--filter", &format!("name={name}")])
}

/// All volumes that these containers use, anonymous ones too.
fn volumes(containers: &BTreeSet<String>) -> BTreeSet<String> {
    let format = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{println .Name}}{{end}}{{end}}";
    let mounts = containers.iter().flat_map(|container| listed(&["inspect", "-f", format, container]));
    mounts.filter(|volume| !volume.is_empty()).collect()
}

#[test]
#[ignore = "needs Docker"]
fn down_leaves_no_container_and_no_network_and_with_v_no_volume() {
    let name = "wire-down";
    let image = apps();
    let services = format!(
        "services:
  server: {{ image: '{image}' }}
  client: {{ image: '{image}', command: [ sleep, infinity ], init: true }}
"
    );
    let project = Project::meshed(name, &services);
    project.until_meshed(&["client", "server"]);
    project.until_answers("client", "http://server:8080/healthz");
    let made = containers(name);
    let sidecars = made.iter().filter(|name| name.ends_with("-outrigger")).count();
    assert_eq!((made.len(), sidecars), (5, 2), "{made:?}");
    let used = volumes(&made);
    assert!(used.len() > 2, "the controller's two and one for each sidecar: {used:?}");

    project.compose(&["down"]);
    until("no container is left", GONE, || containers(name).is_empty().then_some(()));
    assert_eq!(networks(name), BTreeSet::new());
    let left: BTreeSet<_> = listed(&["volume", "ls", "-q"]).intersection(&used).cloned().collect();
    let named = BTreeSet::from(["outrigger-run", "outrigger-state"].map(|volume| format!("{name}_{volume}")));
    assert_eq!(left, named, "only what compose keeps by name");

    project.compose(&["down", "-v"]);
    let left: BTreeSet<_> = listed(&["volume", "ls", "-q"]).intersection(&used).cloned().collect();
    assert_eq!(left, BTreeSet::new());
}
