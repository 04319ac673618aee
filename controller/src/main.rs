//! The controller process.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outrigger_controller::admin::health;
use outrigger_controller::run::run;
use outrigger_controller::settings::{Flags, Settings};
use outrigger_lifecycle::shutdown_signal;
use tracing_subscriber::EnvFilter;

/// Bad usage or settings (sysexits.h: EX_USAGE).
const USAGE: u8 = 64;

/// Watches Docker, injects sidecars and tells them what to do.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Exits with 0 when the controller in this container is ready
    Health,
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let asked = !error.use_stderr();
            let _written = error.print();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    let layered = match Settings::load(&command.flags) {
        Ok(layered) => layered,
        Err(error) => return fail(&error, USAGE),
    };
    if command.flags.print_settings {
        print!("{}", layered.print());
        return ExitCode::SUCCESS;
    }
    let settings = layered.settings;
    if let Some(Action::Health) = command.action {
        return health(settings.admin).map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    let filter = EnvFilter::new(&settings.log);
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(terminal).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| fail(&error, 1)).and_then(|runtime| {
        runtime.block_on(async {
            let shutdown = shutdown_signal().map_err(|error| fail(&error, 1))?;
            run(settings, shutdown).await.map_err(|error| fail(&error, error.exit_code()))
        })
    });
    ended.err().unwrap_or(ExitCode::SUCCESS)
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("outrigger-controller: {error}");
    ExitCode::from(code)
}
