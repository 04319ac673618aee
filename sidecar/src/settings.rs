//! Settings of the process: defaults, then the file (`sidecar:`), then the environment (`OUTRIGGER_...`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use outrigger_settings::{Layered, Refused, SIDECAR, Said};
use outrigger_wire::control::pin::Pins;
use outrigger_wire::{control, port};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::control::Place;

/// Threads of the data path: more than any machine has CPUs is a typing error.
const WORKERS: std::ops::RangeInclusive<usize> = 1..=1024;

/// Seconds; a day.
const LONGEST_DEADLINE: u64 = 86_400;

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `OUTRIGGER_CONTROL`: the controller's socket, or `https://HOST:PORT`. Default `/run/outrigger/control.sock`.
    pub control: Place,
    /// `OUTRIGGER_CONTROL_PIN`: the roots that a controller on another host may prove itself with; needed with https.
    pub control_pin: Option<Pins>,
    /// `OUTRIGGER_STATE`: where key, certificate and last good configuration are kept. Default `/var/lib/outrigger`.
    pub state: PathBuf,
    /// `OUTRIGGER_WORKERS`: threads of the data path, 1 to 1024. Default: the CPU quota rounded up, else 1.
    pub workers: Option<usize>,
    /// `OUTRIGGER_LOG`: what is logged, as `info` or `info,outrigger_sidecar::tcp=debug`. Default `info`.
    pub log: String,
    /// `OUTRIGGER_ADMIN`: address of `/metrics`, `/ready`, `/live`, `/config`. Default `[::]:15020`.
    pub admin: SocketAddr,
    /// `OUTRIGGER_ACCESS_LOG`: a line on standard output for each request and byte stream. Default `off`.
    pub access_log: AccessLog,
    /// `OUTRIGGER_HANDOVER_DEADLINE`: seconds that a sidecar whose place is taken may take for what still runs there,
    /// 0 to 86400. Default 30.
    pub handover_deadline: u64,
    /// `OUTRIGGER_DRAIN_DEADLINE`: seconds that what runs may take to end after SIGTERM, 0 to 86400. Default 9: Docker
    /// kills after ten.
    pub drain_deadline: u64,
    /// `OUTRIGGER_HOSTS`: the hosts file in which the names of services are kept (`/etc/hosts`), for `names` capture.
    /// The sidecar opens it as root and then gives up being root. Default: none.
    pub hosts: Option<PathBuf>,
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            control: Place::Socket(control::SOCKET.into()),
            control_pin: None,
            state: "/var/lib/outrigger".into(),
            workers: None,
            log: "info".into(),
            admin: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port::ADMIN),
            access_log: AccessLog::Off,
            handover_deadline: 30,
            drain_deadline: 9,
            hosts: None,
        }
    }
}

/// Flags; each stands over its variable.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub struct Flags {
    /// File with a section `sidecar:` [OUTRIGGER_SETTINGS] [default: /etc/outrigger/settings.yaml, if there]
    #[arg(long, value_name = "FILE", global = true)]
    #[serde(skip)]
    settings: Option<PathBuf>,
    /// Print the settings in force, each with where it came from, and exit
    #[arg(long)]
    #[serde(skip)]
    pub print_settings: bool,
}

impl Settings {
    /// Layers defaults, file and environment.
    ///
    /// # Errors
    /// Every unknown key, every value that cannot be, a file that was named and cannot be read.
    pub fn load(flags: &Flags) -> Result<Layered<Self>, Refused> {
        Self::layered(&Said::new(flags.settings.clone(), flags))
    }

    fn layered(said: &Said) -> Result<Layered<Self>, Refused> {
        outrigger_settings::layer(&SIDECAR, said, Self::impossible)
    }

    /// Keys whose values are of their type and still cannot be.
    fn impossible(&self) -> Vec<&'static str> {
        // Nobody is believed off the host without it.
        let known = matches!(self.control, Place::Socket(_)) || self.control_pin.is_some();
        let possible = [
            ("control-pin", known),
            ("workers", self.workers.is_none_or(|workers| WORKERS.contains(&workers))),
            ("handover-deadline", self.handover_deadline <= LONGEST_DEADLINE),
            ("drain-deadline", self.drain_deadline <= LONGEST_DEADLINE),
            ("log", EnvFilter::try_new(&self.log).is_ok()),
        ];
        possible.into_iter().filter(|(_, possible)| !possible).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(variables: &[(&str, &str)]) -> Result<Layered<Settings>, Refused> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Settings::layered(&Said { file: Some("/dev/null".into()), variables, ..Said::default() })
    }

    #[test]
    fn the_file_of_defaults_says_what_the_code_says() {
        let file = include_str!("../../templates/settings.yaml");
        let differences = outrigger_settings::template::differences(file, &SIDECAR, &Settings::default());
        assert!(differences.is_empty(), "templates/settings.yaml:\n{}", differences.join("\n"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        let wrong = [
            ("OUTRIGGER_WORKERS", "0"),
            ("OUTRIGGER_ACCESS_LOG", "xml"),
            ("OUTRIGGER_LOG", "a=b=c"),
            ("OUTRIGGER_ADMIN", "15020"),
        ];
        let faults = layered(&wrong).unwrap_err().to_string();
        for want in [
            "environment: OUTRIGGER_WORKERS=0: write a whole number from 1 to 1024, or leave it out",
            "environment: OUTRIGGER_ACCESS_LOG=xml: write off or json",
            "environment: OUTRIGGER_LOG=a=b=c: write info",
            "environment: OUTRIGGER_ADMIN=15020: write address and port, such as [::]:15020",
        ] {
            assert!(faults.contains(want), "{want}\nnot in\n{faults}");
        }
    }

    const PIN: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_controller_on_another_host_needs_a_pin() {
        let url = ("OUTRIGGER_CONTROL", "https://controller.outrigger.internal");
        let faults = layered(&[url]).unwrap_err().to_string();
        let told = "sidecar.control-pin must be set here (OUTRIGGER_CONTROL_PIN): write the pin that the controller logs";
        assert!(faults.contains(told), "{faults}");
        let found = layered(&[url, ("OUTRIGGER_CONTROL_PIN", PIN)]).unwrap();
        assert_eq!(found.settings.control.to_string(), "https://controller.outrigger.internal:15010");
        assert!(found.print().contains(PIN));
        for wrong in ["http://controller:15010", "https://", "https://a b:1", "https://a:0", "https://a:x/y"]
        {
            let faults = layered(&[("OUTRIGGER_CONTROL", wrong)]).unwrap_err().to_string();
            assert!(faults.contains("or https://HOST:PORT"), "{wrong}: {faults}");
        }
        let faults = layered(&[url, ("OUTRIGGER_CONTROL_PIN", "sha1:aa")]).unwrap_err().to_string();
        assert!(faults.contains("OUTRIGGER_CONTROL_PIN=sha1:aa: write the pin"), "{faults}");
    }

    /// A newer controller may set what this sidecar does not know.
    #[test]
    fn an_unknown_variable_is_told_and_harms_nothing() {
        let found = layered(&[("OUTRIGGER_WORKER", "2"), ("OUTRIGGER_WORKERS", "3")]).unwrap();
        assert_eq!(found.settings.workers, Some(3));
        let told = "environment: OUTRIGGER_WORKER: unknown variable; did you mean OUTRIGGER_WORKERS?";
        assert_eq!(found.warnings, [told]);
    }
}
