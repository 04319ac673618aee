//! `outrigger compile`: what each sidecar of a project would be told, with no engine and no controller.

mod snapshot;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use outrigger_compile::{CompileError, compile};
use outrigger_inject::Remark;
use outrigger_inject::compose::outline;
use outrigger_model::mesh::Fault;
use outrigger_model::{Mesh, WorkloadId};
use outrigger_wire::ProxyConfig;

use crate::USAGE;
use crate::project::{Compose, ComposeError, ProjectArguments};
use snapshot::{Imagined, imagine};

const NONE_MESHED: &str = "no service of this project is meshed: label one with outrigger.enable: \"true\", or give the file \
                           of the controller as well (compose/outrigger.yaml), whose label meshes the whole project";
/// Trust domain of a controller that was told none.
const TRUST_DOMAIN: &str = "outrigger.internal";

/// Arguments of `outrigger compile`.
#[derive(Debug, Args)]
pub struct CompileArguments {
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArguments,
    /// The mesh file that holds; none: no mesh file
    #[arg(long, short, value_name = "FILE")]
    pub mesh_file: Option<PathBuf>,
    /// Only for this compose service, or this replica (`shop-web-2`) [default: the first replica of every service]
    #[arg(long = "for", value_name = "SERVICE|WORKLOAD")]
    pub only: Option<String>,
    /// Trust domain of identities
    #[arg(long, value_name = "NAME", default_value = TRUST_DOMAIN)]
    pub trust_domain: String,
    /// Print JSON: one object with a configuration for each workload
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error("{0}")]
    Project(Remark),
    #[error("the mesh file has faults; nothing is compiled from it:\n{}", lines(.0))]
    Mesh(Vec<Fault>),
    #[error("--mesh-file {0}: {1}")]
    MeshFile(PathBuf, io::Error),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{0}")]
    Usage(String),
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &CompileArguments) -> io::Result<ExitCode> {
    match text(arguments) {
        Ok(text) => {
            io::stdout().lock().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failed) => {
            eprintln!("outrigger: {failed}");
            let compose =
                matches!(failed, Failed::Compose(ComposeError::Failed { .. } | ComposeError::Slow { .. }));
            Ok(if compose { ExitCode::FAILURE } else { ExitCode::from(USAGE) })
        }
    }
}

fn text(arguments: &CompileArguments) -> Result<String, Failed> {
    let mesh = mesh(arguments)?;
    let project = Compose::find(arguments.project.compose.as_deref())?.config(&arguments.project)?;
    let services = outline(&project.tree).map_err(Failed::Project)?;
    let name = arguments.project.name(&project);
    let imagined = imagine(&name, &arguments.trust_domain, &mesh, &services);
    for (service, fault) in &imagined.faults {
        eprintln!("outrigger: service {service}: {fault}");
    }
    for service in services.iter().filter(|service| service.meshed && imagined.is_silent(&service.name)) {
        let name = &service.name;
        eprintln!(
            "outrigger: service {name}: the files name no port of it (its image may): label it with outrigger.port"
        );
    }
    let mut configs = Vec::new();
    for workload in chosen(&imagined, arguments.only.as_deref())? {
        configs.push((workload.clone(), compile(&imagined.snapshot, &WorkloadId(workload))?));
    }
    Ok(if arguments.json { json(configs) } else { yaml(&configs) })
}

fn mesh(arguments: &CompileArguments) -> Result<Mesh, Failed> {
    let Some(file) = &arguments.mesh_file else { return Ok(Mesh::default()) };
    let bytes = std::fs::read(file).map_err(|error| Failed::MeshFile(file.clone(), error))?;
    let mesh = Mesh::read_bytes(&bytes, &file.display().to_string()).map_err(Failed::Mesh)?;
    for warning in mesh.warnings() {
        eprintln!("outrigger: {warning}");
    }
    Ok(mesh)
}

