//! What can be written after `outrigger inject compose`.

use std::path::PathBuf;

use clap::Args;

use crate::project::ProjectArguments;

/// Arguments of `outrigger inject compose`.
#[derive(Debug, Default, Args)]
pub struct ComposeArguments {
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Write there instead of to standard output; replaced at once and whole, or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only what is to be merged over the files, as one more `-f` (compose 2.24.4 and later)
    #[arg(long, conflicts_with = "diff")]
    pub overlay: bool,
    /// Only show what would change in the project as compose renders it
    #[arg(long, conflicts_with = "output")]
    pub diff: bool,
    /// Print one JSON object: meshed services, warnings, refusals, and the text
    #[arg(long)]
    pub json: bool,
    /// Volume, or host path, of the control socket, when the controller is not in this project
    #[arg(long, value_name = "NAME|PATH")]
    pub control_volume: Option<String>,
    /// Image of sidecars [default: the controller's, with `sidecar` for `controller`]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The controller's mesh file: what it says of a service counts here as well
    #[arg(long, value_name = "FILE")]
    pub mesh_file: Option<PathBuf>,
    /// Directory with files that replace those of templates/compose
    #[arg(long, value_name = "DIRECTORY")]
    pub templates: Option<PathBuf>,
}
