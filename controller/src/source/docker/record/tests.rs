//! On inspections as Docker Engine 20.10 gave them for a container of compose 1.29.

use super::*;

fn recorded(json: &str) -> Container {
    Container::of(serde_json::from_str(json).unwrap()).unwrap()
}

fn running() -> Container {
    recorded(include_str!("running.json"))
}

#[test]
fn a_running_container_is_read() {
    let found = running();
    assert_eq!(found.name, "shop_cart_1");
    assert_eq!(found.health, Health::Healthy);
    assert_eq!(found.exposed, BTreeSet::from([8080, 9090]));
    assert_eq!(found.aliases, BTreeSet::from(["basket".to_owned(), "cart".to_owned()]), "its own id is none");
    let networks: Vec<_> = found.networks.values().map(|n| (n.network.as_str(), n.addresses.len())).collect();
    assert_eq!(networks, [("shop_back", 1), ("shop_front", 1)]);
    assert_eq!((found.stop_signal, found.stop_timeout), (libc::SIGQUIT, 3));
    assert_eq!(found.mounts["/data"], "shop_data");
    assert_eq!(found.mounts["/etc/cart"], "/srv/cart");
    let instance = found.instance().unwrap();
    assert_eq!(instance.pid, 17124);
    assert_eq!(instance.started_nanos() / 1_000_000_000, 1_795_429_564);
    assert!(found.created > 0 && found.created < instance.started_nanos());
}

#[test]
fn a_stopped_one_keeps_its_networks_and_has_no_addresses() {
    let found = recorded(include_str!("stopped.json"));
    assert_eq!(found.run, Run::Stopped);
    assert_eq!(found.networks.keys().collect::<Vec<_>>(), running().networks.keys().collect::<Vec<_>>());
    assert!(found.networks.values().all(|attachment| attachment.addresses.is_empty()));
}

#[test]
fn what_says_nothing_is_read_without_a_panic() {
    assert_eq!(Container::of(ContainerInspectResponse::default()), None);
    let bare = recorded(r#"{"Id":"a"}"#);
    assert_eq!((bare.run, bare.health, bare.stop_signal), (Run::Stopped, Health::Unchecked, libc::SIGTERM));
}

#[test]
fn signals_are_numbers_or_names() {
    for (text, number) in [
        ("15", Some(15)),
        ("SIGQUIT", Some(3)),
        ("kill", Some(9)),
        ("SIGRTMIN+3", Some(37)),
        ("0", None),
        ("HUPP", None),
        ("", None),
    ] {
        assert_eq!(signal_number(text), number, "{text}");
    }
}

#[test]
fn only_tcp_ports_count() {
    assert_eq!(
        (tcp_port("8080/tcp"), tcp_port("53/udp"), tcp_port("80"), tcp_port("x/tcp")),
        (Some(8080), None, Some(80), None)
    );
}
