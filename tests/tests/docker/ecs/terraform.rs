//! The Terraform modules use only names that the AWS provider has: held against the schema in an npm package that is made from
//! the provider's own, since the provider itself cannot be had everywhere.

use std::env;
use std::path::Path;
use std::process::Command;

use outrigger_tests::ecs::PYTHON;

/// AWS provider 6.25.
const SCHEMA: &str = "@cdktf/provider-aws@21.22.1";

#[test]
#[ignore = "downloads the provider's schema; cargo xtask test docker"]
fn terraform_uses_names_that_the_provider_has() {
    let python = env::var(PYTHON).expect("cargo xtask test docker makes a venv");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("terraform-schema-21.22.1");
    let library = folder.join("package/lib");
    if !library.is_dir() {
        std::fs::create_dir_all(&folder).unwrap();
        match Command::new("npm").args(["pack", "--silent", SCHEMA]).current_dir(&folder).status() {
            Ok(status) => assert!(status.success(), "npm pack {SCHEMA}"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: install npm for it");
                return;
            }
            Err(error) => panic!("npm: {error}"),
        }
        let archive = ["-xzf", "cdktf-provider-aws-21.22.1.tgz"];
        assert!(Command::new("tar").args(archive).current_dir(&folder).status().unwrap().success());
    }
    let check = Command::new(python)
        .arg(root.join("tests/ecs/terraform_names.py"))
        .args([&library, &root.join("terraform")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}{}", String::from_utf8_lossy(&check.stderr));
}
