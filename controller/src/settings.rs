//! What the controller is told: defaults, then the file (`controller:`), then the environment (`OUTRIGGER_*`,
//! `DOCKER_HOST`), then flags.

mod names;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use outrigger_settings::{CONTROLLER, Layered, Refused, Said};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::source::docker::connect::{DEFAULT_HOST, socket_path};

pub use names::NamesFor;

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Name of the mesh; default: the compose project of the controller's own container.
    pub mesh: Option<String>,
    /// What is looked at; default: the own compose project.
    pub scope: ScopeSetting,
    /// Trust domain of every identity; default `outrigger.internal`.
    pub trust_domain: String,
    /// The mesh file; default `/etc/outrigger/mesh.yaml`, if there.
    pub mesh_file: Option<PathBuf>,
    /// What would stand in the mesh file, where none can be mounted; default: none.
    pub mesh_text: Option<String>,
    /// Where state is kept; default `/var/lib/outrigger`.
    pub state: PathBuf,
    /// The control socket; default `/run/outrigger/control.sock`.
    pub control: PathBuf,
    /// Where sidecars on other hosts call, over TLS; default nowhere with Docker, `0.0.0.0:15010` with ECS.
    pub control_listen: Option<SocketAddr>,
    /// Where STS is reached; default the one of the task's region. The name in its certificate is that one's all the
    /// same; `http` is for tests: whoever stands between could let anybody in.
    pub sts_endpoint: Option<StsEndpoint>,
    /// Where `/status`, `/ready`, `/live` and `/metrics` are answered; default `0.0.0.0:15021`.
    pub admin: SocketAddr,
    /// Image of sidecars; default `outrigger-sidecar:<version>`.
    pub sidecar_image: String,
    /// Seconds for which a certificate is good; 10 to 31,536,000, default 86,400.
    pub certificate_lifetime: u64,
    /// What is logged (`info`, `outrigger_controller=debug`); default `info`.
    pub log: String,
    /// Directory with templates that replace the built-in ones.
    pub templates: Option<PathBuf>,
    /// Where workloads are looked for; default `docker`.
    pub platform: Platform,
    /// The Docker engine; default `unix:///var/run/docker.sock`.
    pub docker_host: String,
    /// ECS clusters, by name or ARN, with commas between them; default `default`.
    pub clusters: String,
    /// URL of the SQS queue that tells of changes in the clusters; default none: the API is asked every ten seconds.
    pub queue: Option<String>,
    /// What is done about ECS services with the tag `outrigger:inject`; default `on`: the tag itself is the permission.
    pub inject: InjectSetting,
    /// Where injected sidecars find this controller: `https://HOST:PORT`, or the folder of its socket on its own EC2 instance;
    /// default `https://controller.outrigger.internal:15010`.
    pub control_url: String,
    /// Where injected sidecars' CPU and memory come from; default `share`.
    pub inject_resources: ResourcesSetting,
    /// Who tells applications of injected tasks the names of services; default `hosts`.
    pub inject_names: NamesSetting,
    /// Seconds without a further healthy task after which a service goes back to its earlier revision; 30 to 86,400,
    /// default 1,200: the sidecar's own health has a grace of 5 minutes, and the circuit breaker wants three tasks to fail.
    pub inject_patience: u64,
    /// Id of the private hosted zone in which names of services are kept; default none.
    pub names_zone: Option<String>,
    /// How the tasks are captured that ask that zone; default `platform`.
    pub names_for: NamesFor,
    /// Id of the private hosted zone in which services with edge ports are kept for callers outside the mesh; default none.
    pub edge_zone: Option<String>,
}

/// What is done about tagged ECS services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InjectSetting {
    /// Nothing, and nothing is said of them.
    Off,
    /// What would be done is said.
    Plan,
    /// It is done.
    On,
}

/// Where the CPU and memory of injected sidecars come from; the words of `outrigger inject ecs --resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourcesSetting {
    /// What the containers leave of the task's.
    Share,
    /// The largest container gives.
    Subtract,
    /// The task grows.
    Add,
}

/// Who tells applications the names of services; the words of `outrigger inject ecs --names`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamesSetting {
    /// The sidecar.
    Hosts,
    /// A private hosted zone.
    Zone,
}

/// Where workloads are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Containers of a Docker engine.
    Docker,
    /// Tasks of ECS clusters.
    Ecs,
}

/// `https://HOST[:PORT]`, or `http://…` for tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StsEndpoint {
    /// Over TLS.
    pub tls: bool,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl TryFrom<String> for StsEndpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "no URL")?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err("neither https nor http"),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("no host")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        if !matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("" | "/")) {
            return Err("more than host and port");
        }
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(port) })
    }
}

