use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use outrigger_sidecar::capture::{Report, capture};
use outrigger_wire::port;
use serde_json::Value;

use crate::namespace::{LIMIT, Neighbour, ask, connect_as, inside, run};
use crate::sidecar;

const DOCUMENT: &str = include_str!("../../../docs/capture.md");

/// What docker puts into a container's namespace on a user-defined network.
const ENGINE: &str = "table ip nat {
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.11 udp dport 53 counter dnat to 127.0.0.11:40053
		ip daddr 127.0.0.11 tcp dport 53 counter dnat to 127.0.0.11:40054
	}
}
";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn set_rules() -> Report {
    capture(LIMIT).unwrap()
}

fn nft(rules: &str) {
    let file = std::env::temp_dir().join(format!("outrigger-{}.nft", std::process::id()));
    std::fs::write(&file, rules).unwrap();
    run(&format!("nft -f {}", file.display()));
    std::fs::remove_file(file).unwrap();
}

/// The kernel's rules of one table without what differs from run to run.
fn listed(table: &str) -> Vec<Value> {
    let ruleset: Value = serde_json::from_str(&run(&format!("nft -j list table {table}"))).unwrap();
    let mut objects = ruleset["nftables"].as_array().unwrap().clone();
    objects.retain(|object| object.get("metainfo").is_none());
    objects.iter_mut().for_each(strip);
    objects
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["handle", "packets", "bytes"] {
                map.remove(key);
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn udp(target: &str) -> std::io::Result<String> {
    let target = address(target);
    let own = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(target)?;
    socket.send(b"?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn the_rules_are_those_of_the_document() {
    inside("capture::the_rules_are_those_of_the_document", || {
        sidecar::start();
        set_rules();
        let ours = listed("inet outrigger");
        run("nft delete table inet outrigger");
        let (_, rest) = DOCUMENT.split_once("```nft\n").expect("docs/capture.md shows the rules");
        nft(rest.split_once("```").unwrap().0);
        let documented = listed("inet outrigger");
        for (number, (ours, documented)) in ours.iter().zip(&documented).enumerate() {
            assert_eq!(ours, documented, "object {number}");
        }
        assert_eq!(ours.len(), documented.len());
    });
}

#[test]
fn a_second_run_replaces_the_rules_and_nothing_else() {
    inside("capture::a_second_run_replaces_the_rules_and_nothing_else", || {
        sidecar::start();
        nft(ENGINE);
        let engine = run("nft list table ip nat");
        set_rules();
        let first = listed("inet outrigger");
        nft("add rule inet outrigger output counter drop\nadd chain inet outrigger other\n");
        assert_ne!(listed("inet outrigger"), first);
        set_rules();
        assert_eq!(listed("inet outrigger"), first);
        assert_eq!(run("nft list table ip nat"), engine);
        assert_eq!(run("nft list tables").lines().count(), 2);
    });
}
