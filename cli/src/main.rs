//! The `outrigger` command.

mod args;
mod check;
mod compile;
mod fetch;
mod init;
mod inject;
mod man;
mod policy;
mod project;
mod settings;
mod status;
mod upgrade;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use outrigger_settings::Layered;

use args::{Arguments, Command, Inject};
use settings::Settings;

/// What the user wrote is not a command (EX_USAGE of sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _nowhere_left_to_say_so = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let layered = match Settings::load(&arguments) {
        Ok(layered) => layered,
        Err(error) => {
            eprintln!("outrigger: {error}");
            return ExitCode::from(USAGE);
        }
    };
    for warning in &layered.warnings {
        eprintln!("outrigger: {warning}");
    }
    match run(arguments, &layered) {
        Ok(code) => code,
        // A reader that has seen enough (`outrigger status | head`) is no fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, layered: &Layered<Settings>) -> io::Result<ExitCode> {
    match arguments.command {
        Command::Status(status) => status::run(&status, &layered.settings),
        Command::Inject { what: Inject::Compose(arguments) } => inject::run(&arguments, &layered.settings),
        Command::Inject { what: Inject::Ecs(arguments) } => inject::ecs::run(&arguments, &layered.settings),
        Command::IamPolicy(policy) => policy::run(&policy),
        Command::Init(init) => init::run(&init),
        Command::Compile(compile) => compile::run(&compile),
        Command::Check(check) => check::run(&check, &layered.settings),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&outrigger_model::mesh::schema())? + "\n";
            io::stdout().lock().write_all(schema.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Upgrade(upgrade) => upgrade::run(&upgrade),
        Command::Man { directory } => man::run(directory.as_deref()),
        Command::Settings => {
            io::stdout().lock().write_all(layered.print().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            // Written to memory first: the generator panics where its output is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "outrigger", &mut script);
            io::stdout().lock().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
