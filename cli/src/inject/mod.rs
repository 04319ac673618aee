//! `outrigger inject`. Here for compose: compose reads the project, `outrigger-inject` meshes it, and here it is written.

mod arguments;
mod diff;
pub mod ecs;
mod given;
mod place;
mod say;

use std::io::{self, Write};
use std::process::ExitCode;

use outrigger_inject::Remark;
use outrigger_inject::compose::{Injected, Options, TEMPLATE_FILES, Templates, inject, overlay, render};
use serde_json::json;

pub use arguments::{ComposeArguments, EcsArguments};
use say::Voice;

use crate::USAGE;
use crate::project::{Compose, ComposeError, Project};
use crate::settings::Settings;

/// Stands above what is written.
const ABOVE: &str = "# Written by `outrigger inject compose`. Do not edit: change the files that it was made of, and inject again.\n";

/// What is written, and what is to be said about it.
struct Outcome {
    text: String,
    meshed: Vec<String>,
    warnings: Vec<Remark>,
    /// Values of environment files, or of variables, are in it.
    private: bool,
}

/// Why there is nothing to write.
#[derive(Debug, thiserror::Error)]
enum InjectError {
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error("it cannot be meshed")]
    Refused(Vec<Remark>),
    #[error("{0}")]
    Usage(String),
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &ComposeArguments, settings: &Settings) -> io::Result<ExitCode> {
    let voice = Voice::new(arguments.json, settings.color);
    match outcome(arguments) {
        Ok(outcome) => {
            voice.warn(&outcome.warnings);
            write(arguments, &outcome, &voice)
        }
        Err(InjectError::Refused(refusals)) => {
            voice.refuse(&refusals, json!({ "meshed": [] }))?;
            Ok(ExitCode::from(USAGE))
        }
        Err(error) => {
            voice.fail(&error.to_string())?;
            let usage =
                matches!(&error, InjectError::Usage(_) | InjectError::Compose(ComposeError::Missing(_)));
            Ok(if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE })
        }
    }
}

fn outcome(arguments: &ComposeArguments) -> Result<Outcome, InjectError> {
    let mesh = given::mesh(arguments.mesh_file.as_deref())?;
    let templates = match given::templates(arguments.templates.as_deref(), &TEMPLATE_FILES)? {
        Some(texts) => Templates::read(&texts.each_ref().map(Option::as_deref))
            .map_err(|error| InjectError::Usage(error.to_string()))?,
        None => Templates::default(),
    };
    let compose = Compose::find(arguments.project.compose.as_deref())?;
    if arguments.overlay && !compose.has_override() {
        return Err(InjectError::Usage(format!(
            "--overlay is for compose 2.24.4 and later (`!reset`, `!override`), and this is {compose}: leave it out, for one full file, \
             or name another with --compose"
        )));
    }
    let project = compose.config(&arguments.project)?;
    let options = Options {
        control_volume: arguments.control_volume.clone(),
        image: arguments.image.clone(),
        templates,
        mesh,
        namespace: Some(arguments.project.name(&project)),
    };
    let Project { tree, private, remarks } = project;
    let Injected { project, meshed, warnings } = inject(&tree, &options).map_err(InjectError::Refused)?;
    let mut warnings =
        [remarks.into_iter().map(|what| Remark { service: None, what }).collect(), warnings].concat();
    warnings.extend(place::relative_paths(arguments, &project));
    let text = if arguments.diff {
        diff::unified(&render(&tree), &render(&project))
    } else if arguments.overlay {
        let difference = overlay(&tree, &project).map_or_else(|| "{}\n".to_owned(), |tree| render(&tree));
        format!("{ABOVE}{difference}")
    } else {
        format!("{ABOVE}{}", render(&project))
    };
    Ok(Outcome { text, meshed, warnings, private })
}

fn write(arguments: &ComposeArguments, outcome: &Outcome, voice: &Voice) -> io::Result<ExitCode> {
    if let Some(file) = &arguments.output {
        if let Err(error) = place::replace(file, &outcome.text, outcome.private) {
            voice.fail(&format!("cannot write {}: {error}", file.display()))?;
            return Ok(ExitCode::FAILURE);
        }
        voice.done(outcome, Some(file))?;
    } else if voice.json {
        voice.done(outcome, None)?;
    } else {
        let text = if arguments.diff { voice.coloured(&outcome.text) } else { outcome.text.clone() };
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
