//! Controller N serves sidecar N-1: where a mesh uses nothing new, its configuration has no key that the older sidecar
//! does not know.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "golden/input.rs"]
mod input;
#[path = "skew/v0_1_0.rs"]
mod v0_1_0;

use std::fs;
use std::path::Path;

use outrigger_compile::compile;
use outrigger_wire::{Held, Resource};

/// Meshes that use what 0.1.0 has.
const CASES: [&str; 5] = ["isolated", "names", "protocols", "readiness", "shop"];

const RULE: &str = "a sidecar of the version before would refuse this configuration, and with it every change after it. A new \
                    field of `wire` is left out where it has its default (`#[serde(default, skip_serializing_if = …)]`), and \
                    compile sets it only for meshes that use the feature; a new value of an enum, a new kind of resource or of \
                    listener comes only with the feature, too. The copy in compile/tests/skew never changes (docs/upgrade.md)";

/// Reads a resource as sidecar 0.1.0 does.
fn read(resource: &Resource) -> Result<(), String> {
    fn parse<T: serde::de::DeserializeOwned>(resource: &Resource) -> Result<(), String> {
        serde_json::from_slice::<T>(&resource.body).map(drop).map_err(|error| error.to_string())
    }
    match resource.name.split('/').next().unwrap() {
        "proxy" => parse::<v0_1_0::Proxy>(resource),
        "service" => parse::<v0_1_0::Service>(resource),
        "cluster" => parse::<v0_1_0::Cluster>(resource),
        kind => Err(format!("unknown kind `{kind}`")),
    }
}

#[test]
fn a_mesh_that_uses_nothing_new_is_read_by_the_version_before() {
    for case in CASES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case).join("input.yaml");
        let snapshot = input::snapshot(&fs::read_to_string(file).unwrap()).unwrap();
        let mut read_some = false;
        for id in snapshot.workloads.keys() {
            let Ok(config) = compile(&snapshot, id) else { continue };
            for resource in Held::of(&config).resources() {
                let name = &resource.name;
                read(resource).unwrap_or_else(|error| panic!("{case}, {}, {name}: {error}\n{RULE}", id.0));
                read_some = true;
            }
        }
        assert!(read_some, "{case}");
    }
}

#[test]
fn what_the_version_before_does_not_know_is_refused_by_name() {
    let resource =
        |name: &str, body: &str| Resource { name: name.into(), body: body.into(), ..Resource::default() };
    let cluster = r#"{"service":"a.b","port":1,"identity":"spiffe://a/b/c","balance":"random"}"#;
    assert!(read(&resource("cluster/a.b:1", cluster)).unwrap_err().contains("unknown field `balance`"));
    read(&resource("cluster/a.b:1", &cluster.replace(r#","balance":"random""#, ""))).unwrap();
    assert!(read(&resource("route/a", "{}")).unwrap_err().contains("route"));
}
