//! Each folder of `tests/golden` is a case: `input.yaml` is a project as compose renders it, `output.yaml` the same project
//! meshed, `overlay.yaml` the difference, `remarks.txt` the warnings; or `refusals.txt` alone. `options.yaml` says what is
//! not the default. `UPDATE_GOLDEN=1 cargo test -p outrigger-inject` writes the answers anew; the diff is the review.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_inject::Remark;
use outrigger_inject::compose::{Injected, Options, Value, inject, overlay, read, render};
use outrigger_model::mesh::Mesh;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn file(case: &Path, name: &str) -> Option<Value> {
    let text = fs::read_to_string(case.join(name)).ok()?;
    Some(read(&text).unwrap_or_else(|error| panic!("{}: {name}: {error}", case.display())))
}

fn options(case: &Path) -> Options {
    let said = file(case, "options.yaml").unwrap_or(Value::Null);
    let text = |key: &str| said.get(key).and_then(Value::as_str).map(str::to_owned);
    let mesh = text("mesh").map_or_else(Mesh::default, |mesh| Mesh::read(&mesh, "mesh.yaml").unwrap());
    let (control_volume, image, namespace) = (text("control-volume"), text("image"), text("namespace"));
    Options { control_volume, image, namespace, mesh, ..Options::default() }
}

fn answers(case: &Path) -> BTreeMap<&'static str, String> {
    let lines = |remarks: &[Remark]| remarks.iter().map(|remark| format!("{remark}\n")).collect::<String>();
    let input = file(case, "input.yaml").expect("every case has an input");
    match inject(&input, &options(case)) {
        Err(refusals) => [("refusals.txt", lines(&refusals))].into(),
        Ok(Injected { project, warnings, .. }) => {
            let mut answers: BTreeMap<&str, String> = [("output.yaml", render(&project))].into();
            answers.extend(overlay(&input, &project).map(|overlay| ("overlay.yaml", render(&overlay))));
            answers.extend((!warnings.is_empty()).then(|| ("remarks.txt", lines(&warnings))));
            answers
        }
    }
}

#[test]
fn every_case_gives_its_golden_files() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for case in cases() {
        let answers = answers(&case);
        let given = ["input.yaml", "options.yaml"];
        let present: BTreeSet<String> = fs::read_dir(&case)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !given.contains(&name.as_str()))
            .collect();
        if update {
            present.iter().for_each(|name| fs::remove_file(case.join(name)).unwrap());
            answers.iter().for_each(|(name, text)| fs::write(case.join(name), text).unwrap());
            continue;
        }
        for (name, found) in &answers {
            let golden = fs::read_to_string(case.join(name)).unwrap_or_default();
            assert_eq!(
                *found,
                golden,
                "{}/{name}: run again with UPDATE_GOLDEN=1 and review the diff",
                case.display()
            );
        }
        let expected: BTreeSet<String> = answers.keys().map(|name| (*name).to_owned()).collect();
        assert_eq!(present, expected, "{}", case.display());
    }
}

#[test]
fn injecting_the_result_again_changes_nothing() {
    let mut tried = 0;
    for case in cases() {
        let input = file(&case, "input.yaml").unwrap();
        let Ok(first) = inject(&input, &options(&case)) else { continue };
        // Through a file, as a user would, and without what the first run was told.
        let again = read(&render(&first.project)).unwrap();
        assert_eq!(again, first.project, "{}", case.display());
        let second = inject(&again, &Options::default())
            .unwrap_or_else(|refusals| panic!("{}: {refusals:?}", case.display()));
        assert_eq!(second.project, first.project, "{}", case.display());
        assert_eq!(second.meshed, [""; 0], "{}", case.display());
        assert_eq!(overlay(&again, &second.project), None);
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
}

/// What compose says of a service is in the result, field by field, at the service or at its holder.
#[test]
fn no_field_is_lost() {
    let changed =
        ["scale", "depends_on", "network_mode", "networks", "links", "sysctls", "deploy", "environment"];
    for case in cases() {
        let input = file(&case, "input.yaml").unwrap();
        let Ok(Injected { project, .. }) = inject(&input, &options(&case)) else { continue };
        for (name, body) in input["services"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            let holder = project["services"].get(format!("{name}-holder"));
            for (key, value) in body.as_mapping().unwrap() {
                let stays = project["services"][name].get(key).cloned().map(without_ours);
                let found = stays.or_else(|| holder?.get(key).cloned());
                if !changed.contains(&key.as_str().unwrap()) {
                    assert_eq!(found.as_ref(), Some(value), "{}: {name}.{key:?}", case.display());
                }
            }
        }
        for (key, value) in input.as_mapping().unwrap() {
            if !["services", "volumes"].contains(&key.as_str().unwrap()) {
                assert_eq!(project.get(key), Some(value), "{}: {key:?}", case.display());
            }
        }
    }
}

/// Labels as they were before the one that follows the holder.
fn without_ours(mut labels: Value) -> Value {
    match &mut labels {
        Value::Mapping(labels) => drop(labels.shift_remove("outrigger-holder")),
        Value::Sequence(labels) => {
            labels
                .retain(|label| !label.as_str().is_some_and(|label| label.starts_with("outrigger-holder=")));
        }
        _ => {}
    }
    labels
}
