//! What holds the workspace in shape: crate edges, who reaches which library, licences and bans,
//! sizes and names of files, and that the lists in `docs/` are whole.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "all of it is a test")]

mod bans;
mod edges;
mod files;
mod rings;
mod shop;
mod status;
mod terraform;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Runs cargo in the workspace and gives what it printed. Once the tests are built it needs no network.
fn cargo(arguments: &[&str]) -> Vec<u8> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(root()).output().expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {stderr}", arguments.join(" "));
    output.stdout
}

/// `cargo metadata` of this machine's platform.
fn metadata() -> &'static Value {
    static METADATA: LazyLock<Value> = LazyLock::new(|| {
        let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", "host-tuple"];
        serde_json::from_slice(&cargo(&arguments)).expect("cargo metadata prints JSON")
    });
    &METADATA
}

/// All packages of the resolved workspace.
fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().expect("cargo metadata lists packages")
}

/// The text of a field that cargo always gives.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

/// True for a package of this workspace.
fn ours(package: &Value) -> bool {
    package["source"].is_null()
}
