//! Injection into an ECS task definition: takes what `register-task-definition` takes, or what `describe-task-definition`
//! answers, and gives what `register-task-definition` takes, meshed.
//!
//! A task is one workload: its containers share the sidecar. What the mesh adds is named `outrigger-…`; what it changes in
//! a user's own fields is noted in the label `outrigger.injected` of the sidecar, so that injecting the result again, also
//! with a newer template, begins from the user's own definition. Fields that are not known here stay as they are.

mod alike;
mod build;
mod capture;
mod check;
mod control;
mod differences;
mod notes;
mod resources;
mod strip;
mod task;
mod template;

use outrigger_model::Capture;
use outrigger_model::label::PREFIX;
use outrigger_model::mesh::Mesh;
use serde_yaml::{Mapping, Value};

use crate::Remark;

pub use alike::alike;
pub use control::is_control;
pub use differences::{differences, fingerprint};
pub use template::{FILES as TEMPLATE_FILES, Templates};

/// The sidecar's container.
pub const SIDECAR: &str = "outrigger-sidecar";
/// The container that sets the redirect rules, where capture is transparent.
pub const CAPTURE: &str = "outrigger-capture";
/// The volume of the control socket, where it is one.
pub const RUN: &str = "outrigger-run";

/// What a user may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the controller is: `https://NAME:PORT`, or the host's path of its socket's folder (tasks in awsvpc mode on
    /// the EC2 instance where it runs).
    pub control: String,
    /// `sha256:HEX`, one or more with commas between: SHA-256 of the mesh's root certificate, by which a sidecar tells the
    /// controller at an address from another. Not needed with a folder.
    pub pin: String,
    /// Image of sidecar and capture step.
    pub image: String,
    /// What becomes of CPU and memory.
    pub resources: Resources,
    /// Who tells the application the names of services.
    pub names: Names,
    /// Take out the Envoy of AWS App Mesh.
    pub replace_app_mesh: bool,
    /// What the added containers look like.
    pub templates: Templates,
    /// The mesh file that the controller has; capture, ports and upstreams may be said there.
    pub mesh: Mesh,
    /// The cluster, for services that the mesh file names with their namespace.
    pub namespace: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            control: "https://controller.outrigger.internal:15010".into(),
            pin: String::new(),
            image: concat!("outrigger-sidecar:", env!("CARGO_PKG_VERSION")).into(),
            resources: Resources::default(),
            names: Names::default(),
            replace_app_mesh: false,
            templates: Templates::default(),
            mesh: Mesh::default(),
            namespace: "default".into(),
        }
    }
}

/// Where the sidecar's CPU and memory come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resources {
    /// The task's size stays and nothing is taken from the application's containers: what they leave must be enough.
    #[default]
    Share,
    /// The task's size stays; the largest container gives up what the sidecar reserves.
    Subtract,
    /// The task grows by what the sidecar reserves; on Fargate to the next size there is.
    Add,
}

/// Who tells the application the names of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// The sidecar, in the hosts file that all containers of an awsvpc task share.
    #[default]
    Hosts,
    /// A private hosted zone.
    Zone,
}

/// A meshed task definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// What `register-task-definition` takes.
    pub definition: Value,
    /// How its traffic is captured.
    pub capture: Capture,
    /// What a user should know.
    pub warnings: Vec<Remark>,
}

/// Reads a task definition: JSON.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Writes a task definition, keys in their order.
pub fn render(definition: &Value) -> String {
    let mut text =
        serde_json::to_string_pretty(definition).expect("what was read as JSON can be written as JSON");
    text.push('\n');
    text
}

/// What `register-task-definition` takes, of what it takes or of what `describe-task-definition` answers, without
/// anything that an earlier injection added.
///
/// # Errors
/// It is not a task definition.
pub fn original(definition: &Value) -> Result<Value, Remark> {
    bare(definition).map(Value::Mapping)
}

/// What `register-task-definition` takes, of what it takes or of what `describe-task-definition` answers; meshed, if it is.
///
/// # Errors
/// It is not a task definition.
pub fn registrable(definition: &Value) -> Result<Value, Remark> {
    unwrapped(definition).map(Value::Mapping)
}

/// Whether an injection has been there.
pub fn is_meshed(definition: &Value) -> bool {
    unwrapped(definition).is_ok_and(|body| strip::is_meshed(&body))
}

fn bare(definition: &Value) -> Result<Mapping, Remark> {
    let mut body = unwrapped(definition)?;
    strip::strip(&mut body)?;
    Ok(body)
}

/// Meshes a task definition.
///
/// # Errors
/// Every reason why it cannot be meshed, each with the way out; nothing is done by halves.
pub fn inject(definition: &Value, options: &Options) -> Result<Injected, Vec<Remark>> {
    let mut body = bare(definition).map_err(|refusal| vec![refusal])?;
    if options.replace_app_mesh {
        strip::app_mesh(&mut body);
    }
    let task = task::Task::read(&body).map_err(|refusal| vec![refusal])?;
    let mut checked = check::check(&task, options)?;
    let mut warnings = std::mem::take(&mut checked.warnings);
    let plan = build::Plan::of(&task, checked);
    build::add(&mut body, &plan, options).map_err(|refusal| vec![refusal])?;
    warnings.sort();
    let definition = Value::Mapping(body);
    check::size(&definition)?;
    Ok(Injected { definition, capture: plan.capture, warnings })
}

/// Fields that only ECS sets (`TaskDefinition` of the ECS API without those of `RegisterTaskDefinition`).
const ANSWERED: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

fn unwrapped(definition: &Value) -> Result<Mapping, Remark> {
    let Value::Mapping(outer) = definition else {
        return Err(Remark::project(
            "not a task definition: give the JSON object of register-task-definition, or of describe-task-definition",
        ));
    };
    if outer.contains_key("ContainerDefinitions") {
        return Err(Remark::project(
            "its keys are CloudFormation's (ContainerDefinitions): give them as the ECS API has them (containerDefinitions), as in what \
             aws ecs describe-task-definition answers",
        ));
    }
    let mut body = match outer.get("taskDefinition") {
        Some(Value::Mapping(inner)) => {
            let mut inner = inner.clone();
            if let Some(tags) =
                outer.get("tags").filter(|tags| tags.as_sequence().is_some_and(|tags| !tags.is_empty()))
            {
                inner.insert("tags".into(), tags.clone());
            }
            inner
        }
        _ => outer.clone(),
    };
    body.retain(|key, _| !key.as_str().is_some_and(|key| ANSWERED.contains(&key)));
    // AWS's own, such as CloudFormation's: nobody else may set them, and a registration with one is refused.
    if let Some(Value::Sequence(tags)) = body.get_mut("tags") {
        let key = |tag: &Value| tag.get("key").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let given = tags.len();
        tags.retain(|tag| !key(tag).starts_with("aws:"));
        if given > 0 && tags.is_empty() {
            body.shift_remove("tags");
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
