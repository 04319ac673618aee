//! One container, cut down to what matters here. Equal records mean: nothing changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, EndpointSettings,
    HealthStatusEnum, HostConfig,
};
use outrigger_model::{Attachment, Health};

use super::time;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, 64 hex digits.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Id of its image (`sha256:…`).
    pub image: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Unix nanoseconds; 0 if unknown.
    pub created: u64,
    /// Where it is in its life.
    pub run: Run,
    /// What its health check says.
    pub health: Health,
    /// `bridge`, `host`, `none`, `container:<id>` or the name of a network.
    pub network_mode: String,
    /// By network id; addresses are empty while it does not run.
    pub networks: BTreeMap<String, Attachment>,
    /// Names on its networks, as the engine gives them, lower case.
    pub aliases: BTreeSet<String>,
    /// TCP ports that its image or definition exposes, and those published.
    pub exposed: BTreeSet<u16>,
    /// TCP ports that it publishes on the host.
    pub published: BTreeSet<u16>,
    /// `uid[:gid]` or a name; empty is root.
    pub user: String,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// Seconds that the engine lets it take to stop.
    pub stop_timeout: u64,
    /// `linux` or `windows`.
    pub platform: String,
    /// By destination: the volume's name or the host's path.
    pub mounts: BTreeMap<String, String>,
    /// Why the engine could not start it last; empty if it could.
    pub start_error: String,
    /// Somebody asked it to stop, and it still runs.
    pub stopping: bool,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Not started yet.
    Created,
    /// Runs.
    Running(Instance),
    /// Frozen.
    Paused(Instance),
    /// Between two runs, or ended.
    Stopped,
}

/// One run of a container; a restart makes a new one, with a new network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its start as the engine writes it: names the run.
    pub started: String,
    /// Its first process, on the host.
    pub pid: u32,
}

impl Instance {
    /// Unix nanoseconds of its start; 0 if unreadable.
    pub fn started_nanos(&self) -> u64 {
        time::unix_nanos(&self.started).unwrap_or_default()
    }
}

impl Container {
    /// The run it is in, frozen or not.
    pub fn instance(&self) -> Option<&Instance> {
        match &self.run {
            Run::Running(instance) | Run::Paused(instance) => Some(instance),
            Run::Created | Run::Stopped => None,
        }
    }

    /// Its run is over, and its addresses with it.
    pub fn end(&mut self) {
        self.run = Run::Stopped;
        self.networks.values_mut().for_each(|attachment| attachment.addresses.clear());
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Reads an inspection; none without an id.
    pub fn of(inspection: ContainerInspectResponse) -> Option<Self> {
        let id = inspection.id.filter(|id| !id.is_empty())?;
        let name = inspection.name.unwrap_or_default().trim_start_matches('/').to_owned();
        let config = inspection.config.unwrap_or_default();
        let host = inspection.host_config.unwrap_or_default();
        let state = inspection.state.unwrap_or_default();
        let endpoints =
            inspection.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mounts = inspection.mounts.unwrap_or_default().into_iter();
        Some(Self {
            created: inspection.created.as_deref().and_then(time::unix_nanos).unwrap_or_default(),
            health: health(&state),
            start_error: state.error.clone().unwrap_or_default(),
            run: run(state),
            aliases: aliases(&endpoints, &id, &name),
            networks: networks(endpoints),
            published: published(&host),
            exposed: exposed(&config, &host),
            network_mode: host.network_mode.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            stop_signal: config.stop_signal.as_deref().and_then(signal_number).unwrap_or(libc::SIGTERM),
            stop_timeout: config.stop_timeout.and_then(|s| u64::try_from(s).ok()).unwrap_or(STOP_TIMEOUT),
            platform: inspection.platform.unwrap_or_default(),
            mounts: mounts
                .filter_map(|mount| {
                    Some((mount.destination?, mount.name.filter(|name| !name.is_empty()).or(mount.source)?))
                })
                .collect(),
            image: inspection.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            stopping: false,
            id,
            name,
        })
    }
}

/// Seconds; the engine's own default.
const STOP_TIMEOUT: u64 = 10;

fn run(state: ContainerState) -> Run {
    use ContainerStateStatusEnum as Status;
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let instance = pid.map(|pid| Instance { started: state.started_at.unwrap_or_default(), pid });
    match (state.status, instance) {
        (Some(Status::RUNNING), Some(instance)) => Run::Running(instance),
        (Some(Status::PAUSED), Some(instance)) => Run::Paused(instance),
        (Some(Status::CREATED), _) => Run::Created,
        _ => Run::Stopped,
    }
}

fn health(state: &ContainerState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::Unchecked,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

fn networks(endpoints: HashMap<String, EndpointSettings>) -> BTreeMap<String, Attachment> {
    let attachment = |(network, endpoint): (String, EndpointSettings)| {
        let id = endpoint.network_id.filter(|id| !id.is_empty())?;
        let texts = [endpoint.ip_address, endpoint.global_ipv6_address];
        let addresses: Vec<IpAddr> =
            texts.into_iter().flatten().filter_map(|text| text.parse().ok()).collect();
        Some((id, Attachment { network, addresses }))
    };
    endpoints.into_iter().filter_map(attachment).collect()
}

/// The engine lists the container's own short id among the aliases, and its name from engine 25 on.
fn aliases(endpoints: &HashMap<String, EndpointSettings>, id: &str, name: &str) -> BTreeSet<String> {
    let all = endpoints.values().flat_map(|endpoint| endpoint.aliases.iter().flatten());
    all.filter(|alias| !alias.is_empty() && !id.starts_with(alias.as_str()) && *alias != name)
        .map(|alias| alias.to_ascii_lowercase())
        .collect()
}

fn exposed(config: &ContainerConfig, host: &HostConfig) -> BTreeSet<u16> {
    let published = host.port_bindings.iter().flat_map(|bindings| bindings.keys());
    let all = config.exposed_ports.iter().flatten().chain(published);
    all.filter_map(|text| tcp_port(text)).collect()
}

fn published(host: &HostConfig) -> BTreeSet<u16> {
    let bindings = host.port_bindings.iter().flat_map(|bindings| bindings.keys());
    bindings.filter_map(|text| tcp_port(text)).collect()
}

/// `8080/tcp`; TCP where nothing is said.
fn tcp_port(text: &str) -> Option<u16> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    (protocol == "tcp").then(|| port.parse().ok()).flatten().filter(|port| *port != 0)
}

/// `15`, `TERM` or `SIGTERM`; also `RTMIN+3`, which systemd in a container asks for.
pub fn signal_number(text: &str) -> Option<i32> {
    let name = text.trim().to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return Some(REAL_TIME_MIN + offset.trim_start_matches('+').parse::<i32>().unwrap_or(0));
    }
    Some(match name {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "ABRT" => libc::SIGABRT,
        "KILL" => libc::SIGKILL,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "TERM" => libc::SIGTERM,
        "WINCH" => libc::SIGWINCH,
        "PWR" => libc::SIGPWR,
        number => number.parse().ok().filter(|n| (1..=64).contains(n))?,
    })
}

/// The kernel's first real-time signal that programs may use, with glibc.
const REAL_TIME_MIN: i32 = 34;

#[cfg(test)]
mod tests;
