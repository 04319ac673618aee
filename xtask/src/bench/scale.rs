//! The way from a snapshot to what is sent, in a mesh of 1,000 services of 3 replicas. Routes come with the mesh
//! file's routing; until then a service has its ports and nothing else.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Outcome;
use super::report::{Report, Row};

/// (field of what the example prints, what it is, unit).
const FIGURES: [(&str, &str, &str); 5] = [
    ("compile_ms", "compile: 1,000 services x 3, one sidecar", "ms"),
    ("cut_ms", "  cut into resources and hashed", "ms"),
    ("delta_ms", "  one changed service, one sidecar", "ms"),
    ("delta_bytes", "  of that on the wire", "B"),
    ("all_ms", "  one changed service, all 3,000 sidecars", "ms"),
];

/// Builds the example for release and runs it.
///
/// # Errors
/// It cannot be built, or prints something else.
pub fn measure(report: &mut Report) -> Outcome<()> {
    eprintln!("building compile for release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "outrigger-compile",
            "--example",
            "scale",
        ])
        .current_dir(super::tools::workspace())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the example `scale` failed".into());
    }
    let printed: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("scale: {error}"))?;
    for (field, name, unit) in FIGURES {
        let value = printed.get(field).and_then(Value::as_f64).ok_or(format!("scale printed no {field}"))?;
        report.add(Row::number(name, unit, value));
    }
    Ok(())
}
