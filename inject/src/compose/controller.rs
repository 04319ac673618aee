//! The controller's service: how it is known, and what the sidecars take from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use crate::compose::project::{Kind, Service, Survey};
use crate::compose::tree::{field, is_open, items, names, pairs, split};
use crate::compose::{Options, Remark};

/// Name of the controller's image, before tag or digest.
const IMAGE: &str = "outrigger-controller";
/// Name of the sidecar's.
const SIDECAR_IMAGE: &str = "outrigger-sidecar";
/// Where sidecars have the control socket's directory, and the controller too unless it is told otherwise.
const RUN: &str = "/run/outrigger";
/// Names the socket's file to the controller, and to a sidecar.
pub const SOCKET: &str = "OUTRIGGER_CONTROL";
/// Its usual name.
const SOCKET_NAME: &str = "control.sock";
/// The engine's socket, which only a controller mounts beside [`RUN`].
const ENGINE: &str = "docker.sock";
/// The controller as it is shipped, shown where there is none.
const SHIPPED: &str = include_str!("../../../compose/outrigger.yaml");

/// What sidecars get from their controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The mount of the control socket's directory, in the short form.
    pub mount: String,
    /// Where the sidecar finds the socket, if not where it looks by itself.
    pub socket: Option<String>,
    /// A volume from outside the project that must be named in it.
    pub external: Option<String>,
    /// Image of holder, sidecar and capture step.
    pub image: String,
    /// The service that must have been started first; none: it is not in the project, or not always.
    pub service: Option<String>,
}

/// Where something is mounted from, and where to.
struct Mount {
    source: String,
    target: String,
}

/// True for a controller: its image says so, or it mounts both the engine's socket and the control socket's directory.
pub fn is_controller(service: &Service<'_>) -> bool {
    let image = field(service.body, "image").unwrap_or_default();
    let (mounts, (directory, _)) = (mounts(service), socket(service));
    image.rsplit('/').next().unwrap_or_default().starts_with(IMAGE)
        || (mounts.iter().any(|mount| mount.target == directory)
            && mounts.iter().any(|mount| mount.target.ends_with(ENGINE)))
}

/// Finds what the sidecars need.
///
/// # Errors
/// Why there is no controller to speak to, and what to write.
pub fn control(
    services: &[Service<'_>],
    survey: &Survey,
    volumes: Option<&Value>,
    options: &Options,
) -> Result<(Control, Vec<Remark>), Remark> {
    let controllers: Vec<&Service<'_>> =
        services.iter().filter(|service| *survey.kind_of(service.name) == Kind::Controller).collect();
    let default = format!("{SIDECAR_IMAGE}:{}", env!("CARGO_PKG_VERSION"));
    match (controllers.as_slice(), &options.control_volume) {
        ([], None) => Err(Remark::project(format!(
            "the project has no controller: give this file beside yours, as `-f` or after it on this command line,\n\n{SHIPPED}\n\
             or, if the controller runs elsewhere on this host, name the volume of its control socket with --control-volume"
        ))),
        ([], Some(source)) => {
            let host = source.contains('/');
            let own = names(volumes).contains(source);
            let external = (!host && !own).then(|| source.clone());
            let image = options.image.clone().unwrap_or(default);
            let mount = format!("{source}:{RUN}:ro");
            Ok((Control { mount, socket: None, external, image, service: None }, Vec::new()))
        }
        ([one], named) => {
            let (directory, socket) = socket(one);
            let source = match named {
                Some(source) => source.clone(),
                None => source(one, &directory)?,
            };
            acyclic(one, services, survey)?;
            let mut warnings = Vec::new();
            let image = options.image.clone().or_else(|| sidecar_image(one)).unwrap_or_else(|| {
                warnings.push(Remark::of(
                    one.name,
                    format!(
                        "its image does not tell the sidecar's: taking {default}; name another with --image"
                    ),
                ));
                default
            });
            let always = items(one.body.get("profiles")).is_empty();
            let service = always.then(|| one.name.to_owned());
            let external = (named.is_some() && !source.contains('/') && !names(volumes).contains(&source))
                .then(|| source.clone());
            Ok((Control { mount: format!("{source}:{RUN}:ro"), socket, external, image, service }, warnings))
        }
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|service| service.name).collect();
            Err(Remark::project(format!(
                "the services {} are all controllers: a mesh has one; take the others out",
                names.join(" and ")
            )))
        }
    }
}

