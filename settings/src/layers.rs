//! The layers, one over the other.

use std::collections::BTreeMap;
use std::fmt::Write;

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::{Origin, Refused, value_fault};
use crate::keys::{Key, Section, near_variable};
use crate::said::{Said, scalar, section as read_section};

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Layered<T> {
    /// The settings.
    pub settings: T,
    /// What is odd and harms nothing: to be logged once there is a log.
    pub warnings: Vec<String>,
    section: &'static Section,
    effective: Vec<(&'static Key, String, Origin)>,
}

impl<T> Layered<T> {
    /// All settings as a section of the file, each with where it came from.
    pub fn print(&self) -> String {
        let mut text = format!("{}:\n", self.section.name);
        for (key, value, origin) in &self.effective {
            let line = format!("  {}: {value}", key.name);
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{line:<50} # {}", origin.describe(key));
        }
        text
    }
}

/// One setting of one layer.
struct Setting<'a> {
    key: &'a Key,
    value: Value,
    from: String,
}

impl Provider for Setting<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.from.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect([(self.key.name.to_owned(), self.value.clone())].into()))
    }
}

/// Layers `T::default()`, the section of the file, the environment and the flags. `check` names the keys
/// whose values are of their type and still cannot be.
///
/// # Errors
/// Every fault: an unknown key or section, a value that cannot be, a file that was named and cannot be read.
pub fn layer<T>(
    section: &'static Section,
    said: &Said,
    check: fn(&T) -> Vec<&'static str>,
) -> Result<Layered<T>, Refused>
where
    T: Default + Serialize + DeserializeOwned,
{
    let (written, mut faults) = written(section, said);
    let mut warnings = Vec::new();
    for name in said.unknown_variables() {
        let near = near_variable(&name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let told = format!("environment: {name}: unknown variable{near}");
        if section.strict { faults.push(told) } else { warnings.push(told) }
    }
    let defaults = Figment::from(Serialized::defaults(T::default()));
    let mut figment = defaults.clone();
    let mut origins: BTreeMap<&str, (Origin, String)> = BTreeMap::new();
    for (key, text, origin) in written {
        let value = if key.number {
            text.trim().parse::<u64>().ok().map(Value::from)
        } else {
            Some(Value::from(text.as_str()))
        };
        let Some(value) = value else {
            faults.push(value_fault(&origin, section, key, &text));
            continue;
        };
        figment = figment.merge(Setting { key, value, from: origin.describe(key) });
        origins.insert(key.name, (origin, text));
    }
    let fault_of = |name: &str| {
        let key = section.keys.iter().find(|key| key.name == name)?;
        let (origin, text) = origins.get(name)?;
        Some(value_fault(origin, section, key, text))
    };
    // Deserializing stops at the first fault: its key takes its default, and the next one is found.
    let settings = loop {
        match figment.extract::<T>() {
            Ok(settings) => break settings,
            Err(error) => {
                let name = error.path.first().cloned().unwrap_or_default();
                let key = section.keys.iter().find(|key| key.name == name);
                let default = defaults.find_value(&name);
                match (fault_of(&name), key, default) {
                    (Some(fault), Some(key), Ok(value)) if !faults.contains(&fault) => {
                        faults.push(fault);
                        figment = figment.merge(Setting { key, value, from: "default".into() });
                    }
                    _ => return Err(Refused([faults, vec![error.to_string()]].concat())),
                }
            }
        }
    };
    for name in check(&settings) {
        faults.push(fault_of(name).unwrap_or_else(|| missing(section, name)));
    }
    if !faults.is_empty() {
        return Err(Refused([faults, warnings].concat()));
    }
    let effective = section.keys.iter().map(|key| {
        let origin = origins.get(key.name).map_or(Origin::Default, |(origin, _)| origin.clone());
        let value = figment.find_value(key.name).ok().and_then(|value| scalar(&value));
        (key, value.map_or("null".into(), |value| if key.number { value } else { quoted(&value) }), origin)
    });
    Ok(Layered { settings, warnings, section, effective: effective.collect() })
}

type Written = Vec<(&'static Key, String, Origin)>;

/// What the user wrote, the lowest layer first.
fn written(section: &'static Section, said: &Said) -> (Written, Vec<String>) {
    let (mut written, mut faults) = (Vec::new(), Vec::new());
    match said.read() {
        Ok(None) => {}
        Ok(Some((name, text))) => {
            let (mut texts, wrong) = read_section(&name, &text, section);
            faults.extend(wrong);
            let keys = section.keys.iter().filter_map(|key| Some((key, texts.remove(key.name)?)));
            written.extend(keys.map(|(key, text)| (key, text, Origin::File(name.clone()))));
        }
        Err(fault) => faults.push(fault),
    }
    for key in section.keys {
        match said.variable(key.variable).map(|value| value.to_str()) {
            None => {}
            Some(Some(text)) => written.push((key, text.to_owned(), Origin::Environment)),
            Some(None) => {
                faults.push(format!("environment: {}: not UTF-8: write {}", key.variable, key.write))
            }
        }
    }
    let flags = section.keys.iter().filter_map(|key| Some((key, said.flags.get(key.name)?)));
    written.extend(flags.map(|(key, text)| (key, text.clone(), Origin::Flag)));
    (written, faults)
}

/// A key whose default cannot be, with what is set elsewhere.
fn missing(section: &Section, name: &str) -> String {
    let key = section.keys.iter().find(|key| key.name == name);
    let write = key.map(|key| format!(" ({}): write {}", key.variable, key.write)).unwrap_or_default();
    format!("{}.{name} must be set here{write}", section.name)
}

/// A value as YAML.
fn quoted(value: &str) -> String {
    serde_yaml::to_string(value).map_or_else(|_| value.to_owned(), |text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests;
