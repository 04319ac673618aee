//! `outrigger inject compose`: compose reads the project, `outrigger-inject` meshes it, and here it is written.

mod arguments;
mod diff;
mod place;
mod say;

use std::io::{self, Write};
use std::process::ExitCode;

use outrigger_inject::Remark;
use outrigger_inject::compose::{Injected, Options, Templates, inject, overlay, render};
use outrigger_model::mesh::Mesh;

pub use arguments::ComposeArguments;
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
    #[error("the project cannot be meshed")]
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
            voice.refuse(&refusals)?;
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
    let (templates, mesh) = (templates(arguments)?, mesh(arguments)?);
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

/// The mesh file; that of no file at all where none is named.
fn mesh(arguments: &ComposeArguments) -> Result<Mesh, InjectError> {
    let Some(file) = &arguments.mesh_file else { return Ok(Mesh::default()) };
    let name = file.display().to_string();
    let bytes =
        std::fs::read(file).map_err(|error| InjectError::Usage(format!("--mesh-file {name}: {error}")))?;
    Mesh::read_bytes(&bytes, &name).map_err(|faults| {
        let faults = faults.iter().map(|fault| Remark { service: None, what: fault.to_string() });
        InjectError::Refused(faults.collect())
    })
}

/// The built-in templates, and those of a directory in their place.
fn templates(arguments: &ComposeArguments) -> Result<Templates, InjectError> {
    let Some(directory) = &arguments.templates else { return Ok(Templates::default()) };
    if !directory.is_dir() {
        return Err(InjectError::Usage(format!(
            "--templates {}: there is no such directory",
            directory.display()
        )));
    }
    let mut texts: [Option<String>; 5] = Default::default();
    for (text, name) in texts.iter_mut().zip(outrigger_inject::compose::TEMPLATE_FILES) {
        let file = directory.join(name);
        match std::fs::read_to_string(&file) {
            Ok(found) => *text = Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(InjectError::Usage(format!("template {}: {error}", file.display()))),
        }
    }
    Templates::read(&texts.each_ref().map(Option::as_deref))
        .map_err(|error| InjectError::Usage(error.to_string()))
}
