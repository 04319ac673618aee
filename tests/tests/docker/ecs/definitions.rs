//! Every meshed task definition is what `RegisterTaskDefinition` takes, by botocore's model of the API: those of the golden files, and
//! those that are made of definitions put together at random from that model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use outrigger_inject::compose::Value;
use outrigger_inject::ecs::{Names, Options, Resources, differences, inject, original, read, render};

/// Definitions that are tried; most are refused, for what they say of network and ports.
const TRIES: usize = 1500;
/// Of these meshed, at least.
const LEAST: usize = 300;
/// Fields that injection may change: of the task, of a container.
const CHANGED: [&[&str]; 2] = [
    &["containerDefinitions", "proxyConfiguration", "volumes", "cpu", "memory"],
    &["dependsOn", "environment", "links", "cpu", "memory", "memoryReservation"],
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A program of `tests/ecs`.
fn python(program: &str) -> Command {
    let python = std::env::var_os("OUTRIGGER_TEST_ECS_PYTHON")
        .expect("OUTRIGGER_TEST_ECS_PYTHON names a Python with botocore: run cargo xtask test docker");
    let mut command = Command::new(python);
    command.arg(root().join("tests/ecs").join(program));
    command
}

/// Exit code and words of `tests/ecs/validate.py`.
fn validate(files: &[PathBuf]) -> (Option<i32>, String) {
    let mut command = python("validate.py");
    command.args(["ecs", "RegisterTaskDefinition"]).args(files);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
#[ignore = "needs botocore: cargo xtask test docker"]
fn botocore_takes_every_meshed_definition() {
    let cases = std::fs::read_dir(root().join("inject/tests/ecs")).unwrap();
    let meshed = cases.map(|case| case.unwrap().path().join("meshed.json")).filter(|file| file.exists());
    // That case is about fields that no model has yet: it shows that the model is asked at all.
    let (unknown, meshed): (Vec<_>, Vec<_>) =
        meshed.partition(|file| file.parent().is_some_and(|case| case.ends_with("unknown-fields")));
    assert!(meshed.len() > 20, "only {} definitions were found", meshed.len());
    let (code, said) = validate(&meshed);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = validate(&unknown);
    assert!(code == Some(1) && said.contains("anotherField") && said.contains("newField"), "{said}");
}

/// As users may have them, one after another.
fn options(at: usize) -> Options {
    let pin = format!("sha256:{}", "00".repeat(32));
    let control =
        ["https://controller.outrigger.internal:15010", "/run/outrigger"][usize::from(at.is_multiple_of(5))];
    Options {
        control: control.into(),
        pin,
        resources: [Resources::Add, Resources::Share, Resources::Subtract][at % 3],
        names: [Names::Hosts, Names::Zone][at % 2],
        replace_app_mesh: at.is_multiple_of(4),
        ..Options::default()
    }
}

fn containers(definition: &Value) -> BTreeMap<&str, &Value> {
    let all = definition["containerDefinitions"].as_sequence().unwrap();
    all.iter().map(|container| (container["name"].as_str().unwrap(), container)).collect()
}

/// Every field that injection has no business with is as it was, and nothing is there that was not.
fn keeps(before: &Value, after: &Value, changed: &[&str], what: &str) {
    for (key, field) in before.as_mapping().unwrap() {
        let key = key.as_str().unwrap();
        assert!(changed.contains(&key) || after.get(key) == Some(field), "{what}: {key}: {field:?}");
    }
    for (key, _) in after.as_mapping().unwrap() {
        let key = key.as_str().unwrap();
        assert!(changed.contains(&key) || before.get(key).is_some(), "{what}: {key} is new");
    }
}

#[test]
#[ignore = "needs botocore: cargo xtask test docker"]
fn whatever_the_model_has_is_kept_and_comes_back() {
    let made = python("generate.py").args(["7", &TRIES.to_string()]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let folder = std::env::temp_dir().join(format!("outrigger-definitions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (mut files, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (at, line) in String::from_utf8(made.stdout).unwrap().lines().enumerate() {
        let (given, options) = (read(line).unwrap(), options(at));
        let meshed = match inject(&given, &options) {
            Ok(injected) => injected.definition,
            Err(reasons) => {
                assert!(!reasons.is_empty(), "{line}");
                reasons.iter().for_each(|reason| *refused.entry(reason.to_string()).or_default() += 1);
                continue;
            }
        };
        assert_eq!(inject(&meshed, &options).unwrap().definition, meshed, "again: {line}");
        if !options.replace_app_mesh {
            let back = original(&meshed).unwrap();
            assert_eq!(differences(&given, &back), [""; 0], "{line}\n{}", render(&back));
            let [task, container] = CHANGED;
            keeps(&given, &meshed, task, line);
            let (before, after) = (containers(&given), containers(&meshed));
            before.iter().for_each(|(name, before)| keeps(before, after[name], container, line));
        }
        // What the model did not take before is no fault of ours.
        for (name, text) in [("given", render(&given)), ("meshed", render(&meshed))] {
            let file = folder.join(format!("{at}-{name}.json"));
            std::fs::write(&file, text).unwrap();
            files.push(file);
        }
    }
    for (reason, times) in refused.iter().filter(|(_, times)| **times > 20) {
        println!("{times} refused: {reason}");
    }
    assert!(files.len() >= 2 * LEAST, "only {} were meshed", files.len() / 2);
    let (code, said) = validate(&files);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(code, Some(0), "{said}");
    println!("{} of {TRIES} were meshed", files.len() / 2);
}
