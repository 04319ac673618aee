//! `outrigger status`: one answer of the controller, drawn as text or given as JSON, once or again and again.

mod answer;
mod draw;
mod ejected;
mod faults;
mod outside;
pub mod table;
mod zones;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;

use crate::USAGE;
use crate::args::StatusArguments;
use crate::fetch::{self, FetchError};
use crate::settings::Settings;
use answer::Status;

/// To the upper left corner; what is there is overwritten, so that nothing flickers.
const HOME: &str = "\x1b[H";
/// Clears from here to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears from here to the end of the screen.
const CLEAR_REST: &str = "\x1b[J";

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(
        "{url} answered, but it is not an Outrigger controller this command can read ({source}): check --controller, or upgrade"
    )]
    Shape { url: String, source: serde_json::Error },
}

/// One picture, and whether anything in it is wrong.
struct Picture {
    text: String,
    sound: bool,
}

/// Runs the command until it is done (or, with `--watch`, for ever).
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &StatusArguments, settings: &Settings) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.interval() {
            None => once(arguments, settings).await,
            Some(interval) => loop {
                again(arguments, settings).await?;
                tokio::time::sleep(interval).await;
            },
        }
    })
}

async fn once(arguments: &StatusArguments, settings: &Settings) -> io::Result<ExitCode> {
    match picture(arguments, settings).await {
        Ok(picture) => {
            io::stdout().lock().write_all(picture.text.as_bytes())?;
            Ok(if picture.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("outrigger: {error}");
            let usage = matches!(error, StatusError::Fetch(FetchError::Address(_)));
            Ok(if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE })
        }
    }
}

/// One round of `--watch`: a controller that is away is shown too, and asked again.
async fn again(arguments: &StatusArguments, settings: &Settings) -> io::Result<()> {
    let text = match picture(arguments, settings).await {
        Ok(picture) => picture.text,
        Err(error) if arguments.json => {
            eprintln!("outrigger: {error}");
            return Ok(());
        }
        Err(error) => format!("outrigger: {error}\n"),
    };
    let mut out = io::stdout().lock();
    if arguments.json || !out.is_terminal() {
        out.write_all(text.as_bytes())?;
    } else {
        let lines = text.replace('\n', &format!("{CLEAR_LINE}\n"));
        write!(out, "{HOME}{lines}{CLEAR_REST}")?;
    }
    out.flush()
}

async fn picture(arguments: &StatusArguments, settings: &Settings) -> Result<Picture, StatusError> {
    let body = fetch::get(&settings.controller, "/status").await?;
    let shape = |source| StatusError::Shape { url: settings.controller.clone(), source };
    let status: Status = serde_json::from_slice(&body).map_err(shape)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Some(wanted) = &arguments.strict_check {
        return Ok(strict_check(&status, wanted));
    }
    let faults = faults::find(&status, now);
    let text = if arguments.json {
        json(&body, arguments.watch.is_some()).map_err(shape)?
    } else {
        draw::status(&status, &faults, now, settings.color.wanted(&io::stdout()))
    };
    Ok(Picture { text, sound: faults.is_empty() })
}

fn strict_check(status: &Status, wanted: &[String]) -> Picture {
    let against = outside::check(status, wanted);
    let text = if against.is_empty() {
        "strict can be switched on: nobody outside would break, as far as the sidecars have seen\n".to_owned()
    } else {
        against.iter().map(|line| format!("{}\n", table::printable(line))).collect()
    };
    Picture { text, sound: against.is_empty() }
}

/// The controller's whole answer, also what this version does not know; one line each under `--watch`.
fn json(body: &Bytes, one_line: bool) -> Result<String, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_slice(body)?;
    let text = if one_line { serde_json::to_string(&value) } else { serde_json::to_string_pretty(&value) }?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests;
