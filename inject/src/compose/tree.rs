//! Reading compose's values, which have a short and a long form nearly everywhere.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

/// A scalar as text: compose takes `"3"` for 3 and the other way round. None for null, lists and mappings.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// The field as text, unless it is absent, null or empty.
pub fn field(service: &Mapping, key: &str) -> Option<String> {
    service.get(key).and_then(text).filter(|text| !text.is_empty())
}

/// True if compose has not put the variables in, so that the value is not known.
pub fn is_open(text: &str) -> bool {
    text.replace("$$", "").contains('$')
}

/// The elements of a list; a single scalar is a list of one (`dns: 1.1.1.1`).
pub fn items(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Sequence(items)) => items.iter().collect(),
        Some(other) => vec![other],
    }
}

/// `KEY=value` list, or mapping: labels, environment, sysctls. A key without value is left out.
pub fn pairs(value: Option<&Value>) -> BTreeMap<String, String> {
    match value {
        Some(Value::Mapping(mapping)) => {
            mapping.iter().filter_map(|(key, value)| Some((text(key)?, text(value)?))).collect()
        }
        Some(Value::Sequence(items)) => items
            .iter()
            .filter_map(text)
            .map(|item| match item.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (item, String::new()),
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// Names in a list, or keys of a mapping: depends_on, networks.
pub fn names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Mapping(mapping)) => mapping.keys().filter_map(text).collect(),
        other => items(other).into_iter().filter_map(text).collect(),
    }
}

/// The named fields of a list of names, or of a mapping, as one mapping.
pub fn mapping(value: Option<&Value>, of_a_name: &Value) -> Mapping {
    match value {
        Some(Value::Mapping(mapping)) => mapping.clone(),
        other => names(other).into_iter().map(|name| (Value::String(name), of_a_name.clone())).collect(),
    }
}

/// Splits at `:` outside of `${…}`.
pub fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// `[key: value, …]`.
pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Mapping(pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}

/// A list of texts.
pub fn list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Sequence(items.into_iter().map(|item| Value::String(item.into())).collect())
}
