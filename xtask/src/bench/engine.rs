//! What needs a Docker engine and our images: sizes, the controller's memory, the injection gap.

use super::arguments::Arguments;
use super::report::{Report, Row};
use super::tools;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Measures what can be measured here; the rest is listed with the reason.
pub fn measure(arguments: &Arguments, report: &mut Report) {
    let size = if arguments.docker { image_size("outrigger-sidecar") } else { Err("left out".into()) };
    report.add(match size {
        Ok(bytes) => Row::at_most("sidecar: image", "MB", bytes / 1e6, 15.0),
        Err(why) => Row::missing("sidecar: image", "MB", 15.0, why),
    });
}

fn image_size(name: &str) -> Result<f64, String> {
    let image = format!("{name}:{VERSION}");
    let output =
        tools::command("docker").args(["image", "inspect", "--format", "{{.Size}}", &image]).output();
    let output = output.map_err(|_| "no docker client here".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("no image {image}: run cargo xtask demo once"))
}
