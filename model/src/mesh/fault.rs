use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Most faults that one reading reports: what comes after a thousand is read after the thousand are mended.
pub(super) const MAX_FAULTS: usize = 1_000;
/// Most characters of a file's or a label's name that are shown.
const LONGEST_NAME: usize = 512;

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Origin {
    /// In a file.
    File {
        /// Its path, as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
        /// How many characters of that line it takes; 0 where it is one place only.
        #[serde(skip)]
        length: u32,
    },
    /// In a label.
    Label {
        /// Its whole name (`outrigger.mode`).
        label: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column, .. } => write!(f, "{}:{line}:{column}", printable(file)),
            Self::Label { label } => write!(f, "label {}", printable(label)),
        }
    }
}

/// A name from outside without what moves a cursor, and not longer than anybody reads.
fn printable(name: &str) -> String {
    name.chars().take(LONGEST_NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// What was said cannot stand: a file is refused whole, a label is not applied.
    Error,
    /// It stands, or something else stands in its place, and somebody should look at it.
    Warning,
}

/// What kind of fault; stable, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file cannot be read at all.
    Unreadable,
    /// It is not YAML, or uses what of YAML a mesh file does not.
    Syntax,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// There is no such key or label.
    UnknownKey,
    /// A list where a mapping belongs, text where a number does, nothing at all.
    WrongType,
    /// Of the right type, but not one of what may be written.
    BadValue,
    /// Too large or too small.
    OutOfRange,
    /// The file is larger or deeper than any mesh file has reason to be.
    TooLarge,
    /// A label says what mesh.yaml does not allow it to, or two keys do not go together.
    Conflict,
    /// A regular expression that cannot be tried.
    BadPattern,
    /// What was said changes nothing.
    NoEffect,
    /// What protects could be gone around.
    Bypassable,
}

impl Code {
    /// As JSON and diagnostics have it (`unknown-key`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::DuplicateKey => "duplicate-key",
            Self::UnknownKey => "unknown-key",
            Self::WrongType => "wrong-type",
            Self::BadValue => "bad-value",
            Self::OutOfRange => "out-of-range",
            Self::TooLarge => "too-large",
            Self::Conflict => "conflict",
            Self::BadPattern => "bad-pattern",
            Self::NoEffect => "no-effect",
            Self::Bypassable => "bypassable",
        }
    }
}

/// One thing wrong with a mesh file or a label. Printed, it is one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: Code,
    /// Where.
    #[serde(flatten)]
    pub origin: Origin,
    /// Keys that lead there (`services.cart.ports.8080`); empty at the top, and for labels.
    pub path: String,
    /// What stands there, shortened.
    pub found: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write, or do.
    pub help: String,
    /// The other place, where two do not go together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Origin>,
}

impl Fault {
    /// A file that cannot be read at all, and why.
    pub fn unreadable(path: &str, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: Code::Unreadable,
            origin: Origin::File { file: Arc::from(path), line: 1, column: 1, length: 0 },
            path: String::new(),
            found: String::new(),
            what: what.into(),
            help: help.into(),
            other: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.what)?;
        if let Some(other) = &self.other {
            write!(f, " ({other})")?;
        }
        write!(f, "; {}", self.help)
    }
}

/// A checked value and where it was said. Two that say the same are equal, wherever they say it: a comment added
/// to a file changes no mesh.
#[derive(Clone, Debug)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

impl<T: PartialEq> PartialEq for Said<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Said<T> {}
