//! The demo shop stays what it claims to be: ordinary applications in several languages, none of which knows the mesh.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Lines a file of an ordinary small service has at most.
const LINES: usize = 150;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The shop's own folders: `compose/shop/<service>/…`.
fn application_files() -> Vec<PathBuf> {
    let shop = root().join("compose/shop");
    let generated = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pyc");
    files(&shop)
        .into_iter()
        .filter(|path| path.parent() != Some(&shop))
        .filter(|path| !generated(path))
        .collect()
}

#[test]
fn no_line_of_the_shop_knows_the_mesh() {
    for path in application_files() {
        let text = fs::read_to_string(&path).expect("the shop's files are text").to_lowercase();
        for word in ["outrigger", "mesh", "sidecar", "15001", "15006", "15008", "15020", "15021", "15053"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn the_shop_speaks_several_languages_in_small_files() {
    let mut languages = BTreeSet::new();
    for path in application_files() {
        let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else { continue };
        if ["js", "py", "go", "rs"].contains(&extension) {
            let lines = fs::read_to_string(&path).expect("the shop's files are text").lines().count();
            assert!(lines <= LINES, "{} has {lines} lines", path.display());
            languages.insert(extension.to_owned());
        }
    }
    assert!(languages.len() >= 3, "{languages:?}");
}

#[test]
fn both_sides_of_the_grpc_hop_agree_on_the_protocol() {
    let without_comments = |service: &str| {
        let path = root().join("compose/shop").join(service).join("pricing.proto");
        let text = fs::read_to_string(path).expect("the service has the file");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(without_comments("pricing"), without_comments("checkout"));
}

#[test]
fn the_readme_shows_the_controller_as_it_is_shipped() {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shipped =
        fs::read_to_string(root().join("compose/outrigger.yaml")).expect("compose/outrigger.yaml is there");
    let plain = shipped
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(""))
        .filter(|line| !line.starts_with('#'));
    let plain: String = plain.map(|line| format!("{line}\n")).collect();
    let plain = plain
        .replace(concat!("${OUTRIGGER_VERSION:-", env!("CARGO_PKG_VERSION"), "}"), env!("CARGO_PKG_VERSION"));
    let plain = plain.replace("${OUTRIGGER_PORT:-}", "15021");
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    assert!(squeezed(&readme).contains(&squeezed(&plain)), "README.md does not show:\n{plain}");
}
