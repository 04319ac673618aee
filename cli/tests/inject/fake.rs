//! With a compose that answers what the test has it answer: manners, exit codes, and how the result is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::place::Place;

/// Answers the version and the flags of `version` and `flags`, and for a project the file `project.yaml`; writes down
/// how it was called.
const COMPOSE: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$*" in
  *"version --short"*) cat "$here/version" ;;
  *--help*) cat "$here/flags" ;;
  *) [ -f "$here/project.yaml" ] || { echo "no such file: compose.yaml" >&2; exit 15; }; cat "$here/project.yaml" ;;
esac
"#;
const MODERN: &str =
    "--no-interpolate --no-env-resolution --no-path-resolution --no-normalize --no-consistency";
const PROJECT: &str = "
services:
  cart: { image: cart, ports: [ '8080:80' ] }
  outrigger:
    image: outrigger-controller:7
    labels: { outrigger.enable: 'true' }
    volumes: [ outrigger-run:/run/outrigger ]
volumes: { outrigger-run: {} }
";
const HOPELESS: &str = "
services:
  cart: { image: cart, network_mode: host, labels: { outrigger.enable: 'true' } }
  web: { image: web, user: '61337', labels: { outrigger.enable: 'true' } }
";

fn place(version: &str, flags: &str, project: &str) -> Place {
    let place = Place::new(&[
        ("compose", COMPOSE),
        ("version", version),
        ("flags", flags),
        ("project.yaml", project),
    ]);
    fs::set_permissions(place.path("compose"), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn the_meshed_project_is_printed_and_nothing_else() {
    let place = place("2.40.3", MODERN, PROJECT);
    let ended = place.inject(&["--compose", "./compose", "a.yaml", "b.yaml"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.starts_with("# Written by `outrigger inject compose`."), "{}", ended.out);
    assert!(ended.out.contains("network_mode: service:cart-holder"), "{}", ended.out);
    let calls = place.read("calls");
    let call = calls.lines().last().unwrap();
    assert_eq!(
        call,
        "--file a.yaml --file b.yaml --profile * config --no-interpolate --no-env-resolution --no-path-resolution --no-normalize --no-consistency"
    );
}

#[test]
fn what_compose_is_to_know_is_passed_on() {
    let place = place("2.40.3", MODERN, PROJECT);
    let words =
        ["--compose", "./compose", "--profile", "debug", "--env-file", "x.env", "--project-name", "p"];
    let words = [&words[..], &["--project-directory", ".", "--interpolate", "c.yaml"]].concat();
    assert_eq!(place.inject(&words).code, Some(0));
    let calls = place.read("calls");
    let want = "--file c.yaml --env-file x.env --project-name p --project-directory . --profile debug config --no-env-resolution";
    assert!(calls.lines().last().unwrap().starts_with(want), "{calls}");
}

#[test]
fn every_refusal_is_listed_and_nothing_is_written() {
    let place = place("2.40.3", MODERN, HOPELESS);
    let ended = place.inject(&["--compose", "./compose", "--output", "meshed.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(64), ""));
    for part in
        ["refused: service cart: network_mode: host", "refused: service web: user: 61337", "outrigger.yaml"]
    {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert!(!ended.err.contains('\x1b'), "no colours into a pipe: {}", ended.err);
    assert!(!place.names().contains(&"meshed.yaml".to_owned()));
    let json: Value = serde_json::from_str(&place.inject(&["--compose", "./compose", "--json"]).out).unwrap();
    assert_eq!(json["refusals"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(json["refusals"][0]["service"], "cart");
}

#[test]
fn when_compose_fails_its_words_are_shown() {
    let place = place("2.40.3", MODERN, PROJECT);
    fs::remove_file(place.path("project.yaml")).unwrap();
    let ended = place.inject(&["--compose", "./compose"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no such file: compose.yaml"), "{}", ended.err);
}

#[test]
fn bad_usage_is_64() {
    let place = place("2.23.0", MODERN, PROJECT);
    for (words, hint) in [
        (&["--compose", "/nowhere/compose"][..], "--compose"),
        (&["--compose", "./compose", "--templates", "nowhere"], "no such directory"),
        (&["--compose", "./compose", "--overlay"], "2.24.4"),
        (&["--compose", "./compose", "--overlay", "--diff"], "cannot be used with"),
    ] {
        let ended = place.inject(words);
        assert_eq!(ended.code, Some(64), "{words:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{words:?}: {}", ended.err);
    }
    place.write("look/sidecar.yaml", "image: mine\n");
    let ended = place.inject(&["--compose", "./compose", "--templates", "look"]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.err.contains("sidecar.yaml") && ended.err.contains("--image"), "{}", ended.err);
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let place = place("2.40.3", MODERN, PROJECT);
    place.write("meshed.yaml", "old\n");
    fs::set_permissions(place.path("meshed.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = place.names();
    let ended = place.inject(&["--compose", "./compose", "--output", "meshed.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    assert!(ended.err.contains("meshed cart; written to meshed.yaml"), "{}", ended.err);
    assert!(place.read("meshed.yaml").contains("cart-sidecar:"));
    assert_eq!(place.mode("meshed.yaml"), 0o640);
    let mut after = place.names();
    after.retain(|name| name != "calls");
    let mut before = before;
    before.retain(|name| name != "calls");
    assert_eq!(after, before, "nothing is left beside it");
}

#[test]
fn what_may_hold_secrets_is_for_its_owner_alone() {
    let place = place("1.29.2", "--no-interpolate", PROJECT);
    place.write("meshed.yaml", "old\n");
    fs::set_permissions(place.path("meshed.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = place.inject(&["--compose", "./compose", "--output", "meshed.yaml"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("values of environment files"), "{}", ended.err);
    assert_eq!(place.mode("meshed.yaml"), 0o600);
    let calls = place.read("calls");
    assert_eq!(calls.lines().last(), Some("config --no-interpolate"), "1.29 needs no --profile");
}

#[test]
fn paths_are_meant_from_the_project() {
    let place = place("2.40.3", MODERN, &PROJECT.replace("image: cart", "image: cart, build: HERE/cart"));
    place
        .write("project.yaml", &place.read("project.yaml").replace("HERE", place.path("").to_str().unwrap()));
    place.write("out/keep", "");
    let ended = place.inject(&["--compose", "./compose", "--output", "out/meshed.yaml"]);
    assert!(ended.err.contains("relative paths in it are meant from"), "{}", ended.err);
    assert!(ended.err.contains("compose made paths absolute"), "{}", ended.err);
}

#[test]
fn the_difference_and_the_json_are_of_the_same_project() {
    let place = place("2.40.3", MODERN, PROJECT);
    let diff = place.inject(&["--compose", "./compose", "--diff"]).out;
    assert!(diff.contains("\n+  cart-holder:\n"), "{diff}");
    let coloured = place.inject(&["--compose", "./compose", "--diff", "--color", "always"]).out;
    assert!(coloured.contains("\x1b[32m+  cart-holder:"), "{coloured}");
    let json: Value = serde_json::from_str(&place.inject(&["--compose", "./compose", "--json"]).out).unwrap();
    assert_eq!(json["meshed"], serde_json::json!(["cart"]));
    assert!(json["text"].as_str().unwrap().contains("outrigger-sidecar:7"), "{json}");
    let overlay = place.inject(&["--compose", "./compose", "--overlay"]).out;
    assert!(overlay.contains("ports: !reset null"), "{overlay}");
    assert!(!overlay.contains("outrigger-controller"), "{overlay}");
}

#[test]
fn a_template_is_looked_for_in_the_directory() {
    let place = place("2.40.3", MODERN, PROJECT);
    place.write("look/sidecar.yaml", "user: '61337:61337'\nmem_limit: 64m\n");
    let ended = place.inject(&["--compose", "./compose", "--templates", "look"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("mem_limit: \"64m\""), "{}", ended.out);
    assert!(ended.out.contains("command:\n      - hold"), "the others are the built-in ones: {}", ended.out);
}

#[test]
fn the_mesh_file_has_a_say() {
    let place = place("2.40.3", MODERN, PROJECT);
    place.write("mesh.yaml", "services: { cart.shop: { capture: names } }\n");
    let run = |more: &[&str]| {
        place.inject(&[&["--compose", "./compose", "--mesh-file", "mesh.yaml"], more].concat())
    };
    let names = "      - SETUID\n";
    assert!(run(&["--project-name", "shop"]).out.contains(names), "the sidecar writes names");
    assert!(!run(&["--project-name", "other"]).out.contains(names), "cart of another project is not meant");
    place.write("mesh.yaml", "services: { cart: { captur: names, mode: hard } }\n");
    let ended = run(&[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(64), ""));
    assert_eq!(ended.err.matches("refused: mesh.yaml:1:").count(), 2, "{}", ended.err);
}
