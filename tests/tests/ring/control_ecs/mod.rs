//! Sidecars in tasks of ECS and a controller on another host: TLS, the proof, and all that is refused.

mod caller;
mod cloud;
mod fake;
mod refused;

use outrigger_controller::proxies::Proxy;
use outrigger_model::WorkloadId;
use outrigger_wire::control::pin::Pin;

use crate::control::within;
use cloud::{CART, Cloud, Controller, arn};
use outrigger_controller::source::ecs::record::Stage;

const ANY: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Controller {
    async fn sees(&self, what: impl Fn(&Proxy) -> bool) -> Proxy {
        let (mut proxies, cart) = (self.proxies.subscribe(), WorkloadId(arn(CART)));
        let seen = within(proxies.wait_for(|all| all.get(&cart).is_some_and(&what))).await.unwrap();
        seen[&cart].clone()
    }
}

#[tokio::test]
async fn a_task_proves_itself_and_gets_identity_and_configuration() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let road = cloud.road(controller.address, controller.pin);
    let mut sidecar = cloud.world.sidecar_by(road, cloud.world.state());
    let identity = sidecar.certified(|_| true).await;
    assert_eq!(identity.spiffe.as_str(), "spiffe://outrigger.internal/shop/cart");
    let proxy = controller.sees(|proxy| proxy.connected && !proxy.acked.is_empty()).await;
    assert_eq!((proxy.sidecar, proxy.address), (arn(CART), Some("127.0.0.1".parse().unwrap())));
    assert!(!sidecar.applied.borrow().is_empty());
    assert_eq!(cloud.sts.asked(), 1);
    assert!(controller.problems.all().is_empty());
}

#[tokio::test]
async fn a_sidecar_that_starts_without_a_controller_goes_on_when_it_is_back_each_time_with_a_new_proof() {
    let cloud = Cloud::new().await;
    let first = cloud.controller(ANY).await;
    let (address, pin) = (first.address, first.pin);
    drop(first);
    let mut sidecar = cloud.world.sidecar_by(cloud.road(address, pin), cloud.world.state());
    assert!(sidecar.applied.borrow().is_empty());
    let second = cloud.controller(address).await;
    sidecar.certified(|_| true).await;
    second.sees(|proxy| proxy.connected && !proxy.acked.is_empty()).await;
    drop(second);
    let third = cloud.controller(address).await;
    third.sees(|proxy| proxy.connected && !proxy.acked.is_empty()).await;
    assert!(cloud.sts.asked() >= 2, "what the disk holds is no proof");
}

#[tokio::test]
async fn whoever_has_another_root_is_told_nothing() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let error =
        caller::shake(controller.address, Pin::of(b"another root"), None).await.err().unwrap().to_string();
    assert!(error.contains("its root is sha256:") && error.contains(&controller.pin.to_string()), "{error}");
    let mut sidecar =
        cloud.world.sidecar_by(cloud.road(controller.address, Pin::of(b"other")), cloud.world.state());
    let waited =
        tokio::time::timeout(std::time::Duration::from_millis(500), sidecar.certified(|_| true)).await;
    assert!(waited.is_err() && cloud.sts.asked() == 0 && controller.proxies.all().is_empty());
}

#[tokio::test]
async fn a_task_that_the_view_does_not_show_yet_is_waited_for() {
    let cloud = Cloud::new().await;
    let all = cloud.seen.borrow().clone();
    cloud.seen.send_modify(|seen| seen.tasks = Default::default());
    let controller = cloud.controller(ANY).await;
    let line = caller::shake(controller.address, controller.pin, None).await.unwrap();
    let headers = caller::headers("cart", &caller::bound(&line, controller.pin), 0);
    let (answered, ()) = tokio::join!(caller::open(line, headers), async {
        tokio::task::yield_now().await;
        cloud.seen.send_replace(all);
    });
    assert_eq!(answered, Ok(()));
}

/// It still hears that its peers go, and others hear of it; what it was let in by is not over.
#[tokio::test]
async fn a_task_that_stops_keeps_its_stream_and_one_that_is_over_loses_it() {
    let cloud = Cloud::new().await;
    let controller = cloud.controller(ANY).await;
    let road = cloud.road(controller.address, controller.pin);
    let mut sidecar = cloud.world.sidecar_by(road, cloud.world.state());
    sidecar.certified(|_| true).await;
    let before = controller.sees(|proxy| proxy.connected && !proxy.acked.is_empty()).await;
    cloud.change(|task| {
        task.desired_status = Stage::Stopped;
        task.last_status = Stage::Stopping;
    });
    cloud.snapshot.send_modify(|snapshot| std::sync::Arc::make_mut(snapshot).trust_domain.push_str(".new"));
    let after = controller.sees(|proxy| proxy.acked != before.acked).await;
    assert!(after.connected, "it hears on");
    assert_eq!(cloud.sts.asked(), 1, "over the same stream");

    cloud.seen.send_modify(|seen| {
        seen.current = false;
        seen.error = Some("throttled".into());
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(controller.sees(|_| true).await.connected, "a view that is not whole cuts nobody");
    cloud.change(|task| task.last_status = Stage::Stopped);
    controller.sees(|proxy| !proxy.connected).await;
}
