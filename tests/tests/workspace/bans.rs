//! Holds `deny.toml` without cargo-deny installed: its bans and its licences, on what this platform builds.

use std::fs;

use serde_json::Value;

use crate::{cargo, ours, packages, root, text};

#[test]
fn no_banned_library_is_built() {
    let banned = names_in_list("deny");
    assert!(banned.contains(&"openssl-sys".to_owned()), "deny.toml was read: {banned:?}");
    for package in built() {
        let name = package.split(' ').next().unwrap_or_default();
        assert!(
            !banned.iter().any(|b| b == name),
            "{name} is banned by deny.toml; see who: cargo tree -i {name}"
        );
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = names_in_list("allow");
    assert!(allowed.contains(&"Apache-2.0".to_owned()), "deny.toml was read: {allowed:?}");
    let mut faults = Vec::new();
    for package in packages().iter().filter(|package| !ours(package)) {
        match &package["license"] {
            Value::String(licence) if permits(licence, &allowed) => {}
            other => faults.push(format!("{} {}: {other}", text(package, "name"), text(package, "version"))),
        }
    }
    assert!(faults.is_empty(), "licences that deny.toml does not allow:\n{}", faults.join("\n"));
}

#[test]
fn licence_expressions_are_read() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (licence, want) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("ISC AND (Apache-2.0 OR MIT)", true),
        ("ISC AND (Apache-2.0 OR GPL-3.0)", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("GPL-3.0", false),
    ] {
        assert_eq!(permits(licence, &allowed), want, "{licence}");
    }
}

/// It is a workspace of its own: nothing else would notice that a new dependency is not in its list.
#[test]
fn the_fuzz_targets_can_still_be_built_with_their_lock_file() {
    let manifest = ["metadata", "--format-version", "1", "--locked", "--manifest-path", "fuzz/Cargo.toml"];
    assert!(!cargo(&manifest).is_empty());
}

/// `name version` of all that is built here. `cargo metadata` would also list what no feature asks for (ring).
fn built() -> Vec<String> {
    let format = ["--prefix", "none", "--format", "{p}"];
    let tree = cargo(&[&["tree", "--workspace", "--locked", "--edges", "all"][..], &format].concat());
    let lines: Vec<String> = String::from_utf8_lossy(&tree).lines().map(str::to_owned).collect();
    assert!(lines.len() > 100, "cargo tree lists the packages: {lines:?}");
    lines
}

/// The quoted first strings of the lines of `key = [ … ]` in `deny.toml`: one entry per line.
fn names_in_list(key: &str) -> Vec<String> {
    let file = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    let begin = format!("{key} = [");
    let list = file.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
    let entries = list.take_while(|line| !line.starts_with(']'));
    entries
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// SPDX expressions of the shapes that crates use: `OR`, `AND` (which binds tighter), `/`, parentheses.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (holds, rest) = any_of(&tokens, allowed);
    holds && rest.is_empty()
}

fn any_of<'a, 't>(tokens: &'t [&'a str], allowed: &[String]) -> (bool, &'t [&'a str]) {
    let (mut holds, mut rest) = all_of(tokens, allowed);
    while let ["OR", tail @ ..] = rest {
        let (next, after) = all_of(tail, allowed);
        (holds, rest) = (holds | next, after);
    }
    (holds, rest)
}

fn all_of<'a, 't>(tokens: &'t [&'a str], allowed: &[String]) -> (bool, &'t [&'a str]) {
    let (mut holds, mut rest) = one(tokens, allowed);
    while let ["AND", tail @ ..] = rest {
        let (next, after) = one(tail, allowed);
        (holds, rest) = (holds & next, after);
    }
    (holds, rest)
}

fn one<'a, 't>(tokens: &'t [&'a str], allowed: &[String]) -> (bool, &'t [&'a str]) {
    match tokens {
        ["(", inner @ ..] => match any_of(inner, allowed) {
            (holds, [")", rest @ ..]) => (holds, rest),
            (_, rest) => (false, rest),
        },
        [licence, "WITH", exception, rest @ ..] => {
            (allowed.iter().any(|a| *a == format!("{licence} WITH {exception}")), rest)
        }
        [licence, rest @ ..] => (allowed.iter().any(|a| a == licence), rest),
        [] => (false, &[]),
    }
}
