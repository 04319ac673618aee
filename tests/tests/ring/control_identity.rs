//! A certificate comes, is renewed in time, and never runs out while a controller comes back in time.

use std::time::{Duration, SystemTime};

use crate::control::{World, within};

#[tokio::test]
async fn the_certificate_names_the_workload_and_is_stored() {
    let world = World::new();
    let _controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    let identity = sidecar.certified(|_| true).await;
    assert_eq!(identity.spiffe.as_str(), "spiffe://outrigger.internal/shop/cart");
    within(async {
        while !world.state().path("identity.pem").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let stored =
        outrigger_sidecar::identity::Identity::load(&world.state(), SystemTime::now()).unwrap().unwrap();
    assert_eq!(stored.chain, identity.chain);
}

#[tokio::test]
async fn it_is_renewed_at_half_life_with_a_new_key_while_connected() {
    let world = World::new();
    let _controller = world.controller(6).await;
    let mut sidecar = world.sidecar();
    let first = sidecar.certified(|_| true).await;
    for _ in 0..2 {
        let before = sidecar.identity.borrow_and_update().clone().unwrap();
        within(sidecar.identity.changed()).await.unwrap();
        let after = sidecar.identity.borrow().clone().expect("it never ran out");
        assert!(before.good_at(SystemTime::now()));
        assert!(after.not_after > before.not_after);
        assert_ne!(after.key.secret_der(), before.key.secret_der());
        assert_eq!(after.roots, first.roots);
    }
}

#[tokio::test]
async fn a_renewal_that_falls_into_an_outage_is_made_up_for() {
    let world = World::new();
    let controller = world.controller(10).await;
    let mut sidecar = world.sidecar();
    let first = sidecar.certified(|_| true).await;
    drop(controller);
    // Beyond half-life (5 s) and before the end.
    let half = Duration::from_millis(5600);
    assert!(tokio::time::timeout(half, sidecar.identity.wait_for(Option::is_none)).await.is_err());
    let _controller = world.controller(10).await;
    within(sidecar.identity.wait_for(|now| now.as_ref().is_none_or(|now| now.not_after > first.not_after)))
        .await
        .unwrap();
    assert!(sidecar.identity.borrow().is_some(), "it never ran out");
}

#[tokio::test]
async fn one_that_ran_out_is_taken_back_and_comes_again_with_the_controller() {
    let world = World::new();
    let controller = world.controller(2).await;
    let mut sidecar = world.sidecar();
    sidecar.certified(|_| true).await;
    drop(controller);
    within(sidecar.identity.wait_for(Option::is_none)).await.unwrap();
    let _controller = world.controller(100).await;
    sidecar.certified(|_| true).await;
}

#[tokio::test]
async fn a_new_root_reaches_sidecars_at_once() {
    let world = World::new();
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    let first = sidecar.certified(|_| true).await;
    drop(controller);
    std::fs::remove_file(world.authority_file()).unwrap();
    let _controller = world.controller(100).await;
    let second = sidecar.certified(|identity| identity.roots != first.roots).await;
    assert_eq!(second.spiffe, first.spiffe);
}

#[tokio::test]
async fn a_workload_that_changes_its_name_changes_its_certificate() {
    let world = World::new();
    let _controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    sidecar.certified(|identity| identity.spiffe.service() == "cart").await;
    world.publish("basket", &[]);
    sidecar.certified(|identity| identity.spiffe.service() == "basket").await;
}

#[tokio::test]
async fn without_a_usable_root_configurations_are_still_served() {
    let world = World::new();
    std::fs::write(world.authority_file(), "not a root").unwrap();
    let controller = world.controller(100).await;
    let sidecar = world.sidecar();
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    assert!(sidecar.identity.borrow().is_none());
    assert_eq!(std::fs::read_to_string(world.authority_file()).unwrap(), "not a root");
}
