//! Mesh file and labels together: which word holds, and what is said of the other.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_model::mesh::{Fault, Severity};
use outrigger_model::policy::Balance;
use outrigger_model::{Capture, Declared, Mesh, Mode, Protocol, ServiceKey, label};

fn declare(file: &str, labels: &[(&str, &str)]) -> (Declared, Vec<Fault>) {
    let mesh = Mesh::read(file, "mesh.yaml").unwrap();
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| (format!("outrigger.{name}"), (*value).to_owned())).collect();
    let key = ServiceKey { namespace: "shop".into(), service: "cart".into() };
    mesh.declare(&key, &label::read(&labels), &BTreeSet::from([80, 443]))
}

/// Severity and text of each fault.
fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| format!("{:?}: {fault}", fault.severity)).collect()
}

fn ports(ports: &[u16]) -> Option<BTreeSet<u16>> {
    Some(ports.iter().copied().collect())
}

#[test]
fn without_a_file_labels_hold() {
    let labels =
        [("mode", "strict"), ("edge", "8080"), ("capture", "names"), ("version", "v2"), ("port", "80/http")];
    let (declared, faults) = declare("", &labels);
    assert_eq!(faults, []);
    assert_eq!(
        (declared.mode, declared.capture, declared.edge),
        (Mode::Strict, Capture::Names, ports(&[8080]))
    );
    assert_eq!((declared.version.as_deref(), declared.ports[&80]), (Some("v2"), Protocol::Http));
    assert_eq!(declared.timeouts, Default::default());
}

#[test]
fn a_service_of_one_namespace_goes_first_key_by_key() {
    let file = "
defaults: { timeout: 9s, idle-timeout: 9s, connect-timeout: 9s }
services:
  cart: { timeout: 1s, idle-timeout: 1s, ports: { 80: http } }
  cart.shop: { timeout: 0, ports: { 81: tcp } }
  cart.blog: { mode: strict, timeout: 7s }
  web: { mode: strict }
";
    let (declared, faults) = declare(file, &[]);
    assert_eq!((faults, declared.mode), (vec![], Mode::Permissive));
    let (timeouts, second) = (declared.timeouts, Duration::from_secs(1));
    assert_eq!(
        (timeouts.request, timeouts.idle, timeouts.connect),
        (Some(Duration::ZERO), Some(second), Some(second * 9))
    );
    assert_eq!(declared.ports, [(81, Protocol::Tcp)].into());
}

#[test]
fn permissive_never_loosens_strict() {
    for (file, place) in [
        ("mode: strict", "mesh.yaml:1:7"),
        ("services: { cart: { mode: strict } }", "mesh.yaml:1:27"),
        ("mode: permissive\nservices: { cart.shop: { mode: strict } }", "mesh.yaml:2:32"),
    ] {
        let (declared, faults) = declare(file, &[("mode", "permissive")]);
        assert_eq!(declared.mode, Mode::Strict, "{file}");
        let told = told(&faults);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("Error: label outrigger.mode: permissive would loosen mesh.yaml"),
            "{told:?}"
        );
        assert!(told[0].contains(place), "{told:?}");
    }
}

#[test]
fn a_label_may_tighten_what_the_file_says_of_all_but_not_what_it_says_of_the_service() {
    let (declared, faults) = declare("mode: permissive", &[("mode", "strict")]);
    assert_eq!((declared.mode, faults.len()), (Mode::Strict, 0));
    let (declared, faults) = declare("services: { cart: { mode: permissive } }", &[("mode", "strict")]);
    assert_eq!((declared.mode, faults[0].severity), (Mode::Permissive, Severity::Warning));
}

#[test]
fn the_files_own_exception_from_strict_holds() {
    let file = "mode: strict\nservices: { cart: { mode: permissive } }";
    let (declared, faults) = declare(file, &[("mode", "permissive"), ("edge", "9999")]);
    assert_eq!((declared.mode, declared.edge, faults), (Mode::Permissive, ports(&[9999]), vec![]));
}

#[test]
fn edge_is_the_files_where_it_says_any() {
    let file = "services: { cart: { edge: [ 443 ] } }";
    let (declared, faults) = declare(file, &[("edge", "443")]);
    assert_eq!((declared.edge, faults.len()), (ports(&[443]), 0), "both say the same");
    let (declared, faults) = declare(file, &[("edge", "80")]);
    assert_eq!((declared.edge, faults[0].severity), (ports(&[443]), Severity::Error));
    let (declared, _) = declare("services: { cart: { edge: none } }", &[("edge", "80")]);
    assert_eq!(declared.edge, ports(&[]));
}

#[test]
fn under_strict_a_label_closes_edge_ports_and_opens_none() {
    for (label, edge, count) in
        [("80", ports(&[80]), 0), ("none", ports(&[]), 0), ("80,8080", None, 1), ("8080", None, 1)]
    {
        let (declared, faults) = declare("mode: strict", &[("edge", label)]);
        assert_eq!((declared.edge, faults.len()), (edge, count), "{label}: {faults:?}");
    }
    let (declared, faults) = declare("mode: permissive", &[("mode", "strict"), ("edge", "8080")]);
    assert_eq!((declared.edge, faults), (ports(&[8080]), vec![]), "its own strict, its own edge");
}

