//! What is on disk carries a sidecar through a restart, and a bad disk stops nothing.

use std::fs;
use std::process::Command;
use std::time::Duration;

use outrigger_sidecar::state::{LAST_GOOD, State};

use crate::control::{World, within};

async fn stored(state: &State) {
    within(async {
        while !(state.path(LAST_GOOD).exists() && state.path("identity.pem").exists()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_starts_from_disk_with_the_controller_away() {
    let world = World::new();
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    let identity = sidecar.certified(|_| true).await;
    stored(&world.state()).await;
    drop((controller, sidecar));

    let sidecar = world.sidecar();
    assert_eq!(*sidecar.applied.borrow(), [world.wanted()], "it serves before anything answers");
    assert_eq!(sidecar.identity.borrow().as_ref().unwrap().chain, identity.chain);

    let controller = world.controller(100).await;
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    assert_eq!(sidecar.applied.borrow().len(), 1, "it holds it already");
}

#[tokio::test]
async fn a_sidecar_that_never_had_anything_stays_closed_until_a_controller_comes() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(sidecar.applied.borrow().is_empty() && sidecar.identity.borrow().is_none());
    let _controller = world.controller(100).await;
    sidecar.certified(|_| true).await;
}

#[tokio::test]
async fn corrupt_files_are_replaced_by_what_the_controller_sends() {
    let world = World::new();
    for file in [LAST_GOOD, "identity.pem", "roots.pem"] {
        world.state().write(file, b"{ half").unwrap();
    }
    let mut sidecar = world.sidecar();
    assert!(sidecar.applied.borrow().is_empty());
    assert!(world.state().path("last-good.json.corrupt").exists());
    let _controller = world.controller(100).await;
    sidecar.certified(|_| true).await;
    stored(&world.state()).await;
}

#[tokio::test]
async fn a_full_disk_stops_nothing_and_is_used_again_when_it_has_room() {
    let world = World::new();
    let full = world.directory.join("full");
    fs::create_dir(&full).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "outrigger-ring"])
        .arg(&full)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: a small tmpfs needs root");
        return;
    }
    let _mount = Mount(&full);
    while fs::write(full.join(format!("{}", fs::read_dir(&full).unwrap().count())), [1; 4096]).is_ok() {}
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar_in(State::new(&full));
    let version = world.wanted_version();
    controller.sees(|proxy| proxy.acked == version).await;
    sidecar.certified(|_| true).await;
    assert!(!full.join(LAST_GOOD).exists() && !full.join("identity.pem").exists());

    for number in 0..12 {
        fs::remove_file(full.join(format!("{number}"))).unwrap();
    }
    world.publish("cart", &["web"]);
    within(async {
        while !(full.join(LAST_GOOD).exists()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

struct Mount<'a>(&'a std::path::Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(self.0).status();
    }
}
