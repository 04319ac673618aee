//! With compose itself: 1.29, v2 and v5, as `cargo xtask test docker` brings them. `config` asks no engine, but the
//! programs are not on every machine.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::place::{Ended, Place};

/// What no result may hold: it stands in files that environment files and secrets are.
const PLANTED: &str = "correct-horse-battery";

/// A project with all that only compose can read: `include`, `extends`, merge keys, profiles, variables, environment files.
const PROJECT: &str = r#"
include: [ stock/compose.yaml ]
x-team: &team { TEAM: shop, AGREE: "yes" }
services:
  web:
    image: ${WEB_IMAGE:-nginx}
    env_file: [ web.env ]
    environment: { <<: *team, PRICE: "$$5", TIME: "22:22", HOST: "${HOST_NAME:?must be set}" }
    ports: [ "127.0.0.1:${WEB_PORT:-}:8080", "9000-9002:9000" ]
    depends_on: [ cart ]
    links: [ cart:basket ]
    extra_hosts: [ "host.docker.internal:host-gateway" ]
    sysctls: [ net.core.somaxconn=1024, kernel.msgmax=65536 ]
    hostname: front
  cart:
    extends: { file: base/base.yaml, service: base }
    deploy: { replicas: 3, resources: { limits: { cpus: "0.5" } } }
    networks: { default: { aliases: [ basket ] } }
    secrets: [ password ]
    healthcheck: { test: [ CMD, "true" ], interval: 1m30s }
    expose: [ 7000 ]
  debug:
    image: debug
    profiles: [ debug ]
    network_mode: service:web
  tool:
    image: tool
    profiles: [ debug ]
  plain:
    image: plain
    labels: [ outrigger.enable=false ]
    depends_on: { cart: { condition: service_healthy } }
secrets: { password: { file: ./password.txt } }
"#;
/// The same for 1.29, which knows no `include`, and no variable in a port.
const OLD_PROJECT: &str = r#"
version: "3.7"
x-team: &team { TEAM: shop, AGREE: "yes" }
services:
  web:
    image: ${WEB_IMAGE:-nginx}
    env_file: [ web.env ]
    environment: { <<: *team, PRICE: "$$5", TIME: "22:22" }
    ports: [ "127.0.0.1::8080", "9000-9002:9000", "22:22" ]
    depends_on: [ cart ]
    links: [ cart:basket ]
    sysctls: [ net.core.somaxconn=1024, kernel.msgmax=65536 ]
    hostname: front
  cart:
    extends: { file: base/base.yaml, service: base }
    deploy: { replicas: 3, resources: { limits: { cpus: "0.5" } } }
    networks: { default: { aliases: [ basket ] } }
    secrets: [ password ]
    expose: [ 7000 ]
  debug:
    image: debug
    profiles: [ debug ]
    network_mode: service:web
secrets: { password: { file: ./password.txt } }
"#;
const MESH: &str = include_str!("../../../compose/outrigger.yaml");
const FILES: [&str; 2] = ["compose.yaml", "outrigger.yaml"];

fn place(project: &str) -> Place {
    Place::new(&[
        ("compose.yaml", project),
        ("outrigger.yaml", MESH),
        ("web.env", &format!("PASSWORD={PLANTED}\n")),
        (".env", &format!("HOST_NAME={PLANTED}\n")),
        ("password.txt", PLANTED),
        (
            "base/base.yaml",
            "services: { base: { image: cart, build: ./code, volumes: [ './data:/data' ], env_file: ../web.env } }",
        ),
        (
            "stock/compose.yaml",
            "services: { stock: { image: stock, env_file: stock.env, volumes: [ './data:/data' ], sysctls: { net.core.somaxconn: 9 } } }",
        ),
        ("base/code/Dockerfile", "FROM scratch\n"),
        ("stock/stock.env", &format!("PASSWORD={PLANTED}\n")),
    ])
}

/// The two that `cargo xtask test docker` fetched.
fn modern() -> Vec<PathBuf> {
    ["OUTRIGGER_TEST_COMPOSE_V2", "OUTRIGGER_TEST_COMPOSE_V5"]
        .map(|name| env::var_os(name).unwrap_or_else(|| panic!("cargo xtask test docker sets {name}")).into())
        .into()
}

