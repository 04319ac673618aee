//! Terraform's modules, where there is a Terraform: nothing of them asks for a provider or a network.

use std::path::Path;
use std::process::{Command, Output};

use crate::root;

fn terraform(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("terraform");
    // A file of settings that is not there is a warning in each answer.
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("TF_CLI_CONFIG_FILE")
        .env("CHECKPOINT_DISABLE", "1");
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: install Terraform 1.6 or later for it");
            None
        }
        Err(error) => panic!("terraform: {error}"),
    }
}

fn holds(folder: &Path, arguments: &[&str]) -> bool {
    let Some(output) = terraform(folder, arguments) else { return false };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "terraform {} in {}:\n{said}", arguments.join(" "), folder.display());
    true
}

#[test]
fn terraform_modules_are_formatted() {
    holds(&root().join("terraform"), &["fmt", "-check", "-recursive", "-diff"]);
}

/// Its own tests, which hold it against golden files of ours.
fn tests_of(module: &str) {
    let folder = root().join("terraform/modules").join(module);
    if holds(&folder, &["init", "-no-color", "-input=false"]) {
        holds(&folder, &["validate", "-no-color"]);
        holds(&folder, &["test", "-no-color"]);
    }
}

#[test]
fn the_inject_module_makes_what_the_crate_makes() {
    tests_of("inject");
}

#[test]
fn the_controllers_policy_is_the_one_of_the_command_line() {
    tests_of("controller/policy");
}
