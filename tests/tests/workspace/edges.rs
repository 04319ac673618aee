//! A crate exists to forbid an edge: these are the allowed ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{metadata, ours, packages, root, text};

/// What a crate may depend on, dev and build dependencies included. `outrigger-tests` may see everything.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("outrigger-model", &[]),
    ("outrigger-wire", &[]),
    ("outrigger-lifecycle", &[]),
    ("outrigger-settings", &[]),
    ("outrigger-compile", &["outrigger-model", "outrigger-wire"]),
    ("outrigger-inject", &["outrigger-model", "outrigger-wire"]),
    (
        "outrigger-controller",
        &[
            "outrigger-model",
            "outrigger-compile",
            "outrigger-inject",
            "outrigger-wire",
            "outrigger-lifecycle",
            "outrigger-settings",
        ],
    ),
    ("outrigger-sidecar", &["outrigger-wire", "outrigger-lifecycle", "outrigger-settings"]),
    (
        "outrigger-cli",
        &["outrigger-model", "outrigger-compile", "outrigger-inject", "outrigger-wire", "outrigger-settings"],
    ),
    ("xtask", &[]),
];

/// Outside libraries that only some crates may be built of, each with the reason.
const RESERVED: [(&str, &[&str], &str); 9] = [
    ("bollard", &["outrigger-controller"], "only the controller talks to the Docker Engine"),
    ("aws-sdk-", &["outrigger-controller"], "only the controller talks to AWS"),
    ("aws-config", &["outrigger-controller"], "only the controller talks to AWS"),
    ("aws-smithy-", &["outrigger-controller"], "only the controller talks to AWS"),
    (
        "yaml_serde",
        &[
            "outrigger-model",
            "outrigger-sidecar",
            "outrigger-controller",
            "outrigger-settings",
            "outrigger-inject",
            "outrigger-cli",
        ],
        "YAML: the mesh file, `--config FILE` (and `outrigger compile`, which prints one), compose projects, the templates of injected containers, and settings files",
    ),
    ("saphyr-parser", &["outrigger-model"], "positions in the mesh file; others read plain values"),
    ("figment", &["outrigger-settings"], "settings are layered in one place, the same way for every process"),
    ("rcgen", &["outrigger-controller", "outrigger-sidecar"], "the CA signs, the sidecar makes its key"),
    ("hickory-", &["outrigger-sidecar"], "only the sidecar answers DNS"),
];

/// May name everything: rings that join crates.
const RINGS: &str = "outrigger-tests";

#[test]
fn crates_depend_only_where_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let members: BTreeSet<&str> = packages().iter().filter(|p| ours(p)).map(|p| text(p, "name")).collect();
    let listed: BTreeSet<&str> = allowed.keys().copied().chain([RINGS]).collect();
    assert_eq!(members, listed, "a new crate names in this list the edge that it forbids");

    let mut faults = Vec::new();
    for (package, dependency) in direct(|_| true) {
        let forbidden = members.contains(dependency) && !allowed[package].contains(&dependency);
        if forbidden {
            faults.push(format!("{package} -> {dependency}"));
        }
    }
    assert!(faults.is_empty(), "edges that the design forbids:\n{}", faults.join("\n"));
}

#[test]
fn reserved_libraries_stay_where_they_belong() {
    let mut faults = Vec::new();
    for (package, dependency) in direct(built) {
        for (library, crates, reason) in RESERVED {
            if covers(library, dependency) && !crates.contains(&package) {
                faults.push(format!("{package} -> {dependency}: {reason}"));
            }
        }
    }
    assert!(faults.is_empty(), "libraries in the wrong crate:\n{}", faults.join("\n"));
}

/// Not only directly: no path leads from another crate to the Docker Engine's or AWS's client.
#[test]
fn only_the_controller_reaches_an_engine() {
    for member in packages().iter().filter(|p| ours(p)) {
        let name = text(member, "name");
        if [RINGS, "outrigger-controller"].contains(&name) {
            continue;
        }
        let reached = reach(text(member, "id"));
        let engine =
            |id: &&str| id.contains("#bollard") || id.contains("#aws-sdk-") || id.contains("#aws-config");
        assert_eq!(reached.iter().find(|id| engine(id)), None, "{name} reaches a client of an engine");
    }
}

/// Sources publish what they see; how a sidecar is told is not theirs to know. The ports and ids that a
/// sidecar takes in its workload are: an application that needs them cannot be meshed.
#[test]
fn sources_never_see_the_wire() {
    let sources = root().join("controller/src/source");
    for file in crate::files::rust_files().filter(|file| file.starts_with(&sources)) {
        let content = std::fs::read_to_string(&file).expect("a source file is readable");
        let content = content.replace("outrigger_wire::port", "");
        let name = file.strip_prefix(root()).expect("under the root").display().to_string();
        assert!(!content.contains("outrigger_wire"), "{name} uses outrigger_wire: map to the model instead");
    }
}

/// What the crate's product is built of; its tests may read a golden file with whatever reads it.
fn built(dependency: &Value) -> bool {
    dependency["kind"] != "dev"
}

/// (crate, library) for the direct dependencies that are `wanted`; for the rings nothing is forbidden.
fn direct(wanted: fn(&Value) -> bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let members = packages().iter().filter(|p| ours(p) && text(p, "name") != RINGS);
    members.flat_map(move |package| {
        let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
        let dependencies = dependencies.iter().filter(move |dependency| wanted(dependency));
        dependencies.map(move |dependency| (text(package, "name"), text(dependency, "name")))
    })
}

/// `aws-` covers every crate of that beginning; `bollard` itself and what is made for it (`bollard-stubs`).
fn covers(library: &str, dependency: &str) -> bool {
    dependency
        .strip_prefix(library)
        .is_some_and(|rest| library.ends_with('-') || rest.is_empty() || rest.starts_with('-'))
}

/// Ids of all packages that a package's normal dependencies lead to.
fn reach(from: &str) -> BTreeSet<&'static str> {
    let nodes = metadata()["resolve"]["nodes"].as_array().expect("cargo metadata resolves");
    let by_id: BTreeMap<&str, &'static Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let mut reached = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(id) = todo.pop() {
        for dependency in by_id[id]["deps"].as_array().expect("a list of edges") {
            let kinds = dependency["dep_kinds"].as_array().expect("a list of kinds");
            let normal = kinds.iter().any(|kind| kind["kind"].is_null());
            let id = text(dependency, "pkg");
            if normal && reached.insert(id) {
                todo.push(id);
            }
        }
    }
    reached
}
