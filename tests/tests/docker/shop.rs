//! The demo shop, statically injected, under every compose that is to be had.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use serde_json::{Value, json};

use crate::project::{Project, Setup};

/// Services of the shop that compose builds: their images have names of their own here, so that each is built once.
const BUILT: [&str; 7] = ["web", "catalog", "catalog-v2", "cart", "checkout", "pricing", "load"];
/// One sidecar for each service, and three for the cart.
const SIDECARS: usize = 11;
/// Who calls whom; `catalog` are two compose services, which are versions of one.
const EDGES: [(&str, &str); 8] = [
    ("load", "web"),
    ("web", "catalog"),
    ("web", "cart"),
    ("web", "checkout"),
    ("checkout", "cart"),
    ("checkout", "pricing"),
    ("cart", "redis"),
    ("catalog", "postgres"),
];

/// The shop and the controller, with three carts; `compose` is its words.
fn shop(compose: &str) -> Project {
    let images = env::var("OUTRIGGER_TEST_SHOP").expect("cargo xtask test docker sets OUTRIGGER_TEST_SHOP");
    let words = [compose, "--env-file", &images].map(str::to_owned).into();
    let mut project = Setup { compose: words, ..Setup::new("holder-shop", "services: {}") }.write();
    let image = |service: &str| json!({ "image": format!("outrigger-test-shop-{service}:dev") });
    let mut more: serde_json::Map<_, _> =
        BUILT.map(|service| (service.to_owned(), image(service))).into_iter().collect();
    more["cart"]["deploy"] = json!({ "replicas": 3 });
    let more = json!({ "services": more }).to_string();
    project.files[0] = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose/shop/docker-compose.yaml");
    project.files.insert(1, project.write("more.yaml", &more));
    project.compose(&["build"]);
    project.injected()
}

fn comes_up_with_mutual_tls_on_every_edge(compose: &str) {
    let project = shop(compose);
    project.compose(&["up", "-d"]);
    project.meshed(SIDECARS);
    project.until_answers("catalog", "http://web:8080/ready");
    project.endpoints("cart", 8080, 3);
    for (source, destination) in EDGES {
        let edge = project.edge(source, destination);
        assert_eq!(edge["mtls"], true, "{edge}");
    }
    let status = project.status().unwrap();
    let name = |value: &Value| value.as_str().unwrap().to_owned();
    let plain = status["edges"].as_array().unwrap().iter().filter(|edge| edge["mtls"] != true);
    let plain: BTreeSet<_> = plain.map(|edge| (name(&edge["source"]), name(&edge["destination"]))).collect();
    assert_eq!(plain, BTreeSet::new(), "nothing between services goes in clear");
    let unmeshed = |sidecar: &Value| sidecar["unmeshed_connections"] != 0;
    assert!(!status["sidecars"].as_array().unwrap().iter().any(unmeshed), "{status:#}");
    project.compose(&["down", "-v"]);
    assert_eq!(project.everything(), Vec::<String>::new());
}

/// Empty: there is none on this machine, which is said, and no fault.
fn program(variable: &str) -> Option<String> {
    let path = env::var(variable).unwrap_or_else(|_| panic!("cargo xtask test docker sets {variable}"));
    if path.is_empty() {
        eprintln!("{variable}: not on this machine, nothing was tested with it");
    }
    (!path.is_empty()).then_some(path)
}

#[test]
#[ignore = "needs Docker"]
fn the_shop_comes_up_injected_under_docker_compose_1_29() {
    program("OUTRIGGER_TEST_COMPOSE_V1")
        .as_deref()
        .into_iter()
        .for_each(comes_up_with_mutual_tls_on_every_edge);
}

#[test]
#[ignore = "needs Docker"]
fn the_shop_comes_up_injected_under_compose_v2() {
    program("OUTRIGGER_TEST_COMPOSE_V2")
        .as_deref()
        .into_iter()
        .for_each(comes_up_with_mutual_tls_on_every_edge);
}

#[test]
#[ignore = "needs Docker"]
fn the_shop_comes_up_injected_under_compose_v5() {
    program("OUTRIGGER_TEST_COMPOSE_V5")
        .as_deref()
        .into_iter()
        .for_each(comes_up_with_mutual_tls_on_every_edge);
}
