//! What a user said, as texts by key: the file's section, the variables, the flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use figment::value::Value;
use serde::Serialize;
use serde_yaml::Value as Yaml;

use crate::keys::{self, SECTIONS, Section, near};

/// The file that is read when none is named; it need not be there.
pub const DEFAULT_FILE: &str = "/etc/outrigger/settings.yaml";
/// Bytes of a settings file.
const LONGEST: u64 = 1 << 20;

/// What was said outside the file.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The file named by `--settings`.
    pub file: Option<PathBuf>,
    /// The environment; what is not ours does not matter.
    pub variables: BTreeMap<OsString, OsString>,
    /// Flags by key.
    pub flags: BTreeMap<String, String>,
}

impl Said {
    /// The environment of this process, and its flags: a struct with a field for each flag, `None` where it
    /// was not given.
    pub fn new(file: Option<PathBuf>, flags: &impl Serialize) -> Self {
        Self { file, variables: std::env::vars_os().collect(), flags: flat(flags) }
    }

    /// An empty variable is none: compose writes `NAME: ${NAME:-}`.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(OsString::from(name).as_os_str()).filter(|value| !value.is_empty())
    }

    /// Names of variables of our prefix that nobody reads.
    pub(crate) fn unknown_variables(&self) -> impl Iterator<Item = String> {
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        let ours = set.map(|(name, _)| name.to_string_lossy().into_owned());
        ours.filter(|name| name.starts_with(keys::PREFIX) && !keys::known_variable(name))
    }

    /// The file's path, and whether it was asked for.
    fn path(&self) -> (PathBuf, bool) {
        let named = self.file.clone().or_else(|| self.variable(keys::FILE).map(PathBuf::from));
        named.map_or((PathBuf::from(DEFAULT_FILE), false), |path| (path, true))
    }

    /// Name and text of the file; none if it is not there and was not asked for.
    pub(crate) fn read(&self) -> Result<Option<(String, String)>, String> {
        let (path, asked) = self.path();
        let name = path.display().to_string();
        match text(&path) {
            Ok(text) => Ok(Some((name, text))),
            Err(error) if !asked && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::IsADirectory => Err(format!(
                "{name}: a folder, not a settings file: Docker makes one where a mounted file is missing"
            )),
            Err(error) => Err(format!(
                "{name}: cannot be read ({error}): correct {} or --settings, or leave them out",
                keys::FILE
            )),
        }
    }
}

fn text(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > LONGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is over 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// Settings as a flat list of texts; what is none is left out.
pub(crate) fn flat(settings: &impl Serialize) -> BTreeMap<String, String> {
    let value = Value::serialize(settings).ok().and_then(Value::into_dict).unwrap_or_default();
    value.into_iter().filter_map(|(key, value)| Some((key, scalar(&value)?))).collect()
}

/// The text of a value that is neither a list nor a mapping, nor none.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, letter) => Some(letter.to_string()),
        Value::Bool(_, value) => Some(value.to_string()),
        Value::Num(_, number) => Some(match (number.to_u128(), number.to_i128(), number.to_f64()) {
            (Some(number), _, _) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            (_, _, Some(number)) => number.to_string(),
            _ => return None,
        }),
        _ => None,
    }
}

/// One section of a file as texts by key, with what is wrong. `name` is the file's.
pub(crate) fn section(name: &str, text: &str, section: &Section) -> (BTreeMap<String, String>, Vec<String>) {
    let mut faults = Vec::new();
    let whole = match serde_yaml::from_str::<Yaml>(text) {
        Ok(Yaml::Null) => return (BTreeMap::new(), faults),
        Ok(Yaml::Mapping(whole)) => whole,
        Ok(_) => {
            return (
                BTreeMap::new(),
                vec![format!("{name}: no mapping: write sections, such as {}:", section.name)],
            );
        }
        Err(error) => return (BTreeMap::new(), vec![format!("{name}: not YAML: {error}")]),
    };
    let mut texts = BTreeMap::new();
    for (key, value) in &whole {
        let key = plain(key).unwrap_or_default();
        if key == section.name {
            texts = settings(name, value, section, &mut faults);
        } else if !SECTIONS.iter().any(|section| section.name == key) {
            let known = || SECTIONS.iter().map(|section| section.name);
            faults.push(format!("{name}: {key}: unknown section; {}", instead(&key, known)));
        }
    }
    (texts, faults)
}

fn settings(
    name: &str,
    value: &Yaml,
    section: &Section,
    faults: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let entries = match value {
        Yaml::Null => return texts,
        Yaml::Mapping(entries) => entries,
        _ => {
            faults.push(format!(
                "{name}: {}: no mapping: write keys below it, such as log: info",
                section.name
            ));
            return texts;
        }
    };
    for (key, value) in entries {
        let key = plain(key).unwrap_or_default();
        let Some(known) = section.keys.iter().find(|known| known.name == key) else {
            let known = || section.keys.iter().map(|key| key.name);
            faults.push(format!("{name}: {}.{key}: unknown key; {}", section.name, instead(&key, known)));
            continue;
        };
        match (value, plain(value)) {
            (Yaml::Null, _) => {}
            (_, Some(text)) => {
                texts.insert(key, text);
            }
            (_, None) => {
                faults.push(format!(
                    "{name}: {}.{key}: a list or a mapping: write {}",
                    section.name, known.write
                ));
            }
        }
    }
    texts
}

fn plain(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// What could be written instead of an unknown word.
fn instead<I: Iterator<Item = &'static str>>(found: &str, known: impl Fn() -> I) -> String {
    match near(found, known()) {
        Some(word) => format!("did you mean {word}?"),
        None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
    }
}