/// Names of the workloads to compile for.
fn chosen(imagined: &Imagined, only: Option<&str>) -> Result<Vec<String>, Failed> {
    let first = |names: &Vec<String>| names.first().cloned();
    let Some(only) = only else {
        let all: Vec<String> = imagined.workloads.values().filter_map(first).collect();
        return if all.is_empty() { Err(Failed::Usage(NONE_MESHED.to_owned())) } else { Ok(all) };
    };
    let replica = imagined.workloads.values().flatten().find(|name| *name == only).cloned();
    let found = imagined.workloads.get(only).and_then(first).or(replica);
    found.map(|name| vec![name]).ok_or_else(|| {
        let known: Vec<&str> = imagined.workloads.keys().map(String::as_str).collect();
        let there =
            if known.is_empty() { NONE_MESHED.into() } else { format!("there are {}", known.join(", ")) };
        Failed::Usage(format!("--for {only}: no such meshed service or replica; {there}"))
    })
}

/// One document for each workload; `outrigger-sidecar --config` takes one as it is.
fn yaml(configs: &[(String, ProxyConfig)]) -> String {
    let document = |(workload, config): &(String, ProxyConfig)| {
        let config = serde_yaml::to_string(config).expect("a configuration has string keys");
        format!("# What the sidecar of {workload} would get; addresses are made up.\n{config}")
    };
    configs.iter().map(document).collect::<Vec<_>>().join("---\n")
}

fn json(configs: Vec<(String, ProxyConfig)>) -> String {
    let configs: std::collections::BTreeMap<_, _> = configs.into_iter().collect();
    serde_json::to_string_pretty(&configs).expect("a configuration has string keys") + "\n"
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "
services:
  web: { image: web, ports: ['80:8080'], labels: { outrigger.enable: 'true' }, networks: [front, back] }
  cart: { image: cart, expose: [7000], labels: { outrigger.enable: 'true', outrigger.mode: strict }, scale: 2, networks: [back] }
  far: { image: far, expose: [1], labels: { outrigger.enable: 'true' }, networks: [elsewhere] }
  plain: { image: plain }
";

    fn imagined(mesh: &str) -> Imagined {
        let services = outline(&outrigger_inject::compose::read(PROJECT).unwrap()).unwrap();
        imagine("shop", TRUST_DOMAIN, &Mesh::read(mesh, "mesh.yaml").unwrap(), &services)
    }

    fn config(mesh: &str, only: &str) -> ProxyConfig {
        let imagined = imagined(mesh);
        let [workload] = &chosen(&imagined, Some(only)).unwrap()[..] else { panic!("one was asked for") };
        compile(&imagined.snapshot, &WorkloadId(workload.clone())).unwrap()
    }

    #[test]
    fn a_caller_gets_what_it_shares_a_network_with() {
        let web = config("", "web");
        assert_eq!(web.services.keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["cart.shop", "web.shop"]);
        let cart = &web.clusters["cart.shop:7000"];
        let replicas: Vec<_> = cart.endpoints.iter().map(|e| (e.workload.as_str(), e.ready)).collect();
        assert_eq!(replicas, [("shop-cart-1", true), ("shop-cart-2", true)]);
        assert_eq!(web.proxy.edge, [8080].into(), "published");
        assert_eq!(config("", "shop-cart-2").proxy.mode, outrigger_wire::Mode::Strict);
    }

    #[test]
    fn the_mesh_file_holds() {
        let file = "services: { cart: { timeout: 3s } }";
        let timeouts = |config: ProxyConfig| config.services["cart.shop"].ports[&7000].timeouts.request_ms;
        assert_eq!((timeouts(config("", "web")), timeouts(config(file, "web"))), (15_000, 3_000));
    }

    #[test]
    fn who_is_not_there_is_told_who_is() {
        let complaint = chosen(&imagined(""), Some("plain")).unwrap_err().to_string();
        assert!(complaint.contains("cart, far, web"), "{complaint}");
        assert_eq!(chosen(&imagined(""), None).unwrap(), ["shop-cart-1", "shop-far-1", "shop-web-1"]);
    }

    /// What is printed is what a sidecar reads.
    #[test]
    fn a_printed_configuration_is_read_again() {
        let config = config("", "web");
        let text = yaml(&[("shop-web-1".to_owned(), config.clone())]);
        assert_eq!(serde_yaml::from_str::<ProxyConfig>(&text).unwrap(), config);
    }
}
