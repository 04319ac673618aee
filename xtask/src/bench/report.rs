//! What was measured, beside what was asked for.

use std::fmt::Write;

use serde_json::{Value, json};

use super::compare::median;

/// Written into every file; raised when a field changes its meaning.
const FORMAT: u32 = 1;

/// One figure.
pub struct Row {
    name: String,
    unit: &'static str,
    /// Err: not measured, for the reason.
    measured: Result<f64, String>,
    /// Least and most, where there were several.
    range: Option<(f64, f64)>,
    target: Option<f64>,
    /// Another figure of the same measurement, and its text.
    beside: Option<(String, f64)>,
}

impl Row {
    /// A figure without a target.
    pub fn number(name: &str, unit: &'static str, measured: f64) -> Self {
        Self { name: name.into(), unit, measured: Ok(measured), range: None, target: None, beside: None }
    }

    /// The median of several.
    pub fn samples(name: &str, unit: &'static str, samples: &[f64]) -> Self {
        let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let high = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { range: Some((low, high)), ..Self::number(name, unit, median(samples.to_vec())) }
    }

    /// A figure that should not be more than `target`.
    pub fn at_most(name: &str, unit: &'static str, measured: f64, target: f64) -> Self {
        Self::number(name, unit, measured).wanted(target)
    }

    /// A figure that could not be measured.
    pub fn missing(name: &str, unit: &'static str, target: impl Into<Option<f64>>, why: String) -> Self {
        Self { measured: Err(why), target: target.into(), ..Self::number(name, unit, f64::NAN) }
    }

    /// It should not be more than that.
    pub fn wanted(self, target: impl Into<Option<f64>>) -> Self {
        Self { target: target.into(), ..self }
    }

    /// What else the measurement showed.
    pub fn beside(self, text: String, value: f64) -> Self {
        Self { beside: Some((text, value)), ..self }
    }

    fn met(&self) -> Option<bool> {
        Some(*self.measured.as_ref().ok()? <= self.target?)
    }

    fn line(&self, table: &mut String) {
        let figure = |value: f64| format!("{value:.*} {}", digits(value), self.unit);
        let measured = self.measured.as_ref().map_or("–".into(), |value| figure(*value));
        let digits = self.measured.as_ref().map_or(0, |value| digits(*value));
        let range =
            self.range.map_or(String::new(), |(low, high)| format!("{low:.digits$} – {high:.digits$}"));
        let target = self.target.map_or(String::new(), |value| format!("≤ {}", figure(value)));
        let beside = self.beside.as_ref().map_or("", |(text, _)| text.as_str());
        let met = match (&self.measured, self.met()) {
            (Err(why), _) => why.lines().next().unwrap_or_default(),
            (_, Some(true)) => "yes",
            (_, Some(false)) => "NO",
            (_, None) => beside,
        };
        let name = &self.name;
        let line = format!("  {name:<44} {measured:>12} {range:>17} {target:>12}  {met}");
        let _never_fails = writeln!(table, "{}", line.trim_end());
    }

    fn json(&self, part: &Part) -> Value {
        json!({
            "part": part.key,
            "name": self.name,
            "unit": self.unit,
            "measured": self.measured.as_ref().ok(),
            "low": self.range.map(|range| range.0),
            "high": self.range.map(|range| range.1),
            "beside": self.beside.as_ref().map(|beside| beside.1),
            "why_not": self.measured.as_ref().err(),
            "target": self.target,
            "met": self.met(),
        })
    }
}

/// A part of the table.
struct Part {
    /// What `--only` calls it.
    key: &'static str,
    title: &'static str,
    rows: Vec<Row>,
}

/// All figures of a run.
pub struct Report {
    parts: Vec<Part>,
    /// What it ran on.
    machine: Vec<(&'static str, String)>,
    pinned: bool,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(machine: Vec<(&'static str, String)>, pinned: bool) -> Self {
        Self { parts: Vec::new(), machine, pinned }
    }

    /// A part begins; what is added belongs to it.
    pub fn part(&mut self, key: &'static str, title: &'static str) {
        eprintln!("{key}: {title}");
        self.parts.push(Part { key, title, rows: Vec::new() });
    }

    /// One more.
    pub fn add(&mut self, row: Row) {
        if let Some(part) = self.parts.last_mut() {
            part.rows.push(row);
        }
    }

    /// Several.
    pub fn extend(&mut self, rows: Vec<Row>) {
        rows.into_iter().for_each(|row| self.add(row));
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            let _never_fails = writeln!(text, "{name}: {value}");
        }
        let _never_fails =
            writeln!(text, "\n{:<46} {:>12} {:>17} {:>12}  met", "", "median", "least – most", "target");
        for part in &self.parts {
            let _never_fails = writeln!(text, "\n{}: {}", part.key, part.title);
            part.rows.iter().for_each(|row| row.line(&mut text));
        }
        let met = self.rows().filter_map(Row::met);
        let (yes, no): (Vec<bool>, Vec<bool>) = met.partition(|met| *met);
        let _never_fails = writeln!(text, "\n{} targets met, {} missed", yes.len(), no.len());
        if !self.pinned {
            text.push_str("One CPU only: nothing was pinned, figures are worth little.\n");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rows = self.parts.iter().flat_map(|part| part.rows.iter().map(|row| row.json(part)));
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "format": FORMAT,
            "machine": machine,
            "pinned": self.pinned,
            "rows": rows.collect::<Vec<Value>>(),
        })
    }

    /// What could not be measured, and why; each reason once.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = Vec::new();
        for part in &self.parts {
            for row in &part.rows {
                let Err(why) = &row.measured else { continue };
                if !failures.iter().any(|failure| failure.ends_with(why.as_str())) {
                    failures.push(format!("{}: {}: {why}", part.key, row.name));
                }
            }
        }
        failures
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().flat_map(|part| &part.rows)
    }
}

/// Digits after the point that mean something.
pub fn digits(value: f64) -> usize {
    match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    }
}
