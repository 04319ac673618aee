//! The commented file of all defaults, `templates/settings.yaml`, held against the code by the tests of each
//! process.

use figment::value::Value;
use serde::Serialize;

use crate::keys::Section;
use crate::said::{flat, section as read_section};

/// In what a section of a settings file differs from the code: a missing or unknown key, another value than the
/// default, a key whose comment does not name its variable. Empty when it is whole.
pub fn differences(text: &str, section: &Section, defaults: &impl Serialize) -> Vec<String> {
    let (mut texts, mut found) = read_section("settings.yaml", text, section);
    let fields: Vec<String> =
        Value::serialize(defaults).ok().and_then(Value::into_dict).unwrap_or_default().into_keys().collect();
    let mut defaults = flat(defaults);
    let lines = lines_of(text, section);
    for key in section.keys {
        let (file, code) = (texts.remove(key.name), defaults.remove(key.name));
        if file != code {
            found.push(format!("{}.{}: the file has {file:?}, the code {code:?}", section.name, key.name));
        }
        match lines.iter().position(|line| line.trim_start().starts_with(&format!("{}:", key.name))) {
            None => found.push(format!("{}.{}: not in the file", section.name, key.name)),
            Some(at) => {
                let before = lines.get(..at).unwrap_or_default().iter().rev();
                let comment: Vec<_> = before.take_while(|line| line.trim_start().starts_with('#')).collect();
                if !comment.iter().any(|line| line.contains(key.variable)) {
                    found.push(format!(
                        "{}.{}: its comment does not name {}",
                        section.name, key.name, key.variable
                    ));
                }
            }
        }
    }
    let unlisted = fields.iter().filter(|field| !section.keys.iter().any(|key| key.name == *field));
    found.extend(
        unlisted.map(|field| format!("{}.{field}: a setting that the list of keys lacks", section.name)),
    );
    found
}

/// The lines below a section's name.
fn lines_of<'a>(text: &'a str, section: &Section) -> Vec<&'a str> {
    let begin = format!("{}:", section.name);
    let inside = text.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
    inside.take_while(|line| line.is_empty() || line.starts_with(' ')).collect()
}
