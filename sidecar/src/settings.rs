//! Settings of the process: defaults, then the environment (`OUTRIGGER_...`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Env, Serialized};
use outrigger_wire::{control, port};
use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `OUTRIGGER_CONTROL`: the controller's socket. Default `/run/outrigger/control.sock`.
    pub control: PathBuf,
    /// `OUTRIGGER_STATE`: where key, certificate and last good configuration are kept. Default `/var/lib/outrigger`.
    pub state: PathBuf,
    /// `OUTRIGGER_WORKERS`: threads of the data path, at least 1. Default: the CPU quota rounded up, else 1.
    pub workers: Option<usize>,
    /// `OUTRIGGER_LOG`: what is logged, as `info` or `info,outrigger_sidecar::tcp=debug`. Default `info`.
    pub log: String,
    /// `OUTRIGGER_ADMIN`: address of `/metrics`, `/ready`, `/live`, `/config`. Default `[::]:15020`.
    pub admin: SocketAddr,
    /// `OUTRIGGER_ACCESS_LOG`: a line on standard output for each request and byte stream. Default `off`.
    pub access_log: AccessLog,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// One JSON object on each line.
    Json,
}

/// The environment holds something that is not a setting's value.
#[derive(Debug, thiserror::Error)]
#[error("{0} (settings come from the environment, with the prefix OUTRIGGER_)")]
pub struct InvalidSetting(String);

impl InvalidSetting {
    /// `what` names the variable and what to write.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

const NAMES: [&str; 6] = ["control", "state", "workers", "log", "admin", "access_log"];

impl Default for Settings {
    fn default() -> Self {
        Self {
            control: control::SOCKET.into(),
            state: "/var/lib/outrigger".into(),
            workers: None,
            log: "info".into(),
            admin: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port::ADMIN),
            access_log: AccessLog::Off,
        }
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// A value that does not fit its setting.
    pub fn load() -> Result<Self, InvalidSetting> {
        let figment = Figment::from(Serialized::defaults(Self::default()));
        let settings: Self = figment
            .merge(Env::prefixed("OUTRIGGER_").only(&NAMES))
            .extract()
            .map_err(|error| InvalidSetting(error.to_string()))?;
        if settings.workers == Some(0) {
            return Err(InvalidSetting("OUTRIGGER_WORKERS is 0: write 1 or more, or leave it out".into()));
        }
        Ok(settings)
    }
}
