//! Injection into a compose project: takes the project as compose renders it (`config`), gives the same project meshed.
//!
//! Each replica of a meshed service `cart` becomes four: `cart-holder` owns the network namespace, closes it by
//! the redirect rules and takes over all that has to do with networks, `cart-sidecar` runs in it, `cart-capture` ends
//! once the sidecar is ready, and only then `cart` itself starts. What is not touched stays as it was, known or not, in the same order.
//! Guarantees: no I/O, the same output for the same input, and injecting the result again changes nothing.

mod build;
mod check;
mod controller;
mod follow;
mod outline;
mod overlay;
mod part;
mod port;
mod project;
mod render;
mod rewrite;
mod template;
pub(crate) mod tree;

pub use outline::{Outline, outline};
use outrigger_model::mesh::Mesh;

use crate::Remark;

pub use overlay::overlay;
pub use render::render;
pub use serde_yaml::Value;
pub use template::{FILES as TEMPLATE_FILES, Templates};

/// What a user may choose.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the control socket's directory comes from when the project has no controller: a host path (with a `/`),
    /// or the name of a volume, the project's own or one that exists outside.
    pub control_volume: Option<String>,
    /// Image of holder, sidecar and capture step; none: the controller's own image, `sidecar` in place of
    /// `controller`; without one, `outrigger-sidecar` of this version.
    pub image: Option<String>,
    /// What the added services look like.
    pub templates: Templates,
    /// The mesh file that the controller has; capture, ports and upstreams may be said there.
    pub mesh: Mesh,
    /// The project's name, for services that the mesh file names with their namespace; none: as the project says.
    pub namespace: Option<String>,
}

/// A meshed project.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// The whole project.
    pub project: Value,
    /// Services that were meshed now, in order; those that were before are not among them.
    pub meshed: Vec<String>,
    /// What a user should know, in order of the services.
    pub warnings: Vec<Remark>,
}

/// Reads YAML, such as `docker-compose config` prints.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &str) -> Result<Value, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Meshes a project, as `config` of compose renders it.
///
/// # Errors
/// Every reason why it cannot be meshed, each with the way out; nothing is done by halves.
pub fn inject(project: &Value, options: &Options) -> Result<Injected, Vec<Remark>> {
    let services = project::read(project).map_err(|refusal| vec![refusal])?;
    let survey = project::Survey::of(&services);
    let checked = check::check(&services, &survey, project, options)?;
    let meshed = checked.plans.iter().map(|plan| plan.app.clone()).collect();
    let mut project = project.clone();
    build::add(&mut project, &checked);
    Ok(Injected { project, meshed, warnings: checked.warnings })
}
