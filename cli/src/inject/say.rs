//! What is said beside the result: warnings, refusals, failures; as text on standard error, or in one JSON object.

use std::io::{self, Write};
use std::path::Path;

use outrigger_inject::Remark;
use serde_json::{Value, json};

use super::Outcome;
use crate::args::Color;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// How to speak.
pub struct Voice {
    /// One JSON object, and nothing else.
    pub json: bool,
    /// Colours on standard output.
    colour: bool,
    /// And on standard error.
    colour_beside: bool,
}

impl Voice {
    /// As the user wants it.
    pub fn new(json: bool, color: Color) -> Self {
        Self { json, colour: color.wanted(&io::stdout()), colour_beside: color.wanted(&io::stderr()) }
    }

    /// Says warnings, as text; in JSON they come with the result.
    pub fn warn(&self, warnings: &[Remark]) {
        if !self.json {
            self.list(YELLOW, "warning", warnings);
        }
    }

    /// Says why not; `answer` is what JSON has in the place of a result.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn refuse(&self, refusals: &[Remark], mut answer: Value) -> io::Result<()> {
        if self.json {
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("warnings".into(), json!([]));
                answer.insert("refusals".into(), remarks(refusals).into());
            }
            return print(&answer);
        }
        self.list(RED, "refused", refusals);
        eprintln!(
            "outrigger: nothing was written: it cannot be meshed as it is ({} to mend)",
            refusals.len()
        );
        Ok(())
    }

    /// Says what failed.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn fail(&self, what: &str) -> io::Result<()> {
        if self.json {
            return print(&json!({ "error": what }));
        }
        eprintln!("outrigger: {what}");
        Ok(())
    }

    /// Says what was done: in JSON, and where there is a file, so that nobody wonders.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn done(&self, outcome: &Outcome, file: Option<&Path>) -> io::Result<()> {
        let Outcome { text, meshed, warnings, .. } = outcome;
        if self.json {
            let result = file.map_or_else(|| json!({ "text": text }), |file| json!({ "file": file }));
            let mut answer = json!({ "meshed": meshed, "warnings": remarks(warnings), "refusals": [] });
            if let (Some(answer), Value::Object(result)) = (answer.as_object_mut(), result) {
                answer.extend(result);
            }
            return print(&answer);
        }
        if let Some(file) = file {
            let services = if meshed.is_empty() { "nothing new".to_owned() } else { meshed.join(", ") };
            eprintln!("outrigger: meshed {services}; written to {}", file.display());
        }
        Ok(())
    }

    /// A difference with its lines coloured, where colours are wanted.
    pub fn coloured(&self, difference: &str) -> String {
        if !self.colour {
            return difference.to_owned();
        }
        let line = |line: &str| match line.chars().next() {
            Some('+') => format!("{GREEN}{line}{PLAIN}\n"),
            Some('-') => format!("{RED}{line}{PLAIN}\n"),
            Some('@') => format!("{CYAN}{line}{PLAIN}\n"),
            _ => format!("{line}\n"),
        };
        difference.lines().map(line).collect()
    }

    fn list(&self, colour: &str, kind: &str, remarks: &[Remark]) {
        let (on, off) = if self.colour_beside { (colour, PLAIN) } else { ("", "") };
        for remark in remarks {
            eprintln!("{on}{kind}:{off} {remark}");
        }
    }
}

/// As JSON.
pub fn remarks(remarks: &[Remark]) -> Vec<Value> {
    remarks.iter().map(|remark| json!({ "service": remark.service, "what": remark.what })).collect()
}

/// # Errors
/// Standard output cannot be written.
pub fn print(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}
