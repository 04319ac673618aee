//! Task definitions, meshed: `tests/ecs/<case>/task.json` in, `meshed.json` and `said.txt` beside it out.
//! `UPDATE_GOLDEN=1 cargo test -p outrigger-inject --test ecs` writes the answers anew; the diff is the review.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_inject::Remark;
use outrigger_inject::ecs::{Injected, Names, Options, Resources, Templates, inject, original, read, render};
use outrigger_model::Mesh;
use serde_yaml::Value;

/// The pin of all cases that say none.
const PIN: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct Case {
    folder: PathBuf,
    name: String,
    task: Value,
    options: Options,
}

fn cases() -> Vec<Case> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ecs");
    let mut cases: Vec<Case> = fs::read_dir(all).unwrap().map(|entry| case(entry.unwrap().path())).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 40, "only {} cases were found", cases.len());
    cases
}

fn case(folder: PathBuf) -> Case {
    let task = read(&fs::read_to_string(folder.join("task.json")).unwrap()).unwrap();
    let said = fs::read_to_string(folder.join("options.json")).unwrap_or_else(|_| "{}".into());
    let said = read(&said).unwrap();
    let mut options = Options { pin: PIN.into(), ..Options::default() };
    for (key, value) in said.as_mapping().unwrap() {
        match (key.as_str().unwrap(), value.as_str().unwrap_or_default()) {
            ("control", control) => options.control = control.into(),
            ("pin", pin) => options.pin = pin.into(),
            ("resources", "add") => options.resources = Resources::Add,
            ("resources", "subtract") => options.resources = Resources::Subtract,
            ("names", "zone") => options.names = Names::Zone,
            ("replace-app-mesh", _) => options.replace_app_mesh = value.as_bool().unwrap(),
            ("mesh", text) => options.mesh = Mesh::read(text, "mesh.yaml").unwrap(),
            (other, value) => panic!("{}: {other}: {value}", folder.display()),
        }
    }
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    Case { folder, name, task, options }
}

fn said(remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("{remark}\n")).collect()
}

fn hold(file: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if found.is_empty() {
            _ = fs::remove_file(file);
        } else {
            fs::write(file, found).unwrap();
        }
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(found, wanted, "{}: run again with UPDATE_GOLDEN=1 and review the diff", file.display());
}

#[test]
fn every_case_is_meshed_or_refused_as_written() {
    for Case { folder, task, options, .. } in cases() {
        let (meshed, remarks) = match inject(&task, &options) {
            Ok(Injected { definition, warnings, .. }) => (render(&definition), said(&warnings)),
            Err(refusals) => {
                assert!(!refusals.is_empty());
                (String::new(), format!("refused\n{}", said(&refusals)))
            }
        };
        hold(&folder.join("meshed.json"), &meshed);
        hold(&folder.join("said.txt"), &remarks);
    }
}

#[test]
fn injecting_again_changes_nothing_and_taking_it_out_gives_the_original() {
    for Case { name, task, options, .. } in cases() {
        let Ok(once) = inject(&task, &options) else { continue };
        let again = Options { replace_app_mesh: false, ..options.clone() };
        assert_eq!(inject(&once.definition, &again).unwrap().definition, once.definition, "{name}");
        if options.replace_app_mesh || name == "several-containers" {
            // The Envoy is gone for good; and an empty list is as good as none.
            continue;
        }
        assert_eq!(original(&once.definition).unwrap(), original(&task).unwrap(), "{name}");
    }
}

#[test]
fn a_newer_template_takes_the_place_of_the_older_one() {
    let newer = r#"{ "essential": true, "cpu": 128, "memoryReservation": 32, "stopTimeout": 60 }"#;
    let templates = Templates::read(&[Some(newer), Some(newer), None]).unwrap();
    for Case { name, task, options, .. } in cases() {
        let Ok(older) = inject(&task, &options) else { continue };
        let newer = Options { templates: templates.clone(), replace_app_mesh: false, ..options.clone() };
        let Ok(direct) =
            inject(&task, &Options { replace_app_mesh: options.replace_app_mesh, ..newer.clone() })
        else {
            continue;
        };
        assert_eq!(inject(&older.definition, &newer).unwrap().definition, direct.definition, "{name}");
    }
}

#[test]
fn what_is_no_task_definition_is_refused_without_a_panic() {
    let options = Options::default();
    for text in [
        "[]",
        "null",
        "3",
        "{}",
        r#"{ "taskDefinition": 3 }"#,
        r#"{ "family": "a", "containerDefinitions": [3] }"#,
    ] {
        assert!(inject(&read(text).unwrap(), &options).is_err(), "{text}");
    }
    assert!(read("{").is_err());
    let forged = r#"{ "family": "a", "containerDefinitions": [ { "name": "outrigger-sidecar",
        "dockerLabels": { "outrigger.managed": "sidecar", "outrigger.injected": "{" } } ] }"#;
    let refusals = inject(&read(forged).unwrap(), &options).unwrap_err();
    assert!(
        said(&refusals).contains("outrigger.injected is not what an injection wrote"),
        "{}",
        said(&refusals)
    );
}
