//! The table of keys: the one place that says which keys there are. Reading, hints for unknown keys, the JSON Schema
//! and the reference in docs/mesh-file.md come from it.

use std::time::Duration;

/// The default of a key that has none: whoever writes the mapping has to say it.
pub const REQUIRED: &str = "must be said";

/// The keys of one mapping.
#[derive(Debug)]
pub struct Section {
    /// In the order in which they are explained.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// The label of the same meaning, where there is one (`outrigger.port`).
    pub label: Option<&'static str>,
    /// What it does, in sentences.
    pub about: &'static str,
    /// What holds where nothing is said.
    pub default: &'static str,
    /// A value that is not the default, as written in the file.
    pub example: &'static str,
}

/// What may stand at a key.
#[derive(Debug)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [Choice]),
    /// A length of time (`15s`, `250ms`, `1m30s`).
    Duration {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
        /// `0` switches it off.
        off: bool,
    },
    /// Ports, each with a protocol or not.
    Ports,
    /// A list of ports, or `none`.
    PortList,
    /// An IP address.
    Address,
    /// Services and ports that an application calls on 127.0.0.1.
    Upstreams,
    /// A name (only in labels).
    Name,
    /// Text of one form.
    Text(&'static Text),
    /// One text of that form, or a list of them.
    Texts(&'static Text),
    /// A mapping from names of that form to a value, or to `{ regex: … }`.
    Matches(&'static Text),
    /// A mapping from names of the first form to values of the second.
    Fields(&'static Text, &'static Text),
    /// A number without a point.
    Number {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// The word `true`, which needs no other.
    True,
    /// Status codes from 100 to 599 and ranges of them (`200..299`): one, or a list.
    Statuses,
    /// Text of that form for short, or a mapping of these keys.
    TextOr(&'static Text, &'static Section),
    /// A list of these words and of status codes: 429, and 500 to 599.
    Conditions(&'static [Choice]),
    /// A way of balancing: a word, or a mapping of these keys.
    Balance(&'static Section),
    /// The word `source`, or exactly one of these keys.
    HashOn(&'static Section),
    /// What is counted apart: a word, or exactly one of these keys.
    Per(&'static Section),
    /// A list of mappings of these keys.
    List(&'static Section),
    /// A mapping of these keys.
    Section(&'static Section),
    /// One mapping of these keys for each service.
    Services(&'static Section),
}

/// A form of text.
#[derive(Debug)]
pub struct Text {
    /// What it is, with its article.
    pub what: &'static str,
    /// What all of it fits, from `^` to `$`: for the reader and for the JSON Schema.
    pub pattern: &'static str,
    /// What may be written, after "write".
    pub help: &'static str,
    /// It is a pattern itself, and must be one that can be tried.
    pub regex: bool,
    /// What it may not be, in whichever case.
    pub except: &'static [&'static str],
}

/// One word of a choice.
#[derive(Debug)]
pub struct Choice {
    /// The word.
    pub word: &'static str,
    /// What it means.
    pub about: &'static str,
}

impl Section {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Its first key is a list of ports: a label writes it as `80,443`, or key by key.
    pub(crate) fn is_of_ports(&self) -> bool {
        matches!(self.keys, [Key { kind: Kind::PortList, .. }, ..])
    }
}
