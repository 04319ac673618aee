//! Sidecars come, stay and go with their applications.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_controller::attest::Attestor;
use outrigger_controller::inject::template::Templates;
use outrigger_controller::scope::Scope;
use outrigger_controller::source::docker::watch::Seen;
use outrigger_model::WorkloadId;
use outrigger_wire::control::Report;
use tokio::time::Instant;

use crate::place::{Controller, PATIENCE, Place, image};

fn templates() -> Templates {
    Templates::load(None).unwrap()
}

/// Waits until containers of ours stand for `apps` and nothing else.
async fn only_sidecars_of(controller: &Controller, apps: &[&str]) {
    let want: BTreeSet<&str> = apps.iter().copied().collect();
    let begun = Instant::now();
    let mut seen = controller.seen.clone();
    loop {
        let found: BTreeSet<String> =
            controller.ours(&seen.borrow_and_update()).map(|(app, _)| app.to_owned()).collect();
        if found.iter().map(String::as_str).collect::<BTreeSet<_>>() == want {
            return;
        }
        let left = PATIENCE.saturating_sub(begun.elapsed());
        tokio::time::timeout(left, seen.changed()).await.expect("no sidecar too many").unwrap();
    }
}

async fn problem(controller: &Controller, part: &str) -> String {
    let begun = Instant::now();
    loop {
        let found = controller.problems.all().into_iter().find(|problem| problem.what.contains(part));
        if let Some(found) = found {
            return format!("{}: {}", found.subject, found.what);
        }
        assert!(begun.elapsed() < PATIENCE, "not told: {part}; told: {:?}", controller.problems.all());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_sidecar_comes_with_its_application_restarts_with_it_and_goes_with_it() {
    let place = Place::new();
    let mut controller = place.injecting(image(), templates());
    let app = place.start("cart", &[], &[]).await;
    let sidecar = controller.sidecar(&app, "").await;
    assert_eq!(sidecar.name, place.full("cart-outrigger"));
    assert_eq!(sidecar.network_mode, format!("container:{app}"));

    let id = WorkloadId(app.clone());
    controller.proxies.hello(&id, &sidecar.id, "test");
    let ready = Report { ready: true, ..Report::default() };
    controller.proxies.update(&id, |proxy| proxy.report = Some((ready, Instant::now())));
    controller
        .until("its report counts", |s| s.workloads[&id].observed.as_ref().is_some_and(|o| o.ready))
        .await;
    let begun = Instant::now();
    while controller.gaps.of(&id).is_none() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    place.docker(&["restart", "-t", "1", &app]).await;
    let second = controller.sidecar(&app, &sidecar.id).await;
    assert!(second.label("outrigger.instance") > sidecar.label("outrigger.instance"));
    controller.until("the old report is void", |s| s.workloads[&id].observed.is_none()).await;

    place.docker(&["rename", &app, &place.full("basket")]).await;
    let name = place.full("basket-outrigger");
    let renamed = |seen: &Seen| seen.containers.get(&second.id).is_some_and(|sidecar| sidecar.name == name);
    controller.until_seen("the sidecar is renamed too", renamed).await;
    place.docker(&["pause", &app]).await;
    place.docker(&["unpause", &app]).await;
    assert_eq!(controller.sidecar(&app, "").await.id, second.id, "the same one through it all");

    place.docker(&["rm", "-f", &app]).await;
    only_sidecars_of(&controller, &[]).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_sidecar_survives_the_controller_and_a_left_over_does_not() {
    let place = Place::new();
    let mut first = place.injecting(image(), templates());
    let stays = place.start("stays", &[], &[]).await;
    let goes = place.start("goes", &[], &[]).await;
    let sidecar = first.sidecar(&stays, "").await;
    first.sidecar(&goes, "").await;
    drop(first);
    place.docker(&["rm", "-f", &goes]).await;
    let late = place.start("late", &[], &[]).await;

    let mut second = place.injecting(image(), templates());
    second.sidecar(&late, "").await;
    only_sidecars_of(&second, &[&stays, &late]).await;
    assert_eq!(second.sidecar(&stays, "").await, sidecar, "untouched");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_sidecar_that_ends_is_made_again_and_its_last_words_are_told() {
    let place = Place::new();
    let mut controller = place.injecting(image(), templates());
    let app = place.start("cart", &[], &[]).await;
    let sidecar = controller.sidecar(&app, "").await;
    place.docker(&["kill", &sidecar.id]).await;
    controller.sidecar(&app, &sidecar.id).await;
    drop(controller);

    let built_in = include_str!("../../../templates/docker/sidecar.yaml");
    std::fs::write(place.folder.join("sidecar.yaml"), built_in.replace("Cmd: []", "Cmd: [fail]")).unwrap();
    let failing = Templates::load(Some(&place.folder)).unwrap();
    place.docker(&["rm", "-f", &app]).await;
    let controller = place.injecting(image(), failing);
    place.start("cart", &[], &[]).await;
    let text = problem(&controller, "a last word").await;
    assert!(text.contains("exit code 3") && text.contains("cart-outrigger"), "{text}");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_name_that_is_taken_and_an_image_that_is_missing_are_no_dead_ends() {
    let place = Place::new();
    let taken = place.full("cart-outrigger");
    let project = format!("com.docker.compose.project={}", place.name);
    place.docker(&["run", "-d", "--name", &taken, "--label", &project, image()]).await;
    let mut controller = place.injecting(image(), templates());
    let app = place.start("cart", &[], &[]).await;
    let sidecar = controller.sidecar(&app, "").await;
    assert!(sidecar.name.starts_with(&format!("{taken}-")), "{}", sidecar.name);
    drop(controller);

    let controller = place.injecting("docker-test:missing", templates());
    place.start("other", &[], &[]).await;
    let text = problem(&controller, "docker load").await;
    assert!(text.starts_with("image docker-test:missing"), "{text}");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn only_the_first_process_of_a_sidecar_is_one() {
    let place = Place::new();
    let mut controller = place.injecting(image(), templates());
    let app = place.start("cart", &[], &[]).await;
    let sidecar = controller.sidecar(&app, "").await;
    let attestor = Attestor::new(controller.seen.clone(), place.scope());
    let caller = attestor.caller(sidecar.instance().unwrap().pid).await.unwrap();
    assert_eq!((caller.workload, caller.sidecar), (WorkloadId(app.clone()), sidecar.id.clone()));
    let pid = place.docker(&["inspect", "-f", "{{.State.Pid}}", &app]).await.parse().unwrap();
    let foreign = Attestor::new(controller.seen.clone(), Scope { mesh: "other".into(), ..place.scope() });
    let (application, stranger, other_mesh) = tokio::join!(
        attestor.caller(pid),
        attestor.caller(std::process::id()),
        foreign.caller(sidecar.instance().unwrap().pid),
    );
    assert_eq!((application, stranger, other_mesh), (None, None, None));
}
