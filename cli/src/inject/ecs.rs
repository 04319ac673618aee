//! `outrigger inject ecs`: a task definition with its mesh written in, or taken out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use outrigger_inject::Remark;
use outrigger_inject::compose::Value;
use outrigger_inject::ecs::{
    Injected, Options, TEMPLATE_FILES, Templates, alike, inject, original, read, registrable, render,
};
use serde_json::json;

use super::arguments::EcsArguments;
use super::say::{Voice, print, remarks};
use super::{InjectError, diff, given, place};
use crate::USAGE;
use crate::settings::Settings;

/// Bytes that are read; ECS takes 64 KiB, and an answer of its API has some more.
const MOST_BYTES: u64 = 1024 * 1024;

struct Outcome {
    /// What `register-task-definition` takes of what was given.
    before: Value,
    after: Value,
    /// None where the mesh is taken out.
    capture: Option<&'static str>,
    warnings: Vec<Remark>,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &EcsArguments, settings: &Settings) -> io::Result<ExitCode> {
    let voice = Voice::new(arguments.json, settings.color);
    match outcome(arguments) {
        Ok(outcome) => {
            voice.warn(&outcome.warnings);
            write(arguments, &outcome, &voice)
        }
        Err(InjectError::Refused(refusals)) => {
            voice.refuse(&refusals, json!({ "definition": null, "capture": null, "changed": false }))?;
            Ok(ExitCode::from(USAGE))
        }
        Err(error) => {
            voice.fail(&error.to_string())?;
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn outcome(arguments: &EcsArguments) -> Result<Outcome, InjectError> {
    let definition = definition(&arguments.file)?;
    let refused = |remark| InjectError::Refused(vec![remark]);
    let before = registrable(&definition).map_err(refused)?;
    if arguments.remove {
        let after = original(&before).map_err(refused)?;
        return Ok(Outcome { before, after, capture: None, warnings: Vec::new() });
    }
    let options = options(arguments)?;
    let Injected { definition: after, capture, mut warnings } =
        inject(&before, &options).map_err(InjectError::Refused)?;
    if arguments.image.is_none() {
        let what = format!(
            "the sidecar's image is {}, which ECS would look for on Docker Hub: push it to a registry of yours, and name it in \
             --image",
            options.image
        );
        warnings.push(Remark { service: None, what });
    }
    Ok(Outcome { before, after, capture: Some(capture.as_str()), warnings })
}

fn options(arguments: &EcsArguments) -> Result<Options, InjectError> {
    let built_in = Options::default();
    let templates = match given::templates(arguments.templates.as_deref(), &TEMPLATE_FILES)? {
        Some(texts) => Templates::read(&texts.each_ref().map(Option::as_deref))
            .map_err(|error| InjectError::Usage(error.to_string()))?,
        None => Templates::default(),
    };
    let said = |value: &Option<String>, or: String| value.clone().unwrap_or(or);
    Ok(Options {
        control: said(&arguments.control, built_in.control),
        pin: said(&arguments.pin, built_in.pin),
        image: said(&arguments.image, built_in.image),
        resources: arguments.resources.into(),
        names: arguments.names.into(),
        replace_app_mesh: arguments.replace_app_mesh,
        templates,
        mesh: given::mesh(arguments.mesh_file.as_deref())?,
        namespace: arguments.cluster.rsplit('/').next().unwrap_or_default().to_owned(),
    })
}

fn definition(file: &Path) -> Result<Value, InjectError> {
    let name = if file.as_os_str() == "-" { "standard input".into() } else { file.display().to_string() };
    let mut text = String::new();
    let fault = |error: &dyn std::fmt::Display| InjectError::Usage(format!("{name}: {error}"));
    let read_all = |from: &mut dyn Read, text: &mut String| from.take(MOST_BYTES + 1).read_to_string(text);
    let read_bytes = if file.as_os_str() == "-" {
        read_all(&mut io::stdin().lock(), &mut text)
    } else {
        File::open(file).and_then(|mut file| read_all(&mut file, &mut text))
    };
    read_bytes.map_err(|error| fault(&error))?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > MOST_BYTES) {
        return Err(fault(&"more than 1 MiB is no task definition"));
    }
    read(&text).map_err(|error| {
        fault(&format!("not JSON ({error}): give what aws ecs describe-task-definition answers"))
    })
}

fn write(arguments: &EcsArguments, outcome: &Outcome, voice: &Voice) -> io::Result<ExitCode> {
    let Outcome { before, after, capture, warnings } = outcome;
    let changed = !alike(before, after);
    if arguments.json {
        print(&json!({
            "definition": after, "capture": capture, "changed": changed, "warnings": remarks(warnings), "refusals": [],
        }))?;
    } else if arguments.diff {
        let difference = diff::unified(&render(before), &render(after));
        io::stdout().lock().write_all(voice.coloured(&difference).as_bytes())?;
    } else if let Some(file) = &arguments.output {
        if let Err(error) = place::replace(file, &render(after), false) {
            voice.fail(&format!("cannot write {}: {error}", file.display()))?;
            return Ok(ExitCode::FAILURE);
        }
        let what =
            capture.map_or_else(|| "the mesh is out".to_owned(), |capture| format!("capture {capture}"));
        eprintln!("outrigger: {what}; written to {}", file.display());
    } else if !arguments.check {
        io::stdout().lock().write_all(render(after).as_bytes())?;
    }
    if arguments.check && changed {
        let what = if arguments.remove { "the mesh is in it" } else { "it is not meshed as it would be now" };
        eprintln!("outrigger: {}: {what}; --diff shows the difference", arguments.file.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
