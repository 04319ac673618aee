//! Each folder of `tests/golden` is a case: `mesh.yaml`, and what becomes of it: `checked.txt` (the checked mesh, and its
//! warnings) or `faults.txt`. `UPDATE_GOLDEN=1 cargo test -p outrigger-model` writes the answers anew; the diff is the
//! review.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "golden/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_model::Mesh;
use outrigger_model::mesh::{Fault, Severity, reference};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn text(case: &Path) -> String {
    fs::read_to_string(case.join("mesh.yaml")).unwrap()
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let severity = if fault.severity == Severity::Error { "error" } else { "warning" };
        writeln!(text, "{severity}[{}] {fault}", fault.code.as_str()).unwrap();
        text
    })
}

/// Compares a file with what it should be, or writes it.
fn hold(file: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, found).unwrap();
    }
    let golden = fs::read_to_string(file).unwrap_or_default();
    let line = found.lines().zip(golden.lines()).position(|(found, golden)| found != golden);
    let line = line.unwrap_or_else(|| found.lines().count().min(golden.lines().count()));
    assert!(
        found == golden,
        "{}: run again with UPDATE_GOLDEN=1 and review the diff; line {}: found {:?}, not {:?}",
        file.display(),
        line + 1,
        found.lines().nth(line),
        golden.lines().nth(line),
    );
}

#[test]
fn every_case_reads_as_its_golden_file_says() {
    for case in cases() {
        let (name, found) = match Mesh::read(&text(&case), "mesh.yaml") {
            Ok(mesh) => ("checked.txt", format!("{}{mesh}", listed(mesh.warnings()))),
            Err(faults) => ("faults.txt", listed(&faults)),
        };
        hold(&case.join(name), &found);
        let present: BTreeSet<_> = fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(present, [case.join("mesh.yaml"), case.join(name)].into(), "{}", case.display());
    }
}

#[test]
fn a_checked_mesh_is_a_mesh_file() {
    for case in cases() {
        let Ok(mesh) = Mesh::read(&text(&case), "mesh.yaml") else { continue };
        let again = Mesh::read(&mesh.to_string(), "again.yaml")
            .unwrap_or_else(|faults| panic!("{}", listed(&faults)));
        assert_eq!(mesh, again, "{}", case.display());
        assert_eq!(mesh.to_string(), again.to_string());
    }
}

/// The example that newcomers copy.
#[test]
fn the_pages_example_is_a_mesh_file() {
    let page = include_str!("../../docs/mesh-file.md");
    let lines = page.lines().skip_while(|line| !line.starts_with("    # yaml-language-server"));
    let example: String =
        lines.map_while(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect();
    let mesh =
        Mesh::read(&example, "docs/mesh-file.md").unwrap_or_else(|faults| panic!("{}", listed(&faults)));
    assert_eq!((mesh.services().len(), mesh.warnings()), (4, [].as_slice()), "{example}");
}

/// Each example of these pages is a mesh file that says something; what is fenced is none.
#[test]
fn the_examples_of_pages_are_mesh_files() {
    the_examples_of("docs/resilience.md", include_str!("../../docs/resilience.md"));
    the_examples_of("docs/ecs-outside.md", include_str!("../../docs/ecs-outside.md"));
}

fn the_examples_of(file: &str, page: &str) {
    let mut examples = vec![String::new()];
    for line in page.split("```").step_by(2).flat_map(str::lines) {
        match (line.strip_prefix("    "), examples.last_mut().unwrap()) {
            (Some(line), example) => *example += &format!("{line}\n"),
            (None, example) if example.is_empty() => {}
            (None, _) => examples.push(String::new()),
        }
    }
    examples.retain(|example| !example.is_empty());
    assert!(examples.len() >= 3);
    for example in examples {
        let mesh =
            Mesh::read(&example, file).unwrap_or_else(|faults| panic!("{example}\n{}", listed(&faults)));
        assert!(mesh != Mesh::default() && mesh.warnings().is_empty(), "{example}");
    }
}

/// docs/mesh-file.md holds the reference that the table of keys gives.
#[test]
fn the_reference_is_that_of_the_table() {
    const BEGIN: &str = "<!-- Made from the table of keys (model/src/mesh): begin -->\n";
    const END: &str = "<!-- end -->";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/mesh-file.md");
    let page = fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the reference begins");
    let (_, after) = rest.split_once(END).expect("and where it ends");
    hold(&file, &format!("{before}{BEGIN}\n{}{END}{after}", reference()));
}
