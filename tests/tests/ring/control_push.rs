//! A change reaches the sidecar, is answered, and is never half there.

use std::time::Duration;

use crate::control::{World, within};

#[tokio::test]
async fn a_configuration_is_pushed_applied_and_acked() {
    let world = World::new();
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    within(sidecar.applied.changed()).await.unwrap();
    assert_eq!(*sidecar.applied.borrow(), [world.wanted()]);
    let version = world.wanted_version();
    let seen = controller.sees(|proxy| proxy.acked == version && proxy.report.is_some()).await;
    assert!(seen.connected && seen.nack.is_none());
    assert_eq!((seen.sent, seen.sidecar.as_str()), (version, "sidecar"));
    assert_eq!(seen.version, env!("CARGO_PKG_VERSION"));

    world.publish("cart", &["web", "redis"]);
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    assert_eq!(sidecar.applied.borrow().last(), Some(&world.wanted()));
    assert_eq!(sidecar.applied.borrow().len(), 2);
}

#[tokio::test]
async fn the_newest_of_many_changes_arrives() {
    let world = World::new();
    let controller = world.controller(100).await;
    let sidecar = world.sidecar();
    for number in 0..200 {
        world.publish("cart", &[&format!("s{number}")]);
        tokio::task::yield_now().await;
    }
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    assert_eq!(sidecar.applied.borrow().last(), Some(&world.wanted()));
}

#[tokio::test]
async fn a_refused_change_leaves_the_last_good_one_and_the_next_one_is_taken() {
    let world = World::new();
    let controller = world.controller(100).await;
    let sidecar = world.sidecar();
    let good = (world.wanted(), world.wanted_version());
    controller.sees(|proxy| proxy.acked == good.1).await;

    *sidecar.refuse.lock().unwrap() = vec!["port 15001 is taken".into(), "and so is 15006".into()];
    world.publish("cart", &["web"]);
    let seen = controller.sees(|proxy| proxy.nack.is_some()).await;
    assert_eq!(seen.nack.unwrap(), "port 15001 is taken; and so is 15006");
    assert_eq!(seen.acked, good.1);
    assert_eq!(*sidecar.applied.borrow(), [good.0]);

    sidecar.refuse.lock().unwrap().clear();
    world.publish("cart", &["web", "redis"]);
    let version = world.wanted_version();
    let seen = controller.sees(|proxy| proxy.acked == version).await;
    assert_eq!(seen.nack, None);
    assert_eq!(sidecar.applied.borrow().last(), Some(&world.wanted()), "what was refused came again with it");
}

#[tokio::test]
async fn a_restarted_controller_sends_nothing_to_who_holds_it() {
    let world = World::new();
    let controller = world.controller(100).await;
    let sidecar = world.sidecar();
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    drop(controller);
    let controller = world.controller(100).await;
    controller.sees(|proxy| proxy.connected && proxy.acked == version).await;
    assert_eq!(sidecar.applied.borrow().len(), 1);

    drop(controller);
    world.publish("cart", &["web"]);
    let controller = world.controller(100).await;
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    assert_eq!(sidecar.applied.borrow().len(), 2);
}

#[tokio::test]
async fn a_sidecar_that_leaves_is_seen_to_leave() {
    let world = World::new();
    let controller = world.controller(100).await;
    let sidecar = world.sidecar();
    controller.sees(|proxy| proxy.connected && proxy.report.is_some()).await;
    drop(sidecar);
    let seen = controller.sees(|proxy| !proxy.connected).await;
    assert!(seen.report.is_some(), "what it said stands until its container ends");
}

#[tokio::test]
async fn an_impostor_gets_nothing() {
    let world = World::new();
    world.another_pid(1);
    let controller = world.controller(100).await;
    let impostor = world.sidecar();
    // It is served as soon as it is the one, and was not before: the engine's event may come late.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(controller.proxies.all().is_empty());
    assert!(impostor.identity.borrow().is_none() && impostor.applied.borrow().is_empty());
    world.another_pid(std::process::id());
    controller.sees(|proxy| proxy.connected).await;
}