impl From<StsEndpoint> for String {
    fn from(endpoint: StsEndpoint) -> Self {
        let StsEndpoint { tls, host, port } = endpoint;
        let scheme = if tls { "https" } else { "http" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ScopeSetting {
    /// One compose project.
    Project,
    /// Every labelled container of the engine.
    Engine,
}

/// Flags; each stands over its variable.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    /// File with a section `controller:` [OUTRIGGER_SETTINGS] [default: /etc/outrigger/settings.yaml, if there]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    settings: Option<PathBuf>,
    /// Print the settings in force, each with where it came from, and exit
    #[arg(long)]
    #[serde(skip)]
    pub print_settings: bool,
    /// Name of the mesh [OUTRIGGER_MESH]
    #[arg(long)]
    mesh: Option<String>,
    /// What is looked at [OUTRIGGER_SCOPE]
    #[arg(long)]
    scope: Option<ScopeSetting>,
    /// The mesh file [OUTRIGGER_MESH_FILE] [default: /etc/outrigger/mesh.yaml, if there]
    #[arg(long)]
    mesh_file: Option<PathBuf>,
    /// Where state is kept [OUTRIGGER_STATE]
    #[arg(long)]
    state: Option<PathBuf>,
    /// The control socket [OUTRIGGER_CONTROL]
    #[arg(long)]
    control: Option<PathBuf>,
    /// Where sidecars on other hosts call, over TLS [OUTRIGGER_CONTROL_LISTEN]
    #[arg(long)]
    control_listen: Option<SocketAddr>,
    /// Where status and metrics are answered [OUTRIGGER_ADMIN]
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Image of sidecars [OUTRIGGER_SIDECAR_IMAGE]
    #[arg(long)]
    sidecar_image: Option<String>,
    /// The Docker engine [DOCKER_HOST]
    #[arg(long)]
    docker_host: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mesh: None,
            scope: ScopeSetting::Project,
            trust_domain: "outrigger.internal".into(),
            mesh_file: None,
            mesh_text: None,
            state: "/var/lib/outrigger".into(),
            control: outrigger_wire::control::SOCKET.into(),
            control_listen: None,
            sts_endpoint: None,
            admin: SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT)),
            sidecar_image: format!("outrigger-sidecar:{}", env!("CARGO_PKG_VERSION")),
            certificate_lifetime: 86_400,
            log: "info".into(),
            templates: None,
            platform: Platform::Docker,
            docker_host: DEFAULT_HOST.into(),
            clusters: "default".into(),
            queue: None,
            inject: InjectSetting::On,
            control_url: "https://controller.outrigger.internal:15010".into(),
            inject_resources: ResourcesSetting::Share,
            inject_names: NamesSetting::Hosts,
            inject_patience: 1_200,
            names_zone: None,
            names_for: NamesFor::Platform,
            edge_zone: None,
        }
    }
}

/// Where status is answered.
pub const ADMIN_PORT: u16 = 15021;

impl Settings {
    /// Layers defaults, file, environment and flags.
    ///
    /// # Errors
    /// Every unknown key or variable, every value that cannot be, a file that was named and cannot be read.
    pub fn load(flags: &Flags) -> Result<Layered<Self>, Refused> {
        Self::layered(&Said::new(flags.settings.clone(), flags))
    }

    fn layered(said: &Said) -> Result<Layered<Self>, Refused> {
        outrigger_settings::layer(&CONTROLLER, said, Self::impossible)
    }

    /// Each cluster once, in the order in which they were said.
    pub fn clusters(&self) -> Vec<String> {
        let mut clusters = Vec::new();
        for name in self.clusters.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !clusters.iter().any(|known| known == name) {
                clusters.push(name.to_owned());
            }
        }
        clusters
    }

    /// Keys whose values are of their type and still cannot be.
    fn impossible(&self) -> Vec<&'static str> {
        let name = |mesh: &String| {
            !mesh.is_empty() && mesh.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let absolute = self.control.is_absolute() && self.control.file_name().is_some();
        let possible = [
            ("mesh", self.mesh.as_ref().is_none_or(name)),
            ("trust-domain", outrigger_wire::SpiffeId::new(&self.trust_domain, "n", "s").is_ok()),
            ("mesh-text", self.mesh_text.is_none() || self.mesh_file.is_none()),
            ("control", absolute),
            ("certificate-lifetime", (10..=31_536_000).contains(&self.certificate_lifetime)),
            ("log", EnvFilter::try_new(&self.log).is_ok()),
            ("platform", self.platform == Platform::Docker || cfg!(feature = "ecs")),
            ("docker-host", socket_path(&self.docker_host).is_ok()),
            ("clusters", !self.clusters().is_empty() && self.clusters().iter().all(|name| is_cluster(name))),
            ("queue", self.queue.as_ref().is_none_or(|queue| is_url(queue))),
            ("inject-patience", (30..=86_400).contains(&self.inject_patience)),
            ("names-zone", self.names_zone.as_ref().is_none_or(|zone| names::is_zone(zone))),
            ("edge-zone", names::is_edge_zone(self.edge_zone.as_deref(), self.names_zone.as_deref())),
            ("control-url", outrigger_inject::ecs::is_control(&self.control_url)),
        ];
        possible.into_iter().filter(|(_, possible)| !possible).map(|(key, _)| key).collect()
    }
}

