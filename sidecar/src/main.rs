//! The sidecar process: settings, bind, run, drain.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use outrigger_lifecycle::{Ended, Tasks, shutdown_signal};
use outrigger_settings::Refused;
use outrigger_sidecar::control::{self, Control, Parts, Remote, Road};
use outrigger_sidecar::file::{FileError, Files};
use outrigger_sidecar::handover::{HandOver, Place};
use outrigger_sidecar::hosts::{Hosts, HostsError};
use outrigger_sidecar::identity::Identity;
use outrigger_sidecar::patience::Patience;
use outrigger_sidecar::privilege::{self, PrivilegeError};
use outrigger_sidecar::settings::{Flags, Settings};
use outrigger_sidecar::state::State;
use outrigger_sidecar::stopping::Task;
use outrigger_sidecar::task::Agent;
use outrigger_sidecar::task::metadata::{self, MetadataError};
use outrigger_sidecar::{Options, Sidecar, StartError, Stopped, capture, health, hold, limits, netns, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Carries the traffic of one workload through the mesh.
#[derive(Parser)]
#[command(name = "outrigger-sidecar", version)]
struct Cli {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    flags: Flags,
    /// Run this configuration (YAML) instead of the controller's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with key.pem, chain.pem and roots.pem.
    #[arg(long, value_name = "DIR", requires = "config")]
    identity: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Step {
    /// Wait until the sidecar is ready, redirect the traffic of this network namespace to it, then end (needs NET_ADMIN).
    Capture(capture::Args),
    /// Wait until the sidecar of this network namespace is ready, then end.
    Wait(wait::Limit),
    /// Own this network namespace until told to stop.
    Hold(hold::Args),
    /// Ask the running sidecar whether it is ready.
    Health,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Setting(#[from] Refused),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Hosts(#[from] HostsError),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("a controller on another host is not believed without OUTRIGGER_CONTROL_PIN")]
    Pin,
    #[error("TLS to the controller: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the task `{0}` ended, and a sidecar without it is none")]
    Task(String),
}

/// Bad usage or configuration (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _no_terminal = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    // The holder needs no settings, and little memory.
    if let Some(Step::Hold(args)) = &cli.step {
        return hold::run(args);
    }
    let layered = match Settings::load(&cli.flags) {
        Ok(layered) => layered,
        Err(error) => return failed(&error.into()),
    };
    if cli.flags.print_settings {
        print!("{}", layered.print());
        return ExitCode::SUCCESS;
    }
    let settings = layered.settings;
    match &cli.step {
        Some(Step::Capture(args)) => return capture::run(settings.admin, args),
        Some(Step::Wait(args)) => return wait::run(settings.admin, args),
        Some(Step::Health) => return health::check(settings.admin),
        Some(Step::Hold(_)) | None => {}
    }
    let files = cli.config.map(|config| Files { config, identity: cli.identity });
    log_to_stderr(&settings.log);
    for warning in layered.warnings {
        tracing::warn!("{warning}");
    }
    let hosts = match open_hosts(&settings) {
        Ok(hosts) => hosts,
        Err(failure) => return failed(&failure),
    };
    match start(settings, files, hosts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("outrigger-sidecar: {failure}");
    match failure {
        Failure::Setting(_) | Failure::File(_) | Failure::Pin => ExitCode::from(USAGE),
        Failure::Tls(_)
        | Failure::Start(_)
        | Failure::Hosts(_)
        | Failure::Privilege(_)
        | Failure::Io(_)
        | Failure::Task(_) => ExitCode::FAILURE,
    }
}

/// Opens the hosts file, then gives up the rights that it took; before any other thread is there.
fn open_hosts(settings: &Settings) -> Result<Option<Hosts>, Failure> {
    let in_ecs = std::env::var_os(metadata::VARIABLE).is_some();
    let Some(path) = &settings.hosts else { return Ok(in_ecs.then(Hosts::elsewhere)) };
    let hosts = match Hosts::open(path) {
        Ok(hosts) => hosts,
        // The task would end, and the next one as well.
        Err(error) if in_ecs => {
            tracing::error!(%error, "names of services are not kept in the hosts file: they have to be in a private hosted \
                zone (OUTRIGGER_NAMES_ZONE of the controller), or applications find the services without the mesh, if at all");
            Hosts::refused(&error)
        }
        Err(error) => return Err(error.into()),
    };
    if privilege::is_root() {
        privilege::drop_for_good()?;
    }
    Ok(Some(hosts))
}

fn start(settings: Settings, files: Option<Files>, hosts: Option<Hosts>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(settings, files, hosts))
}

async fn run(settings: Settings, files: Option<Files>, hosts: Option<Hosts>) -> Result<(), Failure> {
    let told = shutdown_signal()?;
    let (identity, identities) = watch::channel(None);
    let (listening, look) = netns::watch_listening()?;
    let deadline = Duration::from_secs(settings.handover_deadline);
    let to_drain = Duration::from_secs(settings.drain_deadline);
    let hand_over = HandOver::find(Place::default(), deadline).await;
    let sidecar = Sidecar::bind(Options {
        workers: settings.workers.unwrap_or_else(limits::workers),
        connections: limits::connections(),
        admin: settings.admin,
        access_log: settings.access_log,
        identity: identities,
        listening,
        hand_over: Some(hand_over),
        hosts,
        patience: Patience::default(),
    })?;
    let mut tasks = Tasks::new();
    tasks.spawn("listening", look);
    let (drain, mut drains) = mpsc::channel(1);
    follow(&mut tasks, &sidecar, settings, files, identity, drain)?;
    let mut failure = None;
    let leaving = sidecar.leaving();
    let told = async move {
        match Agent::of_environment().metadata() {
            Ok(endpoint) => Task::at(endpoint).end(told, leaving, to_drain).await,
            Err(error) => {
                if !matches!(error, MetadataError::NotEcs) {
                    tracing::warn!(%error, "whether the task stops is not known");
                }
                told.await;
                to_drain
            }
        }
    };
    let stop = async {
        tokio::select! {
            deadline = told => deadline,
            Some(deadline) = drains.recv() => deadline,
            ended = tasks.next_ended() => match ended {
                Some(Ended::Returned("namespace")) => {
                    tracing::info!("the network namespace is dead: nobody is left to serve");
                    Duration::ZERO
                }
                ended => {
                    failure = Some(Failure::Task(format!("{ended:?}")));
                    to_drain
                }
            }
        }
    };
    match sidecar.run(stop).await {
        Stopped::Drained => tracing::info!("all connections have ended"),
        Stopped::Cut(connections) => tracing::warn!(connections, "connections that still ran were cut"),
        Stopped::Fault(ended) => failure = Some(Failure::Task(format!("{ended:?}"))),
    }
    failure.map_or(Ok(()), Err)
}

/// Follows files or the controller.
fn follow(
    tasks: &mut Tasks,
    sidecar: &Sidecar,
    settings: Settings,
    files: Option<Files>,
    identity: watch::Sender<Option<Arc<Identity>>>,
    drain: mpsc::Sender<Duration>,
) -> Result<(), Failure> {
    let runtime = sidecar.runtime();
    if let Some(files) = files {
        let reload = signal(SignalKind::hangup())?;
        files.apply(files.load()?, &runtime, &identity)?;
        tasks.spawn("files", files.follow(reload, runtime, identity));
        return Ok(());
    }
    let parts = Parts {
        apply: Box::new(move |config, version| runtime.apply_as(config, Some(version))),
        identity,
        reporter: sidecar.reporter(),
        drain,
    };
    let road = match (settings.control, settings.control_pin) {
        (control::Place::Socket(path), _) => Road::Socket(path),
        (remote, Some(pins)) => Road::Remote(Box::new(Remote::new(remote, pins, Agent::of_environment())?)),
        (_, None) => return Err(Failure::Pin),
    };
    tasks.spawn("control", Control::open(road, State::new(settings.state), parts).run());
    tasks.spawn("namespace", async {
        if let Err(error) = netns::dead().await {
            tracing::error!(%error, "cannot see whether the network namespace is dead");
            std::future::pending::<()>().await;
        }
    });
    Ok(())
}

fn log_to_stderr(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
}
