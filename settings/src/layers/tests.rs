use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::CONTROLLER;

/// A few of the controller's keys.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    mesh: Option<String>,
    certificate_lifetime: u64,
    scope: Scope,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Project,
    Engine,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mesh: None, certificate_lifetime: 86_400, scope: Scope::Project }
    }
}

fn check(settings: &Settings) -> Vec<&'static str> {
    if settings.certificate_lifetime < 10 { vec!["certificate-lifetime"] } else { Vec::new() }
}

/// A file of its own for each test.
struct File(PathBuf);

impl File {
    fn new(test: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("outrigger-settings-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("settings.yaml");
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn said(&self) -> Said {
        Said { file: Some(self.0.clone()), ..Said::default() }
    }

    /// Faults with the file's name instead of its path.
    fn faults(&self) -> Vec<String> {
        let refused = layer(&CONTROLLER, &self.said(), check).unwrap_err().to_string();
        refused.replace(&self.0.display().to_string(), "settings.yaml").lines().map(str::to_owned).collect()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn each_layer_stands_over_the_one_before() {
    let file = File::new(
        "layers",
        "controller: {mesh: 2026, certificate-lifetime: 60, scope: engine}\nsidecar: {log: debug}\n",
    );
    let mut said = file.said();
    let lifetime = |said: &Said| layer(&CONTROLLER, said, check).unwrap().settings.certificate_lifetime;
    assert_eq!(lifetime(&Said::default()), 86_400);
    assert_eq!(lifetime(&said), 60);
    said.variables.insert("OUTRIGGER_CERTIFICATE_LIFETIME".into(), "70".into());
    assert_eq!(lifetime(&said), 70);
    said.flags.insert("certificate-lifetime".into(), "80".into());
    assert_eq!(lifetime(&said), 80);

    let found = layer(&CONTROLLER, &said, check).unwrap();
    let settings = Settings { mesh: Some("2026".into()), certificate_lifetime: 80, scope: Scope::Engine };
    assert_eq!(found.settings, settings);
    let printed = found.print();
    let name = file.0.display().to_string();
    for want in [
        format!("# {name}"),
        "# flag --certificate-lifetime".into(),
        "mesh: '2026'".into(),
        "certificate-lifetime: 80 ".into(),
    ] {
        assert!(printed.contains(&want), "{want}\n{printed}");
    }
}

#[test]
fn every_fault_names_layer_key_and_what_to_write() {
    let file = File::new(
        "faults",
        "controller:\n  certificate-lifetime: 1\n  scope: galaxy\n  trust_domain: x\n  mesh: [a]\n  zzzzzzzzzz: 1\nsidecars: {}\n",
    );
    let known: Vec<_> = CONTROLLER.keys.iter().map(|key| key.name).collect();
    let unknown =
        format!("settings.yaml: controller.zzzzzzzzzz: unknown key; known are {}", known.join(", "));
    assert_eq!(
        file.faults(),
        [
            "settings.yaml: controller.trust_domain: unknown key; did you mean trust-domain?",
            "settings.yaml: controller.mesh: a list or a mapping: write letters, digits, - and _, such as shop",
            &unknown,
            "settings.yaml: sidecars: unknown section; did you mean sidecar?",
            "settings.yaml: controller.scope = galaxy: write project or engine",
            "settings.yaml: controller.certificate-lifetime = 1: write seconds from 10 to 31536000, such as 86400",
        ]
    );
    let file = File::new("number", "controller: {certificate-lifetime: soon}");
    assert_eq!(
        file.faults(),
        [
            "settings.yaml: controller.certificate-lifetime = soon: write seconds from 10 to 31536000, such as 86400"
        ]
    );
}

#[test]
fn what_is_no_settings_file_is_refused() {
    for (name, text, want) in [
        ("list", "[1]", "settings.yaml: no mapping: write sections, such as controller:"),
        (
            "text",
            "controller: 1",
            "settings.yaml: controller: no mapping: write keys below it, such as log: info",
        ),
        ("broken", "controller: [", "settings.yaml: not YAML: "),
        ("double", "controller: {mesh: a, mesh: b}", "settings.yaml: not YAML: "),
    ] {
        let faults = File::new(name, text).faults();
        assert!(faults.len() == 1 && faults[0].starts_with(want), "{name}: {faults:?}");
    }
    for (name, text) in [("empty", ""), ("nothing", "controller:\n"), ("null", "controller: {mesh: null}")] {
        let file = File::new(name, text);
        assert_eq!(layer(&CONTROLLER, &file.said(), check).unwrap().settings, Settings::default(), "{name}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let missing = Said { file: Some("/nowhere/settings.yaml".into()), ..Said::default() };
    let refused = layer(&CONTROLLER, &missing, check).unwrap_err().to_string();
    assert!(refused.starts_with("/nowhere/settings.yaml: cannot be read (No such file"), "{refused}");
    let variables = [("OUTRIGGER_SETTINGS".into(), "/nowhere/else.yaml".into())].into();
    let missing = Said { variables, ..Said::default() };
    assert!(layer(&CONTROLLER, &missing, check).is_err());
    let folder = Said { file: Some("/".into()), ..Said::default() };
    let refused = layer(&CONTROLLER, &folder, check).unwrap_err().to_string();
    assert!(refused.contains("a folder"), "{refused}");
}
