//! Sizes and names of files, and lists in `docs/` that must be whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Lines of a Rust file without its tests.
const LIMIT: usize = 400;
/// Files over the limit for a stated reason: (path, reason). None is the aim.
const OVER: [(&str, &str); 0] = [];
/// Words that say nothing about what a file holds.
const EMPTY_WORDS: [&str; 7] = ["common", "helper", "helpers", "manager", "misc", "util", "utils"];
/// Folders that are not ours to read.
const SKIPPED: [&str; 4] = ["target", ".git", ".cache", "node_modules"];

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for file in rust_files().filter(|file| !is_test(file)) {
        let content = fs::read_to_string(&file).expect("a Rust file is readable");
        let lines = content.lines().take_while(|line| *line != "#[cfg(test)]").count();
        let name = relative(&file);
        if lines > LIMIT && !OVER.iter().any(|(path, _)| *path == name) {
            faults.push(format!("{lines:>5} {name}"));
        }
    }
    assert!(
        faults.is_empty(),
        "over {LIMIT} lines without tests; split them by what they hold:\n{}",
        faults.join("\n")
    );
}

#[test]
fn names_say_what_is_inside() {
    let empty = |path: &PathBuf| {
        let name = relative(path);
        let mut words = name.split(['/', '_', '-', '.']);
        words.any(|word| EMPTY_WORDS.contains(&word)).then_some(name)
    };
    let faults: Vec<String> = rust_files().filter_map(|path| empty(&path)).collect();
    assert!(faults.is_empty(), "names without content (glossary: docs/glossary.md):\n{}", faults.join("\n"));
}

#[test]
fn every_decision_is_listed_once() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).expect("docs/decisions/README.md is there");
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&folder).expect("docs/decisions is there") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name == "README.md" {
            continue;
        }
        numbers.push(name.split('-').next().unwrap_or_default().to_owned());
        let links = index.matches(&format!("({name})")).count();
        assert_eq!(links, 1, "docs/decisions/README.md must link {name} once");
    }
    numbers.sort();
    let wanted: Vec<String> = (1..=numbers.len()).map(|n| format!("{n:04}")).collect();
    assert_eq!(numbers, wanted, "decisions are numbered without gaps or doubles");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for file in all_files().filter(|file| file.extension().is_some_and(|e| e == "md")) {
        let content = fs::read_to_string(&file).expect("a document is readable");
        for target in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://") || path.contains(' ');
            let folder = file.parent().expect("a file lies in a folder");
            if !outside && !folder.join(path).exists() {
                faults.push(format!("{}: {target}", relative(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "links to nothing:\n{}", faults.join("\n"));
}

/// Every Rust file of the workspace.
pub fn rust_files() -> impl Iterator<Item = PathBuf> {
    all_files().filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

fn all_files() -> impl Iterator<Item = PathBuf> {
    let mut folders = vec![root()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace is readable") {
            let entry = entry.expect("an entry of a folder");
            let kind = entry.file_type().expect("an entry has a type");
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            match (kind.is_dir(), kind.is_file(), skipped) {
                (true, _, false) => folders.push(entry.path()),
                (_, true, false) => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files.into_iter()
}

/// `tests.rs` beside the code, `x/tests/…`, and the crate of the rings.
fn is_test(file: &Path) -> bool {
    let name = relative(file);
    name.ends_with("/tests.rs") || name.split('/').any(|folder| folder == "tests")
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).expect("a file of the workspace").display().to_string()
}