/// `shop`, or `arn:aws:ecs:eu-west-1:111122223333:cluster/shop`.
fn is_cluster(said: &str) -> bool {
    let name = match said.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":cluster/").map_or("", |(_, name)| name),
        None => said,
    };
    (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_url(said: &str) -> bool {
    let host = said.strip_prefix("https://").or_else(|| said.strip_prefix("http://"));
    host.is_some_and(|host| {
        host.split_once('/').is_some_and(|(host, queue)| !host.is_empty() && !queue.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)], flags: &Flags) -> Said {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Said { file: Some("/dev/null".into()), variables, ..Said::new(None, flags) }
    }

    fn faults(variables: &[(&str, &str)]) -> String {
        Settings::layered(&said(variables, &Flags::default())).unwrap_err().to_string()
    }

    #[test]
    fn the_file_of_defaults_says_what_the_code_says() {
        let file = include_str!("../../templates/settings.yaml");
        let differences = outrigger_settings::template::differences(file, &CONTROLLER, &Settings::default());
        assert!(differences.is_empty(), "templates/settings.yaml:\n{}", differences.join("\n"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        assert_eq!(
            faults(&[
                ("OUTRIGGER_TRUST_DOMAIN", "Shop"),
                ("OUTRIGGER_MESH", "a b"),
                ("OUTRIGGER_CERTIFICATE_LIFETIME", "1"),
                ("OUTRIGGER_CONTROL", "x.sock"),
                ("DOCKER_HOST", "tcp://x"),
                ("OUTRIGGER_SCOPE", "galaxy"),
            ])
            .lines()
            .collect::<Vec<_>>(),
            [
                "environment: OUTRIGGER_SCOPE=galaxy: write project or engine",
                "environment: OUTRIGGER_MESH=a b: write letters, digits, - and _, such as shop",
                "environment: OUTRIGGER_TRUST_DOMAIN=Shop: write a domain in lower case, such as shop.internal",
                "environment: OUTRIGGER_CONTROL=x.sock: write an absolute path, such as /run/outrigger/control.sock",
                "environment: OUTRIGGER_CERTIFICATE_LIFETIME=1: write seconds from 10 to 31536000, such as 86400",
                "environment: DOCKER_HOST=tcp://x: write unix:///var/run/docker.sock, say: only Unix sockets are supported",
            ]
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_unless_another_process_reads_it() {
        let said = |variables| said(variables, &Flags::default());
        let sidecars =
            [("OUTRIGGER_WORKERS", "2"), ("OUTRIGGER_CONTROLLER", "http://x"), ("OUTRIGGER_MESH", "")];
        assert_eq!(Settings::layered(&said(&sidecars)).unwrap().settings, Settings::default());
        let wrong = Settings::layered(&said(&[("OUTRIGGER_TRUST_DOMIAN", "x")])).unwrap_err().to_string();
        let want =
            "environment: OUTRIGGER_TRUST_DOMIAN: unknown variable; did you mean OUTRIGGER_TRUST_DOMAIN?";
        assert_eq!(wrong, want);
    }

    #[test]
    fn the_mesh_file_as_text_stays_text_and_stands_alone() {
        let text = "{ mode: strict }\n# and more\n";
        let found = Settings::layered(&said(&[("OUTRIGGER_MESH_TEXT", text)], &Flags::default())).unwrap();
        assert_eq!(found.settings.mesh_text.as_deref(), Some(text));
        let both = faults(&[("OUTRIGGER_MESH_TEXT", text), ("OUTRIGGER_MESH_FILE", "/mesh.yaml")]);
        assert!(both.ends_with("write what would stand in mesh.yaml, and no mesh-file beside it"), "{both}");
    }

    #[test]
    fn two_zones_are_two() {
        let zones = |edge| [("OUTRIGGER_NAMES_ZONE", "Z01"), ("OUTRIGGER_EDGE_ZONE", edge)];
        let found = Settings::layered(&said(&zones("Z02"), &Flags::default())).unwrap();
        assert_eq!(found.settings.edge_zone.as_deref(), Some("Z02"));
        for wrong in ["Z01", "edge.internal"] {
            let said = faults(&zones(wrong));
            assert!(said.contains(wrong) && said.ends_with("another one than names-zone"), "{said}");
        }
    }

    #[test]
    fn flags_stand_over_the_environment_and_a_number_is_a_name() {
        let flags = Flags { scope: Some(ScopeSetting::Engine), ..Flags::default() };
        let found =
            Settings::layered(&said(&[("OUTRIGGER_MESH", "2026"), ("OUTRIGGER_SCOPE", "project")], &flags));
        let found = found.unwrap();
        assert_eq!(found.settings.mesh.as_deref(), Some("2026"));
        assert_eq!(found.settings.scope, ScopeSetting::Engine);
        let printed = found.print();
        assert!(printed.contains("# environment OUTRIGGER_MESH\n"), "{printed}");
        assert!(printed.contains("# flag --scope\n"), "{printed}");
    }
}
