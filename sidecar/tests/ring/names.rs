//! Capture by names: a listener for each service at its virtual address, and its name in the hosts file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_sidecar::handover::HandOver;
use outrigger_sidecar::hosts::Hosts;
use outrigger_wire::{Listener, ListenerKind, ProxyConfig, Target};
use tokio::net::{TcpListener, TcpStream};

use crate::hand_over::place;
use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, parse, within};

const FOREIGN: &str = "127.0.0.1\tlocalhost\n";

/// A hosts file of one test, gone with it.
struct HostsFile(PathBuf);

impl HostsFile {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outrigger-names-{}-{number}", std::process::id()));
        std::fs::write(&path, FOREIGN).unwrap();
        Self(path)
    }

    fn open(&self) -> Option<Hosts> {
        Some(Hosts::open(&self.0).unwrap())
    }

    /// Lines that say something, all but the first.
    fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let lines = text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
        lines.filter(|line| !line.is_empty()).skip(1).collect()
    }
}

impl Drop for HostsFile {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

/// The caller of `echo`, which it calls by these names at a port of their virtual addresses (0: any).
fn calling(mesh: SocketAddr, names: &[(&str, &str)], port: u16) -> ProxyConfig {
    let mut config = parse(&caller(&BTreeMap::from([("shop-echo-1", mesh)])));
    config.proxy.hosts = true;
    config.proxy.listeners.clear();
    let service = config.services.remove("echo.shop").unwrap();
    for (name, address) in names {
        let address = address.parse().unwrap();
        let mut service = service.clone();
        service.names = vec![(*name).to_owned()];
        service.virtual_addresses = vec![address];
        let kind =
            ListenerKind::Outbound { target: Target::Service { name: format!("{name}.shop"), port: 7000 } };
        let listener = Listener { address: SocketAddr::new(address, port), kind };
        config.proxy.listeners.insert(format!("outbound/{name}"), listener);
        config.services.insert(format!("{name}.shop"), service);
    }
    config
}

async fn started(ca: &Ca, config: &ProxyConfig, hand_over: Option<HandOver>, hosts: Option<Hosts>) -> Node {
    let node = Node::start_bare(hand_over, hosts);
    node.runtime.apply(config.clone()).unwrap();
    node.identify(ca.issue("web")).await;
    node
}

#[tokio::test]
async fn names_and_their_listeners_come_and_go_together() {
    let (ca, echo, file) = (Ca::new(), Echo::start().await, HostsFile::new());
    let there = Node::start(&ca, &callee(echo.address)).await;
    let one = calling(there.at("mesh"), &[("echo", "127.64.0.1")], 0);
    let two = calling(there.at("mesh"), &[("echo", "127.64.0.1"), ("late", "127.64.0.2")], 0);
    let node = started(&ca, &one, None, file.open()).await;
    assert_eq!(file.said(), ["127.64.0.1 echo"]);
    assert_eq!(exchange(node.at("outbound/echo"), b"hello").await.unwrap(), b"hellobye");

    node.runtime.apply(two).unwrap();
    assert_eq!(file.said(), ["127.64.0.1 echo", "127.64.0.2 late"]);
    let late = node.at("outbound/late");
    assert!(late.ip().to_string() == "127.64.0.2" && late.port() != 0, "{late}");
    assert_eq!(exchange(late, b"hello").await.unwrap(), b"hellobye");

    node.runtime.apply(one).unwrap();
    assert_eq!(file.said(), ["127.64.0.1 echo"]);
    within(async {
        while TcpStream::connect(late).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(node.stop().await);
    assert_eq!(file.said(), [""; 0], "names that nobody serves any more");
}

#[tokio::test]
async fn the_same_port_is_the_applications_on_127_0_0_1_and_a_services_at_its_virtual_address() {
    let (ca, echo, file) = (Ca::new(), Echo::start().await, HostsFile::new());
    let there = Node::start(&ca, &callee(echo.address)).await;
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = application.local_addr().unwrap();
    let config = calling(there.at("mesh"), &[("echo", "127.64.0.3")], own.port());
    let node = started(&ca, &config, None, file.open()).await;
    assert_eq!(node.at("outbound/echo").port(), own.port());
    assert_eq!(exchange(node.at("outbound/echo"), b"hello").await.unwrap(), b"hellobye");
    let (connected, accepted) =
        within(async { tokio::join!(TcpStream::connect(own), application.accept()) }).await;
    assert!(connected.is_ok() && accepted.is_ok());

    // On every address it excludes the sidecar: then nothing is taken over, and the reason is told.
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let reasons = node.runtime.apply(calling(there.at("mesh"), &[("late", "127.64.0.4")], port)).unwrap_err();
    assert!(reasons[0].contains(&format!("cannot bind 127.64.0.4:{port}")), "{reasons:?}");
    assert_eq!(file.said(), ["127.64.0.3 echo"]);
    assert_eq!(exchange(node.at("outbound/echo"), b"hello").await.unwrap(), b"hellobye");
}

#[tokio::test]
async fn a_sidecar_that_cannot_write_the_hosts_file_refuses_to_keep_names() {
    let config = calling("127.0.0.1:1".parse().unwrap(), &[("echo", "127.64.0.5")], 0);
    let node = Node::start_bare(None, None);
    let reasons = node.runtime.apply(config).unwrap_err();
    assert!(reasons[0].contains("OUTRIGGER_HOSTS=/etc/hosts"), "{reasons:?}");
    assert!(node.runtime.addresses().is_empty());
}

#[tokio::test]
async fn names_stay_when_a_successor_takes_over() {
    const DEADLINE: Duration = Duration::from_secs(10);
    let (ca, echo, file, place) = (Ca::new(), Echo::start().await, HostsFile::new(), place());
    let there = Node::start(&ca, &callee(echo.address)).await;
    let config = calling(there.at("mesh"), &[("echo", "127.64.0.6")], 0);
    let hand_over = HandOver::find(place.clone(), DEADLINE).await;
    let before = started(&ca, &config, Some(hand_over), file.open()).await;
    let hand_over = HandOver::find(place, DEADLINE).await;
    let successor = started(&ca, &config, Some(hand_over), file.open()).await;
    before.ended().await;
    assert_eq!(file.said(), ["127.64.0.6 echo"]);
    assert_eq!(exchange(successor.at("outbound/echo"), b"hello").await.unwrap(), b"hellobye");
    assert!(successor.stop().await);
    assert_eq!(file.said(), [""; 0]);
}
