//! Each folder of `tests/golden` is a case: `input.yaml` is a mesh, `<workload>.yaml` what compile makes of it for
//! that workload. `UPDATE_GOLDEN=1 cargo test -p outrigger-compile` writes the answers anew; the diff is the review.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "golden/input.rs"]
mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_compile::{compile, outlook, proxy, unreachable};
use outrigger_model::{Snapshot, WorkloadId};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn snapshot(case: &Path) -> Snapshot {
    let text = fs::read_to_string(case.join("input.yaml")).unwrap();
    input::snapshot(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

fn compiled(snapshot: &Snapshot, id: &WorkloadId) -> String {
    match compile(snapshot, id) {
        Ok(config) => {
            config.check().unwrap();
            let unreachable = unreachable(snapshot, id);
            let unreachable = unreachable.iter().map(|reason| format!("# unreachable: {reason}\n"));
            serde_yaml::to_string(&config).unwrap() + &unreachable.collect::<String>()
        }
        Err(error) => format!("error: {error}\n"),
    }
}

#[test]
fn every_case_compiles_to_its_golden_files() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for case in cases() {
        let snapshot = snapshot(&case);
        let mut expected: BTreeSet<PathBuf> = [case.join("input.yaml")].into();
        for (id, workload) in &snapshot.workloads {
            let file = case.join(format!("{}.yaml", workload.name));
            let found = compiled(&snapshot, id);
            if update {
                fs::write(&file, &found).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(
                found,
                golden,
                "{}: run again with UPDATE_GOLDEN=1 and review the diff",
                file.display()
            );
            expected.insert(file);
        }
        let present: BTreeSet<_> = fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(present, expected, "{}: files that no workload stands for", case.display());
    }
}

/// The order in which a source happened to see things leaves no trace, and what compile gives survives the file
/// format that `outrigger-sidecar --config` reads.
#[test]
fn equal_input_gives_equal_bytes() {
    for case in cases() {
        let snapshot = snapshot(&case);
        let mut again = Snapshot { workloads: Default::default(), ..snapshot.clone() };
        for (id, workload) in snapshot.workloads.iter().rev() {
            again.workloads.insert(id.clone(), workload.clone());
        }
        for id in snapshot.workloads.keys() {
            let first = compiled(&snapshot, id);
            assert_eq!(first, compiled(&again, id));
            if let Ok(config) = compile(&snapshot, id) {
                let read: outrigger_wire::ProxyConfig = serde_yaml::from_str(&first).unwrap();
                assert_eq!(read, config);
            }
        }
    }
}

/// The same mesh, said in another order, gives the same bytes: workloads, their networks' addresses apart, and the keys of
/// a mesh file may come as they like.
#[test]
fn the_order_in_which_things_are_said_leaves_no_trace() {
    for case in cases() {
        let text = fs::read_to_string(case.join("input.yaml")).unwrap();
        let first = snapshot(&case);
        for seed in 1..=8 {
            let mut tree: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
            let mut rng = fastrand::Rng::with_seed(seed);
            if let Some(file) = tree.get("mesh").and_then(|mesh| mesh.as_str()).map(str::to_owned) {
                let mut file: serde_yaml::Value = serde_yaml::from_str(&file).unwrap();
                shuffle(&mut file, &mut rng);
                tree["mesh"] = serde_yaml::to_string(&file).unwrap().into();
            }
            shuffle(&mut tree, &mut rng);
            let again = input::snapshot(&serde_yaml::to_string(&tree).unwrap()).unwrap();
            for id in first.workloads.keys() {
                assert_eq!(compiled(&first, id), compiled(&again, id), "{} seed {seed}", case.display());
            }
        }
    }
}

/// Puts the keys of every mapping in another order.
fn shuffle(tree: &mut serde_yaml::Value, rng: &mut fastrand::Rng) {
    if let serde_yaml::Value::Mapping(mapping) = tree {
        let mut entries: Vec<_> = std::mem::take(mapping).into_iter().collect();
        rng.shuffle(&mut entries);
        for (key, mut value) in entries {
            shuffle(&mut value, rng);
            mapping.insert(key, value);
        }
    }
}

#[test]
fn a_workload_that_is_not_there_is_an_error() {
    let error = compile(&Snapshot::default(), &WorkloadId("gone".into())).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn a_listener_with_an_unknown_key_is_refused() {
    let listener = |more: &str| {
        let text = format!("address: 127.0.0.1:0\nkind: inbound\ntarget: original-destination\n{more}");
        serde_yaml::from_str::<outrigger_wire::Listener>(&text)
    };
    assert!(listener("").is_ok());
    assert!(listener("backlog: 5\n").is_err());
}

/// The controller makes services and clusters once for all that look from the same place.
#[test]
fn who_looks_from_the_same_place_has_the_same_services_and_clusters() {
    let mut shared = 0;
    for case in cases() {
        let snapshot = snapshot(&case);
        let mut made = BTreeMap::new();
        for (id, workload) in &snapshot.workloads {
            let whole = compile(&snapshot, id);
            assert_eq!(proxy(&snapshot, id), whole.clone().map(|config| config.proxy), "{}", case.display());
            if let (Some(place), Ok(config)) = (outlook(workload), whole) {
                let seen = (config.services, config.clusters);
                let before = made.entry(place).or_insert_with(|| seen.clone());
                assert_eq!(*before, seen, "{}: {}", case.display(), workload.name);
                shared += 1;
            }
        }
    }
    assert!(shared > 20, "the cases share places: {shared}");
}
