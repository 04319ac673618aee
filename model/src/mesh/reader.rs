//! Reads nodes by the table of keys. Every fault is collected, none ends the reading.

use std::collections::BTreeMap;

use super::fault::{Code, Fault, MAX_FAULTS, Origin, Said, Severity};
use super::node::{Node, Value, shown};
use super::table::{Key, Kind, Section};

/// Names that are longer are too far from any key to be a slip.
const LONGEST_SLIP: usize = 40;

/// Collects faults, and knows under which keys the reading is.
#[derive(Default)]
pub(crate) struct Reader {
    pub faults: Vec<Fault>,
    path: Vec<String>,
}

/// What an author said in one mapping, by key.
pub(crate) struct Fields<'n> {
    section: &'static Section,
    values: BTreeMap<&'static str, &'n Node>,
}

impl Reader {
    /// Reports a node, or what is in it.
    pub fn fault(&mut self, code: Code, node: &Node, what: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Error, code, node, what.into(), help.into(), None);
    }

    /// Reports what stands, but should be looked at.
    pub fn warn(&mut self, node: &Node, what: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Warning, Code::NoEffect, node, what.into(), help.into(), None);
    }

    fn report(
        &mut self,
        severity: Severity,
        code: Code,
        node: &Node,
        what: String,
        help: String,
        other: Option<Origin>,
    ) {
        if self.faults.len() < MAX_FAULTS {
            let path = match node.origin {
                Origin::File { .. } => self.path.join("."),
                Origin::Label { .. } => String::new(),
            };
            let (origin, found) = (node.origin.clone(), node.found());
            self.faults.push(Fault { severity, code, origin, path, found, what, help, other });
        }
    }

    /// Reads with one more key in the path.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let simple = !key.is_empty() && key.len() <= 63 && key.bytes().all(letter);
        self.path.push(if simple { key.to_owned() } else { shown(key) });
        let value = read(self);
        self.path.pop();
        value
    }

    /// The entries of a mapping; nothing at all is a mapping without entries. `like` shows what to write. A key that stands
    /// twice is reported, and given twice: what is wrong below the second is to be told in the same run.
    pub fn mapping<'n>(&mut self, node: &'n Node, like: &str) -> Option<Vec<(&'n str, &'n Node, &'n Node)>> {
        let entries = match &node.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Null => &[],
            Value::Scalar { .. } | Value::List(_) => {
                let what = format!("{} stands where keys with values are wanted", node.found());
                let glued = node.text().is_some_and(|text| text.contains(':') && !text.contains(' '));
                let help =
                    if glued { "write a space after the colon".to_owned() } else { format!("write {like}") };
                self.fault(Code::WrongType, node, what, help);
                return None;
            }
        };
        let mut first: BTreeMap<&str, &Node> = BTreeMap::new();
        let mut all = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.text() else {
                if matches!(key.value, Value::Null) {
                    self.fault(Code::Syntax, key, "there is no key before the colon", "write a name there");
                }
                continue;
            };
            if let Some(before) = first.get(name) {
                let other = Some(before.origin.clone());
                let what = format!("{} stands here a second time", shown(name));
                let help = "keep one of the two".to_owned();
                self.within(name, |r| r.report(Severity::Error, Code::DuplicateKey, key, what, help, other));
            } else {
                first.insert(name, key);
            }
            all.push((name, key, value));
        }
        Some(all)
    }

    /// The known keys of a mapping; the others are faults.
    pub fn section<'n>(&mut self, node: &'n Node, section: &'static Section) -> Fields<'n> {
        let like = section
            .keys
            .first()
            .map_or_else(String::new, |key| format!("{}: {}, say", key.name, key.example));
        let mut values = BTreeMap::new();
        for (name, key, value) in self.mapping(node, &like).unwrap_or_default() {
            match section.key(name) {
                Some(known) => _ = values.entry(known.name).or_insert(value),
                None => self.within(name, |r| {
                    let what = format!("{} is not a key here", shown(name));
                    r.fault(Code::UnknownKey, key, what, unknown(name, section));
                }),
            }
        }
        Fields { section, values }
    }
}

impl<'n> Fields<'n> {
    /// The value of a key, read by what reads its kind. `None`: not said, or a fault.
    pub fn read<T>(
        &self,
        reader: &mut Reader,
        name: &str,
        read: impl FnOnce(&mut Reader, &'n Node, &'static Key) -> Option<T>,
    ) -> Option<Said<T>> {
        let key = self.section.key(name).expect("a section reads keys of its own table");
        let node = *self.values.get(key.name)?;
        let value = reader.within(key.name, |reader| {
            let mapping = matches!(key.kind, Kind::Section(_) | Kind::Services(_) | Kind::TextOr(..));
            if matches!(node.value, Value::Null) && !mapping {
                let help = format!("write {}: {}, say, or remove the key", key.name, key.example);
                reader.fault(Code::WrongType, node, format!("nothing stands after {}:", key.name), help);
                return None;
            }
            read(reader, node, key)
        })?;
        Some(Said { value, origin: node.origin.clone() })
    }

    /// Where a key's value stands, if anything does.
    pub fn node(&self, name: &str) -> Option<&'n Node> {
        self.values.get(name).copied()
    }
}

fn unknown(name: &str, section: &Section) -> String {
    if name == "<<" {
        return "merge keys are not supported: write the keys out, or use an alias (*name) for a whole value"
            .to_owned();
    }
    if name == "trust-domain" {
        return "it cannot change while the mesh runs, and is a setting of the controller: OUTRIGGER_TRUST_DOMAIN".to_owned();
    }
    let names = section.keys.iter().map(|key| key.name);
    // Elsewhere the word means something else.
    let of_service = section.keys.iter().any(|key| key.label.is_some());
    match nearest(name, names.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None if of_service && crate::label::SECTION.key(name).is_some() => {
            format!("it is said of single containers, by the label {}{name}", crate::label::PREFIX)
        }
        None => format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
    }
}

/// The name that was probably meant.
pub(crate) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > LONGEST_SLIP {
        return None;
    }
    let spelled = name.to_ascii_lowercase().replace('_', "-");
    let most = (spelled.len() / 3).clamp(1, 3);
    known
        .map(|known| (distance(known, &spelled), known))
        .min()
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, known)| known)
}

/// How many slips of the keyboard lie between two names: letters more, fewer, other, or two that changed places
/// (Damerau's distance, no part edited twice), over bytes: what users name is ASCII in practice.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let other = cell(&last, j) + usize::from(x != y);
            let mut least = other.min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(cell(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}
