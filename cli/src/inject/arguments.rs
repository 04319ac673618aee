//! What can be written after `outrigger inject compose` and `outrigger inject ecs`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use outrigger_inject::ecs::{Names, Resources};

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

/// Arguments of `outrigger inject ecs`.
#[derive(Debug, Args)]
pub struct EcsArguments {
    /// The task definition, JSON as for `aws ecs register-task-definition` or as `aws ecs describe-task-definition` answers
    /// it; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write there instead of to standard output; replaced at once and whole, or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only show what would change
    #[arg(long, conflicts_with = "output")]
    pub diff: bool,
    /// Print nothing but reasons, and exit with 1 where anything would change
    #[arg(long, conflicts_with_all = ["output", "json"])]
    pub check: bool,
    /// Print one JSON object: definition, capture, whether anything changes, warnings, refusals
    #[arg(long, conflicts_with_all = ["output", "diff"])]
    pub json: bool,
    /// Take the mesh out: print the definition as it was given
    #[arg(long, conflicts_with_all = ["control", "pin", "image", "resources", "names", "replace_app_mesh", "templates",
                                      "mesh_file", "cluster"])]
    pub remove: bool,
    /// Where the controller is: `https://HOST:PORT`, or, on the EC2 instance where it runs, the host's folder with its
    /// socket [default: https://controller.outrigger.internal:15010]
    #[arg(long, value_name = "URL|PATH")]
    pub control: Option<String>,
    /// What the sidecars tell that controller by; several with commas between. The controller prints it at its start, and
    /// `outrigger status --json` has it as `control_pin`
    #[arg(long, value_name = "sha256:HEX")]
    pub pin: Option<String>,
    /// Image of the sidecar, in a registry that the execution role may read [default: outrigger-sidecar of this version, with
    /// a warning]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Where the sidecar's CPU and memory come from
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub resources: FromWhere,
    /// Who tells the application the names of services
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub names: NamedBy,
    /// Take out the Envoy of AWS App Mesh
    #[arg(long)]
    pub replace_app_mesh: bool,
    /// The controller's mesh file: what it says of the service counts here as well
    #[arg(long, value_name = "FILE")]
    pub mesh_file: Option<PathBuf>,
    /// The ECS cluster, for services that the mesh file names as NAME.CLUSTER: a name or an ARN
    #[arg(long, value_name = "CLUSTER", default_value = "default")]
    pub cluster: String,
    /// Directory with files that replace those of templates/ecs
    #[arg(long, value_name = "DIRECTORY")]
    pub templates: Option<PathBuf>,
}

/// Where the sidecar's CPU and memory come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FromWhere {
    /// The task's size stays, and what its containers leave must be enough
    #[default]
    Share,
    /// The task's size stays, and the largest container gives
    Subtract,
    /// The task grows; on Fargate to the next size there is
    Add,
}

impl From<FromWhere> for Resources {
    fn from(said: FromWhere) -> Self {
        match said {
            FromWhere::Share => Self::Share,
            FromWhere::Subtract => Self::Subtract,
            FromWhere::Add => Self::Add,
        }
    }
}

/// Who tells the application the names of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NamedBy {
    /// The sidecar, in the hosts file that the containers of a task share
    #[default]
    Hosts,
    /// A private hosted zone
    Zone,
}

impl From<NamedBy> for Names {
    fn from(said: NamedBy) -> Self {
        match said {
            NamedBy::Hosts => Self::Hosts,
            NamedBy::Zone => Self::Zone,
        }
    }
}