/// 1.29 comes as a package of the system, or not at all: that is said, and no fault.
fn old() -> Option<PathBuf> {
    let name = "OUTRIGGER_TEST_COMPOSE_V1";
    let found = env::var_os(name).unwrap_or_else(|| panic!("cargo xtask test docker sets {name}"));
    if found.is_empty() {
        eprintln!("no docker-compose 1.29 on this machine: nothing was tested with it");
    }
    (!found.is_empty()).then(|| found.into())
}

fn inject(place: &Place, compose: &Path, words: &[&str]) -> Ended {
    place.inject(&[&["--compose", compose.to_str().unwrap()], words].concat())
}

/// The project as compose itself reads a set of files, all profiles, sorted by it.
fn rendered(place: &Place, compose: &Path, files: &[&str]) -> Value {
    let files = files.iter().flat_map(|file| ["--file", file]);
    let words: Vec<&str> = files.chain(["--profile", "*", "config", "--format", "json"]).collect();
    let ended = place.run(compose, &words);
    assert_eq!(ended.code, Some(0), "{} {words:?}: {}", compose.display(), ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
#[ignore = "needs compose v2 and v5: cargo xtask test docker"]
fn the_result_is_what_compose_would_have_run_plus_the_mesh() {
    for compose in modern() {
        let place = place(PROJECT);
        let ended = inject(&place, &compose, &[&FILES[..], &["--output", "meshed.yaml"]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let before = rendered(&place, &compose, &FILES);
        let after = rendered(&place, &compose, &["meshed.yaml"]);
        for name in ["web", "cart", "cart-2", "cart-3", "stock"] {
            let original = &before["services"][if name.starts_with("cart") { "cart" } else { name }];
            let (app, holder) = (&after["services"][name], &after["services"][format!("{name}-holder")]);
            for field in ["environment", "image", "volumes", "build", "secrets", "healthcheck", "command"] {
                assert_eq!(app[field], original[field], "{name}.{field}");
            }
            for field in ["ports", "hostname", "extra_hosts", "expose"] {
                assert_eq!(holder[field], original[field], "{name}.{field}");
                assert!(app[field].is_null(), "{name}.{field} is at the holder: {}", app[field]);
            }
            assert_eq!(app["network_mode"], format!("service:{name}-holder"));
            assert_eq!(
                app["depends_on"][format!("{name}-capture")]["condition"],
                "service_completed_successfully"
            );
        }
        let services = &after["services"];
        assert_eq!(
            services["cart-3-holder"]["networks"]["default"]["aliases"],
            serde_json::json!(["cart", "basket"])
        );
        assert_eq!(services["web-holder"]["links"], serde_json::json!(["cart-holder:basket"]));
        assert_eq!(services["web-holder"]["sysctls"], serde_json::json!({ "net.core.somaxconn": "1024" }));
        assert_eq!(services["web"]["sysctls"], serde_json::json!({ "kernel.msgmax": "65536" }));
        assert_eq!(services["debug"]["network_mode"], "service:web-holder");
        assert_eq!(services["plain"]["depends_on"]["cart-2"]["condition"], "service_healthy");
        assert_eq!(
            services["cart"]["deploy"],
            serde_json::json!({ "resources": { "limits": { "cpus": 0.5 } }, "placement": {} })
        );
        assert_eq!(services["plain"]["networks"], before["services"]["plain"]["networks"]);
        assert_eq!(services["outrigger"], before["services"]["outrigger"]);
    }
}

#[test]
#[ignore = "needs compose v2 and v5: cargo xtask test docker"]
fn an_overlay_merged_by_compose_is_the_full_file() {
    for compose in modern() {
        let place = place(PROJECT);
        let full = inject(&place, &compose, &[&FILES[..], &["--output", "meshed.yaml"]].concat());
        let overlay =
            inject(&place, &compose, &[&FILES[..], &["--overlay", "--output", "mesh.yaml"]].concat());
        assert_eq!((full.code, overlay.code), (Some(0), Some(0)), "{}{}", full.err, overlay.err);
        let merged = rendered(&place, &compose, &[&FILES[..], &["mesh.yaml"]].concat());
        assert_eq!(merged, rendered(&place, &compose, &["meshed.yaml"]));
        assert!(
            !place.read("mesh.yaml").contains("nginx"),
            "only the difference: {}",
            place.read("mesh.yaml")
        );
    }
}

#[test]
#[ignore = "needs compose v2 and v5: cargo xtask test docker"]
fn no_value_and_no_path_of_this_machine_is_in_the_result() {
    for compose in modern() {
        let place = place(PROJECT);
        for more in [&[][..], &["--overlay"], &["--diff"], &["--json"]] {
            let ended = inject(&place, &compose, &[&FILES[..], more].concat());
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            assert!(!ended.out.contains(PLANTED), "{more:?}: {}", ended.out);
            assert!(!ended.err.contains("secrets"), "{}", ended.err);
            let here = place.path("");
            assert!(
                !ended.out.contains(here.to_str().unwrap().trim_end_matches('/')),
                "{more:?}: {}",
                ended.out
            );
        }
        let words = [&FILES[..], &["--interpolate", "--output", "open.yaml"]].concat();
        let ended = inject(&place, &compose, &words);
        assert!(place.read("open.yaml").contains(PLANTED), "the .env file's value, as asked: {}", ended.err);
        assert!(ended.err.contains("may hold secrets"), "{}", ended.err);
        assert_eq!(place.mode("open.yaml"), 0o600);
    }
}

#[test]
#[ignore = "needs compose v2 and v5: cargo xtask test docker"]
fn injecting_the_result_again_changes_nothing_for_compose() {
    for compose in modern() {
        let place = place(PROJECT);
        inject(&place, &compose, &[&FILES[..], &["--output", "meshed.yaml"]].concat());
        let ended = inject(&place, &compose, &["meshed.yaml", "--json", "--output", "again.yaml"]);
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(answer["meshed"], serde_json::json!([]));
        assert_eq!(inject(&place, &compose, &["meshed.yaml", "--diff"]).out, "");
        let (first, second) =
            (rendered(&place, &compose, &["meshed.yaml"]), rendered(&place, &compose, &["again.yaml"]));
        assert_eq!(first, second);
    }
}

#[test]
#[ignore = "needs compose v2 and v5: cargo xtask test docker"]
fn what_stands_beside_a_service_has_its_profiles() {
    for compose in modern() {
        let place = place(PROJECT);
        inject(&place, &compose, &[&FILES[..], &["--output", "meshed.yaml"]].concat());
        let parts = ["tool", "tool-holder", "tool-sidecar", "tool-capture"];
        let all = rendered(&place, &compose, &["meshed.yaml"]);
        let ended = place.run(&compose, &["--file", "meshed.yaml", "config", "--services"]);
        for part in parts {
            assert!(keys(&all["services"]).contains(&part), "{part}");
            assert!(!ended.out.lines().any(|line| line == part), "{part}: {}", ended.out);
        }
    }
}

#[test]
#[ignore = "needs docker-compose 1.29: cargo xtask test docker"]
fn docker_compose_1_29_takes_what_it_gave() {
    let Some(old) = old() else { return };
    let place = place(OLD_PROJECT);
    let ended = inject(&place, &old, &[&FILES[..], &["--output", "meshed.yaml"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("may hold secrets"), "{}", ended.err);
    assert_eq!(place.mode("meshed.yaml"), 0o600);
    assert!(place.read("meshed.yaml").contains(PLANTED), "1.29 puts it in; that is why");
    let config = place.run(&old, &["--file", "meshed.yaml", "config"]);
    assert_eq!(config.code, Some(0), "{}", config.err);
    for part in
        ["network_mode: service:cart-3-holder", "condition: service_completed_successfully", "PRICE: $$5"]
    {
        assert!(config.out.contains(part), "{part}: {}", config.out);
    }
    assert!(config.out.contains("AGREE: \"yes\"") && config.out.contains("TIME: '22:22'"), "{}", config.out);
    let again = inject(&place, &old, &["meshed.yaml", "--diff"]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), ""), "{}", again.err);
    // A later compose takes it as well.
    for compose in modern() {
        let services = &rendered(&place, &compose, &["meshed.yaml"])["services"];
        assert!(keys(services).contains(&"cart-2-sidecar"), "{services}");
    }
}
