//! Every meshed task definition of the golden files is what `RegisterTaskDefinition` takes, by botocore's model of the API.

use std::path::PathBuf;
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Exit code and words of `tests/ecs/validate.py`.
fn validate(files: &[PathBuf]) -> (Option<i32>, String) {
    let python = std::env::var_os("OUTRIGGER_TEST_ECS_PYTHON")
        .expect("OUTRIGGER_TEST_ECS_PYTHON names a Python with botocore: run cargo xtask test docker");
    let mut command = Command::new(python);
    command.arg(root().join("tests/ecs/validate.py")).args(["ecs", "RegisterTaskDefinition"]).args(files);
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
