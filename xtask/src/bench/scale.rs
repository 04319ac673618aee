//! The way from a snapshot to what is sent, in a mesh of 1,000 services of 3 replicas: without routes, and with 100
//! routes for each service.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Outcome;
use super::report::{Report, Row};

/// (field of what the example prints, what it is, unit).
const FIGURES: [(&str, &str, &str); 5] = [
    ("compile_ms", "", "ms"),
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
    for (routes, what) in [
        ("0", "compile: 1,000 services x 3, one sidecar"),
        ("100", "compile: 1,000 services x 3 x 100 routes, one sidecar"),
    ] {
        let printed = example("outrigger-compile", "scale", &["1000", routes])?;
        for (field, name, unit) in FIGURES {
            let value =
                printed.get(field).and_then(Value::as_f64).ok_or(format!("scale printed no {field}"))?;
            report.add(Row::number(if name.is_empty() { what } else { name }, unit, value));
        }
    }
    Ok(())
}

/// What an example prints, as JSON.
///
/// # Errors
/// It cannot be built, or prints something else.
pub fn example(package: &str, name: &str, arguments: &[&str]) -> Outcome<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--locked", "--package", package, "--example", name, "--"])
        .args(arguments)
        .current_dir(super::tools::workspace())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the example `{name}` failed"));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{name}: {error}"))
}
