//! Whoever reaches the control socket without being the first process of a sidecar gets nothing.

use crate::place::{Place, docker, image};

#[test]
#[ignore = "needs a Docker engine"]
fn a_process_in_another_container_or_beside_the_sidecar_is_refused() {
    let place = Place::new("impostor");
    let sidecar = image("sidecar");
    // The very same program, with the sidecar's user and its socket; all it lacks is being ours.
    let run = place.volume("run");
    place.start("impostor", &["--user", "61337:61337", "-v", &run], &[&sidecar]);
    // A second process in the sidecar's own container.
    let own = place.full("app-outrigger");
    let aside = ["-e", "OUTRIGGER_ADMIN=127.0.0.1:0", "-e", "OUTRIGGER_STATE=/nonexistent"];
    docker(&[&["exec", "-d"][..], &aside, &[&own, "/outrigger-sidecar"]].concat());

    let refusals = || place.log("outrigger").matches("is not a sidecar of this mesh").count();
    place.until("both are refused", || refusals() >= 2);
    let log = place.log("impostor");
    place.until("it is told", || place.log("impostor").contains("the controller refuses this sidecar"));
    assert!(!log.contains("certified") && !log.contains("configured"), "{log}");
    assert_eq!(place.sidecar()["connected"], true, "the real one is served on");
}
