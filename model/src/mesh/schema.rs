//! The JSON Schema (draft 2020-12) of the mesh file, for editors; made from the table of keys.
//!
//! It says all that the reader says of one value, but for what a schema cannot: how long a time may be, that a plain `80`
//! is a number and `"80"` is text where a key is meant, which keys do not go together, and which patterns can be tried.

use serde_json::{Map, Value, json};

use super::SECTION;
use super::duration;
use super::policy::WORDS;
use super::rates;
use super::table::{Choice, Key, Kind, REQUIRED, Section, Text};
use super::text::{REGEX, VALUE};
use super::value::{NONE, PROTOCOLS};

/// 1 to 65535, decimal.
const PORT: &str = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// One part of the name of a service.
const NAME: &str = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?";
/// Two status codes.
const STATUS_RANGE: &str = r"^[1-5][0-9][0-9]\.\.[1-5][0-9][0-9]$";
/// A length of time: units from large to small, each at most once. It matches nothing at all, too.
const TIME: &str = "([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?";

/// The schema, as one JSON tree.
pub fn schema() -> Value {
    let mut schema = object(&SECTION);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("Outrigger mesh file"));
    Value::Object(schema)
}

fn object(section: &Section) -> Map<String, Value> {
    let properties: Map<String, Value> =
        section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(["object", "null"]));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), Value::Object(properties));
    let required = section.keys.iter().filter(|key| key.default == REQUIRED).map(|key| key.name);
    let required: Vec<&str> = required.collect();
    if !required.is_empty() {
        // Nothing at all says less than has to be said.
        object.insert("type".to_owned(), json!("object"));
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn property(key: &Key) -> Value {
    let mut property = kind(&key.kind);
    property.insert("description".to_owned(), json!(description(key)));
    Value::Object(property)
}

fn kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Choice(choices) => json!({ "enum": words(choices) }),
        Kind::Duration { off: true, .. } => json!({
            "type": ["string", "integer"], "minimum": 0, "maximum": 0, "minLength": 1, "pattern": format!("^(0|{TIME})$"),
        }),
        Kind::Duration { off: false, .. } => {
            json!({ "type": "string", "minLength": 1, "pattern": format!("^{TIME}$") })
        }
        Kind::Ports => {
            let mut protocols: Vec<Value> = words(PROTOCOLS).into_iter().map(Value::from).collect();
            protocols.push(Value::Null);
            json!({ "anyOf": [by_port(&json!({ "enum": protocols })), port_list()] })
        }
        Kind::PortList => json!({ "anyOf": [{ "const": NONE }, port_list()] }),
        Kind::Address => json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }),
        Kind::Upstreams => {
            let upstream = json!({ "type": "string", "pattern": format!("^{NAME}(\\.{NAME})?:{PORT}$") });
            json!({ "anyOf": [by_port(&upstream), { "type": "array", "items": upstream, "uniqueItems": true }] })
        }
        Kind::Name => json!({ "type": "string", "pattern": format!("^{NAME}$") }),
        Kind::Text(text) => of_text(text),
        Kind::Texts(text) => json!({ "anyOf": [of_text(text), { "type": "array", "items": of_text(text) }] }),
        Kind::Matches(name) => json!({
            "type": "object",
            "propertyNames": { "pattern": name.pattern },
            "additionalProperties": { "anyOf": [of_text(&VALUE), {
                "type": "object",
                "properties": { "regex": of_text(&REGEX) },
                "required": ["regex"],
                "additionalProperties": false,
            }] },
        }),
        Kind::Fields(name, value) => json!({
            "type": "object",
            "propertyNames": of_text(name),
            "additionalProperties": of_text(value),
        }),
        Kind::Number { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::True => json!({ "const": true }),
        Kind::Statuses => {
            let code = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
            let range = json!({ "type": "string", "pattern": STATUS_RANGE });
            let one = json!({ "anyOf": [code, range] });
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Kind::TextOr(text, section) => json!({ "anyOf": [of_text(text), object(section)] }),
        Kind::Conditions(choices) => json!({
            "type": "array",
            "items": { "anyOf": [
                { "enum": words(choices) },
                { "const": 429 },
                { "type": "integer", "minimum": 500, "maximum": 599 },
            ] },
        }),
        Kind::Balance(section) => {
            let mut hash = object(section);
            hash.insert("type".to_owned(), json!("object"));
            hash.insert("minProperties".to_owned(), json!(1));
            json!({ "anyOf": [{ "enum": words(WORDS) }, hash] })
        }
        Kind::HashOn(section) => {
            let mut one = object(section);
            one.insert("type".to_owned(), json!("object"));
            one.extend([("minProperties".to_owned(), json!(1)), ("maxProperties".to_owned(), json!(1))]);
            json!({ "anyOf": [{ "const": "source" }, one] })
        }
        Kind::Per(section) => {
            let mut one = object(section);
            one.insert("type".to_owned(), json!("object"));
            one.insert("minProperties".to_owned(), json!(1));
            json!({ "anyOf": [{ "enum": words(rates::WORDS) }, one] })
        }
        Kind::List(section) => json!({ "type": "array", "items": object(section) }),
        Kind::Section(section) => Value::Object(object(section)),
        Kind::Services(section) => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": format!("^{NAME}(\\.{NAME})?$") },
            "additionalProperties": object(section),
        }),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn of_text(text: &Text) -> Value {
    let mut schema = json!({ "type": "string", "pattern": text.pattern });
    if let (Some(schema), false) = (schema.as_object_mut(), text.except.is_empty()) {
        let words: Vec<String> = text.except.iter().map(|word| in_any_case(word)).collect();
        schema.insert("not".to_owned(), json!({ "pattern": format!("^({})$", words.join("|")) }));
    }
    schema
}

fn in_any_case(word: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{c}{}]", c.to_ascii_uppercase()),
        false => c.to_string(),
    };
    word.chars().map(letter).collect()
}

fn by_port(value: &Value) -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": format!("^{PORT}$") }, "additionalProperties": value })
}

fn port_list() -> Value {
    let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
    json!({ "type": "array", "items": port, "uniqueItems": true })
}

fn words(choices: &[Choice]) -> Vec<&'static str> {
    choices.iter().map(|choice| choice.word).collect()
}

/// What an editor shows beside a key.
fn description(key: &Key) -> String {
    let mut text = key.about.to_owned();
    for choice in choices(&key.kind) {
        text += &format!("\n- {}: {}", choice.word, choice.about);
    }
    if let Some(range) = range(&key.kind) {
        text += &format!("\n{range}.");
    }
    text + &format!("\nDefault: {}.", key.default)
}

pub(super) fn choices(kind: &Kind) -> &'static [Choice] {
    match kind {
        Kind::Choice(choices) | Kind::Conditions(choices) => choices,
        Kind::Balance(_) => WORDS,
        Kind::Per(_) => rates::WORDS,
        Kind::Ports => PROTOCOLS,
        _ => &[],
    }
}

pub(super) fn range(kind: &Kind) -> Option<String> {
    if let Kind::Number { least, most } = kind {
        return Some(format!("{least} to {most}"));
    }
    let Kind::Duration { least, most, off } = kind else { return None };
    let range = format!("{} to {}", duration::print(*least), duration::print(*most));
    Some(if *off { range + ", or 0 for none" } else { range })
}