/// The directory of the controller's socket, and what a sidecar must be told of it.
fn socket(controller: &Service<'_>) -> (String, Option<String>) {
    let told = pairs(controller.body.get("environment")).remove(SOCKET);
    match told.as_deref().and_then(|path| path.rsplit_once('/')) {
        Some((directory, name)) if !directory.is_empty() && !is_open(directory) => {
            (directory.to_owned(), (name != SOCKET_NAME).then(|| format!("{RUN}/{name}")))
        }
        _ => (RUN.to_owned(), None),
    }
}

/// Where the controller has this directory from.
fn source(controller: &Service<'_>, directory: &str) -> Result<String, Remark> {
    let is_it = |mount: &Mount| mount.target.trim_end_matches('/') == directory && !mount.source.is_empty();
    mounts(controller).into_iter().find(is_it).map(|mount| mount.source).ok_or_else(|| {
        let what = format!(
            "the controller mounts no named volume and no directory at {directory}, so that sidecars cannot reach its control \
             socket: add `volumes: [ outrigger-run:{directory} ]`"
        );
        Remark::of(controller.name, what)
    })
}

/// The sidecar's image beside the controller's: same registry, same tag. None where that cannot be told.
fn sidecar_image(controller: &Service<'_>) -> Option<String> {
    if let Some(image) = pairs(controller.body.get("environment")).remove("OUTRIGGER_SIDECAR_IMAGE")
        && !image.is_empty()
    {
        return Some(image);
    }
    let image = field(controller.body, "image")?;
    let (path, last) = match image.rsplit_once('/') {
        Some((path, last)) => (format!("{path}/"), last),
        None => (String::new(), image.as_str()),
    };
    let rest = last.strip_prefix(IMAGE)?;
    // A digest is of one image only; and half a variable is none.
    let whole = path.matches("${").count() == path.matches('}').count();
    (whole && !rest.contains('@')).then(|| format!("{path}{SIDECAR_IMAGE}{rest}"))
}

/// The controller must be able to start before everything that it meshes.
fn acyclic(controller: &Service<'_>, services: &[Service<'_>], survey: &Survey) -> Result<(), Remark> {
    let needs: BTreeMap<&str, BTreeSet<String>> =
        services.iter().map(|service| (service.name, needs(service))).collect();
    let mut todo: Vec<String> = vec![controller.name.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if let Kind::Wanted { .. } = survey.kind_of(&name) {
            let what = format!(
                "the controller needs {name} to start, which waits for the controller: take {name} out of its depends_on, \
                 or set outrigger.enable to \"false\" on {name}"
            );
            return Err(Remark::of(controller.name, what));
        }
        for next in needs.get(name.as_str()).into_iter().flatten() {
            if seen.insert(next.clone()) {
                todo.push(next.clone());
            }
        }
    }
    Ok(())
}

/// Services that must have been started before this one.
fn needs(service: &Service<'_>) -> BTreeSet<String> {
    let mut needs: BTreeSet<String> = names(service.body.get("depends_on")).into_iter().collect();
    let first = |text: String| text.split(':').next().unwrap_or_default().to_owned();
    needs.extend(names(service.body.get("links")).into_iter().map(first));
    needs.extend(names(service.body.get("volumes_from")).into_iter().map(first));
    for key in ["network_mode", "ipc", "pid"] {
        let mode = field(service.body, key).unwrap_or_default();
        needs.extend(mode.strip_prefix("service:").map(str::to_owned));
    }
    needs
}

fn mounts(service: &Service<'_>) -> Vec<Mount> {
    items(service.body.get("volumes")).into_iter().filter_map(mount).collect()
}

fn mount(volume: &Value) -> Option<Mount> {
    let Some(long) = volume.as_mapping() else {
        let text = volume.as_str()?;
        return match split(text).as_slice() {
            [target] => Some(Mount { source: String::new(), target: (*target).to_owned() }),
            [source, target, ..] => {
                Some(Mount { source: (*source).to_owned(), target: (*target).to_owned() })
            }
            [] => None,
        };
    };
    let source = field(long, "source").unwrap_or_default();
    let bind = field(long, "type").is_some_and(|kind| kind == "bind");
    let rooted = source.starts_with(['/', '.', '~']) || is_open(&source);
    let source = if bind && !rooted { format!("./{source}") } else { source };
    Some(Mount { source, target: field(long, "target")? })
}
