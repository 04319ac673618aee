//! Whoever reaches the control socket without being the first process of a sidecar gets nothing.

use crate::project::{Setup, docker, image};

const SERVICES: &str = "services:
  app: { image: APPS, command: [ sleep, infinity ], init: true }
";

#[test]
#[ignore = "needs a Docker engine"]
fn a_process_in_another_container_or_beside_the_sidecar_is_refused() {
    let project = Setup::new("impostor", SERVICES).up();
    project.meshed(1);
    let (run, impostor) = (project.full("outrigger-run"), format!("{}-impostor", project.name));
    let run = format!("{run}:/run/outrigger");
    let label = format!("com.docker.compose.project={}", project.name);
    // The very same program, with the sidecar's user and its socket; all it lacks is being ours.
    let words = ["run", "-d", "--name", &impostor, "--label", &label, "--user", "61337:61337", "-v", &run];
    docker(&[&words[..], &[&image("sidecar")]].concat());
    // A second process in the sidecar's own container.
    let own = format!("{}-outrigger", project.container("app"));
    let aside = ["-e", "OUTRIGGER_ADMIN=127.0.0.1:0", "-e", "OUTRIGGER_STATE=/nonexistent"];
    docker(&[&["exec", "-d"][..], &aside, &[&own, "/outrigger-sidecar"]].concat());

    let controller = project.container("outrigger");
    let refusals = || project.log(&controller).matches("is not a sidecar of this mesh").count();
    project.until("both are refused", || (refusals() >= 2).then_some(()));
    let told = || project.log(&impostor).contains("the controller refuses this sidecar");
    project.until("it is told", || told().then_some(()));
    let log = project.log(&impostor);
    assert!(!log.contains("certified") && !log.contains("configured"), "{log}");
    project.meshed(1);
}
