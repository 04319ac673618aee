//! Progress: one line per step, with seconds. A terminal sees the line change; a log sees start and end.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// How wide the step names are.
const NAMES: usize = 9;

/// One step under way.
pub struct Step {
    name: &'static str,
    started: Instant,
    shown: Cell<Instant>,
    live: bool,
}

/// Starts a step and shows what it does.
pub fn step(name: &'static str, doing: &str) -> Step {
    let now = Instant::now();
    let step = Step { name, started: now, shown: Cell::new(now), live: stdout().is_terminal() };
    if step.live {
        step.draw(doing);
    } else {
        println!("  {name:NAMES$} {doing} ...");
    }
    step
}

impl Step {
    /// Shows that it still moves (terminals only, ten times a second at most).
    pub fn tick(&self, doing: &str) {
        if self.live && self.shown.get().elapsed() > Duration::from_millis(100) {
            self.shown.set(Instant::now());
            self.draw(doing);
        }
    }

    /// Ends the step well: what came of it, and how long it took.
    pub fn done(self, result: impl Display) {
        let seconds = self.started.elapsed().as_secs_f32();
        let Step { name, live, .. } = self;
        let clear = if live { "\r\x1b[2K" } else { "" };
        println!("{clear}{} {name:NAMES$} {result}  {}", green("✓"), dim(&format!("{seconds:.1} s")));
    }

    /// Ends the step badly; the fault itself is printed by `main`.
    pub fn failed(self) {
        let seconds = self.started.elapsed().as_secs_f32();
        let clear = if self.live { "\r\x1b[2K" } else { "" };
        println!("{clear}{} {:NAMES$} failed after {seconds:.1} s", red("✗"), self.name);
    }

    fn draw(&self, doing: &str) {
        let seconds = self.started.elapsed().as_secs();
        let short: String = doing.chars().take(60).collect();
        print!("\r\x1b[2K  {:NAMES$} {short} {}", self.name, dim(&format!("{seconds} s")));
        let _ = stdout().flush();
    }
}

/// A heading.
pub fn bold(text: &str) -> String {
    paint(text, "1")
}

/// What may be read later.
pub fn dim(text: &str) -> String {
    paint(text, "2")
}

/// What went well.
pub fn green(text: &str) -> String {
    paint(text, "32")
}

/// What went badly.
pub fn red(text: &str) -> String {
    paint(text, "31")
}

fn paint(text: &str, code: &str) -> String {
    let plain =
        !stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}
