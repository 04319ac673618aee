//! What the controller is told: defaults, then the environment (`OUTRIGGER_*`, `DOCKER_HOST`), then flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use figment::Figment;
use figment::providers::{Env, Serialized};
use serde::{Deserialize, Deserializer, Serialize};

use crate::source::docker::connect::{DEFAULT_HOST, socket_path};

/// Prefix of every variable.
const PREFIX: &str = "OUTRIGGER_";
/// Variables of the same prefix that other processes of the same image read.
const FOREIGN: [&str; 2] = ["controller", "workers"];

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the mesh; default: the compose project of the controller's own container.
    #[serde(deserialize_with = "text")]
    pub mesh: Option<String>,
    /// What is looked at; default: the own compose project.
    pub scope: ScopeSetting,
    /// Trust domain of every identity; default `outrigger.internal`.
    pub trust_domain: String,
    /// Where state is kept; default `/var/lib/outrigger`.
    pub state: PathBuf,
    /// The control socket; default `/run/outrigger/control.sock`.
    pub control: PathBuf,
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
    /// The Docker engine; default `unix:///var/run/docker.sock`.
    pub docker_host: String,
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
pub struct Flags {
    /// Name of the mesh [OUTRIGGER_MESH]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh: Option<String>,
    /// What is looked at [OUTRIGGER_SCOPE]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeSetting>,
    /// Where state is kept [OUTRIGGER_STATE]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PathBuf>,
    /// The control socket [OUTRIGGER_CONTROL]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<PathBuf>,
    /// Where status and metrics are answered [OUTRIGGER_ADMIN]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<SocketAddr>,
    /// Image of sidecars [OUTRIGGER_SIDECAR_IMAGE]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar_image: Option<String>,
    /// The Docker engine [DOCKER_HOST]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_host: Option<String>,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not of its type, or unknown.
    #[error("{0}")]
    Layer(Box<figment::Error>),
    /// Of its type, and still not possible.
    #[error("{name}={value}: {what}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What was found.
        value: String,
        /// What to write.
        what: &'static str,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mesh: None,
            scope: ScopeSetting::Project,
            trust_domain: "outrigger.internal".into(),
            state: "/var/lib/outrigger".into(),
            control: outrigger_wire::control::SOCKET.into(),
            admin: SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT)),
            sidecar_image: format!("outrigger-sidecar:{}", env!("CARGO_PKG_VERSION")),
            certificate_lifetime: 86_400,
            log: "info".into(),
            templates: None,
            docker_host: DEFAULT_HOST.into(),
        }
    }
}

/// Where status is answered.
pub const ADMIN_PORT: u16 = 15021;

impl Settings {
    /// Layers defaults, environment and flags.
    ///
    /// # Errors
    /// An unknown variable, one of the wrong type, or a value that cannot be.
    pub fn load(flags: &Flags) -> Result<Self, SettingsError> {
        let layered = Figment::from(Serialized::defaults(Self::default()))
            .merge(Env::raw().only(&["DOCKER_HOST"]).filter(|_| !variable("DOCKER_HOST").is_empty()))
            .merge(Env::prefixed(PREFIX).filter(|key| {
                let key = key.as_str().to_ascii_lowercase();
                let set = !variable(&format!("{PREFIX}{}", key.to_ascii_uppercase())).is_empty();
                set && !FOREIGN.contains(&key.as_str())
            }))
            .merge(Serialized::defaults(flags));
        layered.extract::<Self>().map_err(|error| SettingsError::Layer(Box::new(error)))?.checked()
    }

    fn checked(self) -> Result<Self, SettingsError> {
        let fault =
            |name, value: &str, what| Err(SettingsError::Value { name, value: value.to_owned(), what });
        if outrigger_wire::SpiffeId::new(&self.trust_domain, "n", "s").is_err() {
            return fault(
                "OUTRIGGER_TRUST_DOMAIN",
                &self.trust_domain,
                "write a domain in lower case, such as shop.internal",
            );
        }
        if let Some(mesh) = self.mesh.as_ref().filter(|mesh| {
            mesh.is_empty() || !mesh.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        }) {
            return fault("OUTRIGGER_MESH", mesh, "write letters, digits, - and _, such as shop");
        }
        if !(10..=31_536_000).contains(&self.certificate_lifetime) {
            let value = self.certificate_lifetime.to_string();
            return fault(
                "OUTRIGGER_CERTIFICATE_LIFETIME",
                &value,
                "write seconds from 10 to 31536000, such as 86400",
            );
        }
        if socket_path(&self.docker_host).is_err() {
            return fault(
                "DOCKER_HOST",
                &self.docker_host,
                "only Unix sockets: write unix:///var/run/docker.sock",
            );
        }
        if self.control.parent().is_none_or(|directory| directory.as_os_str().is_empty()) {
            let value = self.control.display().to_string();
            return fault(
                "OUTRIGGER_CONTROL",
                &value,
                "write an absolute path, such as /run/outrigger/control.sock",
            );
        }
        Ok(self)
    }
}

/// An empty variable is none: compose writes `NAME: ${NAME:-}`.
fn variable(name: &str) -> std::ffi::OsString {
    std::env::var_os(name).unwrap_or_default()
}

/// Text that may look like a number: a compose project may be named `2026`.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        String(String),
        Number(i64),
    }
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| match text {
        Text::String(text) => text,
        Text::Number(number) => number.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        let message = |settings: Settings| settings.checked().unwrap_err().to_string();
        let settings = Settings::default;
        assert!(settings().checked().is_ok());
        assert!(
            message(Settings { trust_domain: "Shop".into(), ..settings() })
                .contains("OUTRIGGER_TRUST_DOMAIN=Shop")
        );
        assert!(message(Settings { mesh: Some("a b".into()), ..settings() }).contains("such as shop"));
        assert!(message(Settings { certificate_lifetime: 1, ..settings() }).contains("86400"));
        assert!(message(Settings { control: "x.sock".into(), ..settings() }).contains("absolute"));
    }

    #[test]
    fn flags_stand_over_defaults_and_a_number_is_a_name() {
        let flags =
            Flags { mesh: Some("2026".into()), scope: Some(ScopeSetting::Engine), ..Flags::default() };
        let layered = Figment::from(Serialized::defaults(Settings::default()))
            .merge(("mesh", 2026))
            .merge(Serialized::defaults(&flags));
        let settings: Settings = layered.extract().unwrap();
        assert_eq!((settings.mesh.as_deref(), settings.scope), (Some("2026"), ScopeSetting::Engine));
        let number: Settings =
            Figment::from(Serialized::defaults(Settings::default())).merge(("mesh", 7)).extract().unwrap();
        assert_eq!(number.mesh.as_deref(), Some("7"));
        let unknown = Figment::from(Serialized::defaults(Settings::default())).merge(("mesch", "x"));
        assert!(unknown.extract::<Settings>().is_err());
    }
}
