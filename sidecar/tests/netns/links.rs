use std::net::TcpListener;
use std::time::Duration;

use outrigger_sidecar::netns::dead;
use tokio::time::timeout;

use crate::namespace::{LIMIT, inside, run};

/// How long it is watched not to resolve.
const QUIET: Duration = Duration::from_millis(300);
/// Long enough for an announcement to arrive on a busy machine, shorter than the poll of 5 seconds.
const TOLD: Duration = Duration::from_secs(3);

fn watch(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(body);
}

#[test]
fn dead_when_the_last_link_is_gone_and_told_at_once() {
    inside("links::dead_when_the_last_link_is_gone_and_told_at_once", || {
        watch(async {
            run("ip link add one type veth peer name one-peer");
            run("ip link add two type veth peer name two-peer");
            let dead = dead();
            tokio::pin!(dead);
            run("ip link del one");
            timeout(QUIET, &mut dead).await.expect_err("one link is left");
            run("ip link add one type veth peer name one-peer");
            run("ip link del two");
            timeout(QUIET, &mut dead).await.expect_err("the other network came back first");
            run("ip link del one");
            timeout(TOLD, &mut dead).await.expect("told by the kernel").unwrap();
        });
    });
}

#[test]
fn never_dead_without_a_link_to_lose() {
    inside("links::never_dead_without_a_link_to_lose", || {
        watch(async {
            run("ip link set lo down");
            timeout(QUIET, dead()).await.expect_err("network `none` has only loopback");
        });
    });
}

#[test]
fn an_application_that_listens_is_alive_without_a_network() {
    inside("links::an_application_that_listens_is_alive_without_a_network", || {
        watch(async {
            run("ip link add one type veth peer name one-peer");
            let app = TcpListener::bind("127.0.0.1:0").unwrap();
            let dead = dead();
            tokio::pin!(dead);
            timeout(QUIET, &mut dead).await.expect_err("there is a link");
            run("ip link del one");
            timeout(QUIET, &mut dead).await.expect_err("somebody listens");
            drop(app);
            timeout(LIMIT, &mut dead).await.expect("found by polling").unwrap();
        });
    });
}
