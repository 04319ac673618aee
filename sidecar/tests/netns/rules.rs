//! The step itself: which rules it sets, and when it does not.

use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use outrigger_sidecar::capture::{CaptureError, InstallError, Report, capture};
use outrigger_wire::port;
use serde_json::Value;

use crate::namespace::{LIMIT, Role, inside, run, run_as};
use crate::sidecar::{self, short_lived};

const DOCUMENT: &str = include_str!("../../../docs/capture.md");

/// What docker puts into a container's namespace on a user-defined network.
pub const ENGINE: &str = "table ip nat {
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.11 udp dport 53 counter dnat to 127.0.0.11:40053
		ip daddr 127.0.0.11 tcp dport 53 counter dnat to 127.0.0.11:40054
	}
}
";

/// Runs the capture step here.
pub fn set_rules() -> Report {
    capture(LIMIT).unwrap()
}

/// Loads rules written as text.
pub fn nft(rules: &str) {
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

#[test]
fn the_rules_are_those_of_the_document() {
    inside("rules::the_rules_are_those_of_the_document", || {
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
    inside("rules::a_second_run_replaces_the_rules_and_nothing_else", || {
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

#[test]
fn it_waits_for_the_sidecar() {
    inside("rules::it_waits_for_the_sidecar", || {
        let early = thread::spawn(set_rules);
        sidecar::start();
        early.join().unwrap();
        run("nft list table inet outrigger");
    });
}

#[test]
fn without_a_sidecar_no_rule_is_set() {
    inside("rules::without_a_sidecar_no_rule_is_set", || {
        let _only_outbound = TcpListener::bind(("127.0.0.1", port::OUTBOUND)).unwrap();
        let error = capture(Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, CaptureError::NoSidecar { port: port::INBOUND, .. }), "{error}");
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn without_net_admin_it_names_the_way_out() {
    inside("rules::without_net_admin_it_names_the_way_out", || {
        sidecar::start();
        let said = run_as(1000, 1000, Role::Capture).unwrap_err();
        assert_eq!(said, CaptureError::from(InstallError::NotPermitted).to_string());
        assert!(said.contains("NET_ADMIN"));
    });
}

#[test]
fn a_namespace_without_ipv6_is_fine() {
    inside("rules::a_namespace_without_ipv6_is_fine", || {
        for scope in ["all", "default", "lo"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        let _listeners = short_lived();
        assert_eq!(set_rules().unmeshed, 0);
        run("nft list table inet outrigger");
    });
}

#[test]
fn the_command_prints_one_line_of_json_and_a_failure_where_people_look() {
    inside("rules::the_command_prints_one_line_of_json_and_a_failure_where_people_look", || {
        let step = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-sidecar"));
            command.args(["capture", "--listening", "--timeout", "0"]).output().unwrap()
        };
        let failed = step();
        assert_eq!((failed.status.code(), failed.stdout.len()), (Some(1), 0));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.starts_with("capture: nothing accepts on 127.0.0.1:15001"), "{said}");
        let _listeners = short_lived();
        let done = step();
        assert!(done.status.success());
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["unmeshed"], 0);
        assert!(report["waited_ms"].is_u64());
        assert_eq!(done.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(done.stderr, b"");
    });
}