#[test]
fn another_capture_is_an_error_and_other_keys_are_warnings() {
    let file = "
services:
  cart: { capture: explicit, ports: { 80: http }, app-address: 127.0.0.1, upstreams: [ \"web:80\" ] }
";
    let same =
        [("capture", "explicit"), ("port", "80/http"), ("app-address", "127.0.0.1"), ("upstreams", "web:80")];
    assert_eq!(declare(file, &same).1, []);
    let others =
        [("capture", "transparent"), ("port", "81"), ("app-address", "::1"), ("upstreams", "web:81")];
    let (declared, faults) = declare(file, &others);
    assert_eq!(declared, declare(file, &[]).0, "the file stands");
    let severities: Vec<_> = faults.iter().map(|fault| fault.severity).collect();
    assert_eq!(severities.iter().filter(|severity| **severity == Severity::Error).count(), 1);
    let told = told(&faults);
    assert_eq!(told.iter().filter(|told| told.contains("(mesh.yaml:3:")).count(), 4, "{told:?}");
    assert!(told[0].contains("upstreams change nothing with capture transparent"), "{told:?}");
}

#[test]
fn what_cannot_be_read_and_protects_counts_as_closed_where_the_file_is_silent() {
    let labels = [("mode", "strickt"), ("edge", "http")];
    let (declared, faults) = declare("mode: permissive", &labels);
    assert_eq!((declared.mode, declared.edge, faults.len()), (Mode::Strict, ports(&[]), 2));
    let (declared, faults) = declare("services: { cart: { mode: permissive, edge: [ 80 ] } }", &labels);
    assert_eq!((declared.mode, declared.edge, faults.len()), (Mode::Permissive, ports(&[80]), 2));
}

#[test]
fn a_comment_changes_no_mesh() {
    let read = |text: &str| Mesh::read(text, "mesh.yaml").unwrap();
    let one = "services: { cart: { timeout: 90s } }";
    assert_eq!(read(one), read("# as before\nservices:\n  cart:\n    timeout: 1m30s\n"));
    assert_ne!(read(one), read("services: { cart: { timeout: 91s } }"));
    assert_eq!(read(""), Mesh::default());
}

#[test]
fn labels_say_common_settings_where_the_file_is_silent() {
    let labels = [
        ("timeout", "5s"),
        ("idle-timeout", "0"),
        ("connect-timeout", "1s"),
        ("retries", "3"),
        ("balance", "peak-ewma"),
        ("rate-limit", "100/s, 1000/min"),
        ("health", "http:/healthz"),
    ];
    let wide =
        "defaults: { timeout: 9s, idle-timeout: 9s, retries: { attempts: 1, budget: 10% }, balance: random }";
    let (declared, faults) = declare(wide, &labels);
    assert_eq!(faults, []);
    let (second, timeouts) = (Duration::from_secs(1), declared.timeouts);
    assert_eq!(
        (timeouts.request, timeouts.idle, timeouts.connect),
        (Some(second * 5), Some(Duration::ZERO), Some(second))
    );
    let retries = declared.policy.retries.unwrap();
    assert_eq!((retries.attempts, retries.budget), (Some(3), Some(10)));
    assert_eq!(declared.policy.balance, Some(Balance::PeakEwma));
    assert!(declared.policy.check.is_some_and(|check| check.is_on()));
    let limits: Vec<_> = declared.rate_limits.iter().map(|limit| limit.rate.to_string()).collect();
    assert_eq!(limits, ["100/s", "1000/min"]);
    let file = "
services:
  cart: { timeout: 1s, retries: { attempts: 1 }, balance: random, rate-limits: [ { limit: 5/s } ],
          health: { check: tcp } }
";
    let (declared, faults) = declare(file, &labels);
    let told = told(&faults);
    assert_eq!(told.len(), 5, "{told:#?}");
    for name in ["timeout", "retries", "balance", "rate-limit", "health"] {
        let start =
            format!("Warning: label outrigger.{name}: mesh.yaml says otherwise of cart.shop, and stands");
        assert!(told.iter().any(|told| told.starts_with(&start)), "{told:#?}");
    }
    assert_eq!((declared.timeouts.request, declared.timeouts.connect), (Some(second), Some(second)));
    assert_eq!((declared.policy.balance, declared.rate_limits.len()), (Some(Balance::Random), 1));
    let same = [
        ("timeout", "1s"),
        ("retries", "1"),
        ("balance", "random"),
        ("rate-limit", "5/s"),
        ("health", "tcp"),
    ];
    assert_eq!(declare(file, &same).1, []);
}

#[test]
fn a_label_of_a_common_setting_is_checked_as_the_file_is() {
    for (name, value, what) in [
        ("timeout", "5", "write the unit too"),
        ("retries", "11", "too large"),
        ("retries", "on", "a number is wanted"),
        ("balance", "fastest", "no way of balancing"),
        ("rate-limit", "100", "write the time too: 100/s"),
        ("rate-limit", "100/s, 5/d", "is not a rate"),
        ("health", "htp:/", "http:/healthz, http:8080/healthz, grpc, tcp, or off"),
    ] {
        let (declared, faults) = declare("", &[(name, value)]);
        assert_eq!((faults.len(), faults[0].severity), (1, Severity::Error), "{faults:?}");
        assert!(faults[0].to_string().contains(what), "{name}: {}", faults[0]);
        assert_eq!(declared, declare("", &[]).0, "{name}");
    }
}
