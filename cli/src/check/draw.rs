//! Faults as people read them: what, where, the line itself with carets below, and the way out.

use std::fmt::Write;

use outrigger_model::mesh::{Code, Fault, Origin, Severity};

use super::Checked;
use crate::status::table::{Paint, printable};

/// Longest part of a line that is shown, in characters.
const WIDTH: usize = 110;
/// Characters shown left of the place, where a line is longer.
const BEFORE: usize = 40;

/// All faults of one file, and one line that sums them up.
pub fn file(file: &Checked, color: bool) -> String {
    let mut text = String::new();
    for fault in &file.faults {
        // Writing to a string does not fail.
        let _ = one(&mut text, fault, &file.text, color);
    }
    let name = printable(&file.name);
    let (errors, warnings) = (file.has(Severity::Error), file.has(Severity::Warning));
    let warned = if warnings == 0 { String::new() } else { format!(", {}", count(warnings, "warning")) };
    let verdict = if errors == 0 {
        let services = if file.services == 0 {
            String::new()
        } else {
            format!(" ({})", count(file.services, "service"))
        };
        format!("{name}: {}{services}{warned}", Paint::Good.apply("good", color))
    } else {
        format!("{name}: {}{warned}", Paint::Bad.apply(&count(errors, "error"), color))
    };
    text + &verdict + "\n"
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn one(text: &mut String, fault: &Fault, source: &str, color: bool) -> std::fmt::Result {
    let (word, paint) = match fault.severity {
        Severity::Error => ("error", Paint::Bad),
        Severity::Warning => ("warning", Paint::Warn),
    };
    let title = paint.apply(&format!("{word}[{}]", fault.code.as_str()), color);
    writeln!(text, "{title}: {}", Paint::Title.apply(&printable(&fault.what), color))?;
    let (line, column, length) = match fault.origin {
        Origin::File { line, column, length, .. } => (line, column, length),
        Origin::Label { .. } => (1, 1, 0),
    };
    let margin = " ".repeat(line.to_string().len());
    let faint = |text: &str| Paint::Faint.apply(text, color);
    let place = printable(&fault.origin.to_string());
    if fault.code == Code::Unreadable && source.is_empty() {
        let name = place.trim_end_matches(":1:1");
        writeln!(text, "{margin}{} {name}", faint("-->"))?;
    } else {
        writeln!(text, "{margin}{} {place}", faint("-->"))?;
        let (shown, from) = excerpt(source, line, column);
        let offset = usize::try_from(column).unwrap_or(1).saturating_sub(1).saturating_sub(from);
        let length =
            usize::try_from(length).unwrap_or(1).min(shown.chars().count().saturating_sub(offset)).max(1);
        let carets = paint.apply(&"^".repeat(length), color);
        writeln!(text, "{margin} {}", faint("|"))?;
        writeln!(text, "{} {} {shown}", faint(&line.to_string()), faint("|"))?;
        writeln!(text, "{margin} {} {}{carets}", faint("|"), " ".repeat(offset))?;
    }
    if !fault.path.is_empty() {
        writeln!(text, "{margin} {} {}: {}", faint("="), Paint::Title.apply("key", color), fault.path)?;
    }
    if let Some(other) = &fault.other {
        let other = printable(&other.to_string());
        writeln!(text, "{margin} {} {}: see {other}", faint("="), Paint::Title.apply("note", color))?;
    }
    writeln!(
        text,
        "{margin} {} {}: {}\n",
        faint("="),
        Paint::Title.apply("help", color),
        printable(&fault.help)
    )
}

/// A line as it can be shown, one column for each character, and how many of them are left out before it.
fn excerpt(source: &str, line: u32, column: u32) -> (String, usize) {
    let at = |n: u32| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let whole = source.split('\n').nth(at(line)).unwrap_or_default().trim_end_matches('\r');
    let long = whole.chars().count() > WIDTH;
    let from = if long { at(column).saturating_sub(BEFORE) } else { 0 };
    let visible = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || directs(c) => '\u{fffd}',
        c => c,
    };
    (whole.chars().skip(from).take(WIDTH).map(visible).collect(), from)
}

/// Characters that turn the direction of text, or show nothing: what is drawn after them would not stand where it is.
fn directs(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
