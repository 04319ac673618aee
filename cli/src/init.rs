//! `outrigger init`: a first mesh file for a compose project, in which every line says what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use outrigger_inject::compose::{Outline, outline};
use outrigger_model::mesh::table::{Key, Section};
use outrigger_model::mesh::{SECTION, SERVICE_SECTION};

use crate::USAGE;
use crate::project::{Compose, ComposeError, ProjectArguments};

/// Width at which explanations are wrapped.
const WIDTH: usize = 100;

/// Arguments of `outrigger init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Write there; a file that is there already is kept; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = "mesh.yaml")]
    pub output: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &InitArguments) -> io::Result<ExitCode> {
    let services = match services(&arguments.project) {
        Ok(services) => services,
        Err((code, what)) => {
            eprintln!("outrigger: {what}");
            return Ok(ExitCode::from(code));
        }
    };
    let text = text(&services);
    if arguments.output.as_os_str() == "-" {
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = arguments.output.display();
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&arguments.output);
    match created.and_then(|mut created| created.write_all(text.as_bytes())) {
        Ok(()) => {
            eprintln!(
                "{file} is written: everything in it is a default. Check it after a change: outrigger check {file}"
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            eprintln!("outrigger: {file} is there already, and stays: name another with --output");
            Ok(ExitCode::from(USAGE))
        }
        Err(error) => {
            eprintln!("outrigger: cannot write {file}: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn services(arguments: &ProjectArguments) -> Result<Vec<Outline>, (u8, String)> {
    let read = || Compose::find(arguments.compose.as_deref())?.config(arguments);
    let project = read().map_err(|error| match &error {
        ComposeError::Missing(_) => (USAGE, error.to_string()),
        _ => (1, error.to_string()),
    })?;
    outline(&project.tree).map_err(|remark| (USAGE, remark.to_string()))
}

/// The file: valid as it is, changing nothing until a line is uncommented.
fn text(services: &[Outline]) -> String {
    let mut text = "# The mesh file: settings that change while sidecars run. Everything in it is optional; lines in comments show\n\
                    # what could be said. Check it with `outrigger check`; mount its folder at /etc/outrigger in the controller.\n\n"
        .to_owned();
    for key in SECTION.keys.iter().filter(|key| key.name != "services") {
        explain(&mut text, key, "");
        let _infallible = writeln!(text, "# {}: {}\n", key.name, key.example);
    }
    text += "# One entry for each service that needs one. In each may stand:\n#\n";
    entries(&mut text, &SERVICE_SECTION);
    let meshed =
        services.iter().filter(|service| service.meshed || services.iter().all(|other| !other.meshed));
    let mut labels: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for service in meshed {
        labels.entry(name(service)).or_default().extend(service.labels.keys().map(String::as_str));
    }
    if labels.is_empty() {
        return text + "services: {}\n";
    }
    text += "services:\n";
    for (name, labels) in labels {
        let labels: Vec<&str> = labels.into_iter().collect();
        let said =
            if labels.is_empty() { String::new() } else { format!("  # its labels: {}", labels.join(", ")) };
        let _infallible = writeln!(text, "  {name}: {{}}{said}");
    }
    text
}

/// The name by which the mesh knows it.
fn name(service: &Outline) -> String {
    let said = service.labels.get(outrigger_model::label::SERVICE).filter(|name| !name.contains('$'));
    said.cloned().unwrap_or_else(|| service.name.to_ascii_lowercase())
}

fn entries(text: &mut String, section: &Section) {
    for key in section.keys {
        explain(text, key, "  ");
        let _infallible = writeln!(text, "#     {}: {}\n#", key.name, key.example);
    }
}

fn explain(text: &mut String, key: &Key, indent: &str) {
    let whole = format!("{} Default: {}.", key.about, key.default);
    let mut line = String::new();
    for word in whole.split_whitespace() {
        if line.len() + word.len() > WIDTH {
            let _infallible = writeln!(text, "# {indent}{}", line.trim_end());
            line.clear();
        }
        line += word;
        line.push(' ');
    }
    let _infallible = writeln!(text, "# {indent}{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use outrigger_model::Mesh;

    use super::*;

    const PROJECT: &str = "
services:
  web: { image: web, labels: { outrigger.enable: 'true' } }
  Cart: { image: cart, labels: { outrigger.enable: 'true', outrigger.service: basket } }
  basket-v2: { image: cart, labels: { outrigger.enable: 'true', outrigger.service: basket, outrigger.version: v2 } }
  tool: { image: tool }
";

    fn written(project: &str) -> String {
        text(&outline(&outrigger_inject::compose::read(project).unwrap()).unwrap())
    }

    #[test]
    fn the_file_is_good_and_changes_nothing() {
        let text = written(PROJECT);
        assert!(text.contains("  web: {}") && text.contains("  basket: {}"), "{text}");
        assert!(!text.contains("tool"), "{text}");
        let mesh = Mesh::read(&text, "mesh.yaml").unwrap();
        assert_eq!((mesh.mode(), mesh.services().len()), (Mesh::default().mode(), 2));
        assert_eq!(mesh.defaults(), Mesh::default().defaults());
        Mesh::read(&written("services: {}"), "mesh.yaml").unwrap();
    }

    /// What is shown as an example must be accepted by the reader.
    #[test]
    fn every_line_in_a_comment_can_be_uncommented() {
        for key in SECTION.keys.iter().filter(|key| key.name != "services") {
            let text = format!("{}: {}\n", key.name, key.example);
            Mesh::read(&text, "mesh.yaml").unwrap_or_else(|faults| panic!("{text}{faults:?}"));
        }
        for key in SERVICE_SECTION.keys {
            // Whose ports nobody can see.
            let beside = if key.name == "cloud-map" { ", ports: [ 8080 ]" } else { "" };
            let text = format!("services: {{ cart: {{ {}: {}{beside} }} }}\n", key.name, key.example);
            Mesh::read(&text, "mesh.yaml").unwrap_or_else(|faults| panic!("{text}{faults:?}"));
        }
    }
}
