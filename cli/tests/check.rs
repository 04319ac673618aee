//! `outrigger check` and `outrigger schema` as users run them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "all of it is a test")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder of this test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-check-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(arguments).current_dir(&self.0).env_remove("NO_COLOR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _it_may_not_read_it = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _it_may_be_gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_good_file_is_good_and_a_missing_one_is_not() {
    let folder = Folder::new("good");
    let (code, said, _) = folder.run(&["check"], "");
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("--> ./mesh.yaml\n") && said.contains("name the file"), "{said}");
    folder.file("mesh.yaml", "mode: strict\nservices: { cart: { timeout: 2s } }\n");
    assert_eq!(
        folder.run(&["check"], ""),
        (Some(0), "./mesh.yaml: good (1 service)\n".into(), String::new())
    );
    let (code, said, _) = folder.run(&["check", "."], "");
    assert_eq!((code, said.contains("name the file in it")), (Some(64), true), "{said}");
}

#[test]
fn every_fault_of_all_files_comes_in_one_run() {
    let folder = Folder::new("all");
    folder.file("a.yaml", "mode: x\nmdoe: strict\n");
    folder.file("b.yaml", "mode: strict\n");
    folder.file("c.yaml", b"mode: \xff\n");
    let (code, said, _) =
        folder.run(&["check", "a.yaml", "b.yaml", "c.yaml", "-"], "defaults: { timeout: 1 }");
    assert_eq!(code, Some(64));
    for part in
        ["a.yaml:1:7", "a.yaml:2:1", "a.yaml: 2 errors", "b.yaml: good", "c.yaml:1:7", "UTF-8", "-:1:22"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains('\x1b'), "no colour into a pipe");
    let (_, said, _) = folder.run(&["check", "--color", "always", "a.yaml"], "");
    assert!(said.contains("\x1b[31merror[bad-value]"), "{said}");
}

#[test]
fn json_is_one_array() {
    let folder = Folder::new("json");
    folder.file("a.yaml", "services:\n  cart: { timeout: 15 }\n");
    folder.file("b.yaml", "mode: strict\nmode: strict\n");
    let (code, said, _) = folder.run(&["check", "--json", "a.yaml", "b.yaml"], "");
    assert_eq!(code, Some(64));
    let faults: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        faults[0],
        serde_json::json!({
            "severity": "error", "code": "bad-value", "file": "a.yaml", "line": 2, "column": 20,
            "path": "services.cart.timeout", "found": "\"15\"", "what": "\"15\" is not a length of time",
            "help": "write the unit too: 15s, or 15ms",
        })
    );
    assert_eq!(faults[1]["other"], serde_json::json!({ "file": "b.yaml", "line": 1, "column": 1 }));
    folder.file("a.yaml", "");
    assert_eq!(folder.run(&["check", "--json", "a.yaml"], ""), (Some(0), "[]\n".into(), String::new()));
}

#[test]
fn an_endless_file_is_refused() {
    let (code, said, _) = Folder::new("endless").run(&["check", "/dev/zero"], "");
    assert_eq!((code, said.contains("too-large")), (Some(64), true), "{said}");
}

#[test]
fn the_schema_is_json_with_every_section() {
    let (code, said, _) = Folder::new("schema").run(&["schema"], "");
    let schema: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["services"]["additionalProperties"]["properties"]["edge"].is_object());
}
