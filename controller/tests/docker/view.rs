//! What the engine does, the view shows.

use outrigger_controller::source::docker::connect::DEFAULT_HOST;
use outrigger_model::{Lifecycle, Snapshot, Workload};

use crate::place::Place;
use crate::wire::Wire;

fn only(snapshot: &Snapshot) -> Option<&Workload> {
    let mut all = snapshot.workloads.values();
    all.next().filter(|_| all.next().is_none()).map(AsRef::as_ref)
}

fn addresses(workload: &Workload) -> usize {
    workload.networks.values().map(|attachment| attachment.addresses.len()).sum()
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_view_follows_one_container_through_its_life() {
    let place = Place::new();
    let mut controller = place.watching(DEFAULT_HOST);
    let is = |lifecycle| move |s: &Snapshot| only(s).is_some_and(|w| w.lifecycle == lifecycle);
    let cart = place.full("cart");

    place.start("cart", &["--network-alias", "Basket", "--expose", "8080"], &["deaf"]).await;
    let snapshot = controller.until("it runs", is(Lifecycle::Running)).await;
    let workload = only(&snapshot).unwrap();
    assert_eq!((workload.name.as_str(), workload.declared.service.as_str()), (cart.as_str(), "cart"));
    assert!(workload.exposed.contains(&8080) && workload.aliases.contains("basket"), "{workload:?}");
    assert_eq!(addresses(workload), 1);

    place.docker(&["pause", &cart]).await;
    controller.until("it is frozen", is(Lifecycle::Paused)).await;
    place.docker(&["unpause", &cart]).await;
    controller.until("it is not", is(Lifecycle::Running)).await;

    let other = place.full("other");
    place.docker(&["network", "create", "--internal", &other]).await;
    place.docker(&["network", "connect", &other, &cart]).await;
    controller.until("two networks", |s| only(s).is_some_and(|w| addresses(w) == 2)).await;
    place.docker(&["network", "disconnect", &other, &cart]).await;
    controller.until("one again", |s| only(s).is_some_and(|w| w.networks.len() == 1)).await;

    let renamed = place.full("renamed");
    place.docker(&["rename", &cart, &renamed]).await;
    controller.until("a new name", |s| only(s).is_some_and(|w| w.name == renamed)).await;

    place.docker(&["kill", "-s", "HUP", &renamed]).await;
    place.docker(&["kill", "-s", "TERM", &renamed]).await;
    controller.until("asked to stop, and still there", is(Lifecycle::Stopping)).await;
    place.docker(&["kill", &renamed]).await;
    let stopped = controller.until("it has ended", is(Lifecycle::Stopped)).await;
    assert_eq!(addresses(only(&stopped).unwrap()), 0);
    assert_eq!(only(&stopped).unwrap().networks.len(), 1, "its service stays known there");
    place.docker(&["start", &renamed]).await;
    controller
        .until("it runs again", |s| is(Lifecycle::Running)(s) && addresses(only(s).unwrap()) == 1)
        .await;
    place.docker(&["rm", "-f", &renamed]).await;
    controller.until("it is gone", |s| s.workloads.is_empty()).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn health_and_scale_are_seen() {
    use outrigger_model::Health;
    let place = Place::new();
    let mut controller = place.watching(DEFAULT_HOST);
    let check = "--health-cmd=true"; // a shell that the image lacks: the check fails
    place.start("sick", &[check, "--health-interval=1s", "--health-retries=1"], &[]).await;
    controller.until("it fails its check", |s| only(s).is_some_and(|w| w.health == Health::Unhealthy)).await;
    for name in ["cart-1", "cart-2", "cart-3"] {
        place
            .start(
                name,
                &["--label", "outrigger.service=cart", "--label", &format!("outrigger.version={name}")],
                &[],
            )
            .await;
    }
    let carts = |s: &Snapshot| s.workloads.values().filter(|w| w.declared.service == "cart").count();
    controller.until("three", |s| carts(s) == 3).await;
    place.docker(&["rm", "-f", &place.full("cart-2"), &place.full("cart-3")]).await;
    controller.until("one", |s| carts(s) == 1).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn what_a_lost_stream_hid_is_listed_afterwards() {
    let place = Place::new();
    let mut controller = place.watching(&Wire::host(&place.folder));
    let missing = controller.until_seen("the missing socket is named", |seen| seen.error.is_some()).await;
    assert!(missing.error.unwrap().contains("docker.sock"));

    let wire = Wire::lay(&place.folder);
    place.start("old", &[], &[]).await;
    place.start("kept", &[], &[]).await;
    controller
        .until("two", |s| s.workloads.values().filter(|w| w.lifecycle == Lifecycle::Running).count() == 2)
        .await;

    wire.cut();
    let stale = controller.until_seen("it is said to be stale", |seen| !seen.current).await;
    assert_eq!(controller.applications(&stale).len(), 2, "the last good view stays");
    place.docker(&["rm", "-f", &place.full("old")]).await;
    place.docker(&["rename", &place.full("kept"), &place.full("renamed")]).await;
    place.start("new", &[], &[]).await;

    let _wire = Wire::lay(&place.folder);
    controller.until_seen("it is current again", |seen| seen.current && seen.error.is_none()).await;
    let mut fresh = place.watching(DEFAULT_HOST);
    let want = fresh.until_seen("another controller's first view", |seen| seen.current).await;
    let want = fresh.applications(&want);
    assert_eq!(want.keys().collect::<Vec<_>>(), [&place.full("new"), &place.full("renamed")]);
    let found = controller.seen.clone();
    assert_eq!(controller.applications(&found.borrow()), want);
}
