//! What was measured, beside what was asked for.

use std::fmt::Write;

use serde_json::{Value, json};

use super::process::Cpus;

/// One figure.
pub struct Row {
    name: String,
    unit: &'static str,
    /// None: not measured, for the reason.
    measured: Result<f64, String>,
    target: Option<f64>,
}

impl Row {
    /// A figure without a target.
    pub fn number(name: &str, unit: &'static str, measured: f64) -> Self {
        Self { name: name.into(), unit, measured: Ok(measured), target: None }
    }

    /// A figure that should not be more than `target`.
    pub fn at_most(name: &str, unit: &'static str, measured: f64, target: f64) -> Self {
        Self { name: name.into(), unit, measured: Ok(measured), target: Some(target) }
    }

    /// A figure that could not be measured here.
    pub fn missing(name: &str, unit: &'static str, target: f64, why: String) -> Self {
        Self { name: name.into(), unit, measured: Err(why), target: Some(target) }
    }

    fn met(&self) -> Option<bool> {
        Some(*self.measured.as_ref().ok()? <= self.target?)
    }
}

/// All figures of a run.
pub struct Report {
    rows: Vec<Row>,
    pinned: bool,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(cpus: &Cpus) -> Self {
        Self { rows: Vec::new(), pinned: cpus.proxies.is_some() }
    }

    /// One more.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!("{:<46} {:>14} {:>14}  met\n", "", "measured", "target");
        for row in &self.rows {
            let figure = |value: f64| format!("{value:.*} {}", digits(value), row.unit);
            let measured = row.measured.as_ref().map_or("–".into(), |value| figure(*value));
            let target = row.target.map_or(String::new(), |value| format!("≤ {}", figure(value)));
            let met = match (&row.measured, row.met()) {
                (Err(why), _) => why.as_str(),
                (_, Some(true)) => "yes",
                (_, Some(false)) => "NO",
                (_, None) => "",
            };
            let _never_fails = writeln!(text, "{:<46} {measured:>14} {target:>14}  {met}", row.name);
        }
        if !self.pinned {
            text.push_str("One CPU only: nothing was pinned, figures are worth little.\n");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "unit": row.unit,
                "measured": row.measured.as_ref().ok(),
                "why_not": row.measured.as_ref().err(),
                "target": row.target,
                "met": row.met(),
            })
        };
        json!({ "pinned": self.pinned, "rows": self.rows.iter().map(row).collect::<Vec<Value>>() })
    }
}

/// Digits after the point that mean something.
fn digits(value: f64) -> usize {
    match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    }
}
