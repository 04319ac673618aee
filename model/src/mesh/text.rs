//! Text of one form, and what is matched against text.

use std::collections::BTreeMap;

use regex_lite::{Regex, RegexBuilder};

use super::fault::Code;
use super::node::{Node, Value, shown};
use super::reader::Reader;
use super::table::{Key, Kind, Section, Text};
use crate::route::{TextMatch, whole};

/// Most memory that a pattern may take once it can be tried, bytes.
const LARGEST_PATTERN: usize = 256 * 1024;

/// A pattern.
pub(crate) const REGEX: Text = Text {
    what: "a pattern",
    pattern: "^.{1,512}$",
    help: "a regular expression of 1 to 512 characters, such as \"/items/[0-9]+\"",
    regex: true,
    except: &[],
};

/// What a field or a parameter is compared with.
pub(crate) const VALUE: Text = Text {
    what: "a value",
    pattern: r"^[^\x00-\x1f\x7f]{0,1024}$",
    help: "up to 1,024 characters on one line, or { regex: … }",
    regex: false,
    except: &[],
};

/// `{ regex: … }` where a value may stand.
const REGEX_SECTION: Section = Section {
    keys: &[Key {
        name: "regex",
        kind: Kind::Text(&REGEX),
        label: None,
        about: "All of the value fits this pattern.",
        default: "none",
        example: "\"v[12]\"",
    }],
};

/// Text of the form that the key asks for.
pub(crate) fn text(reader: &mut Reader, node: &Node, key: &Key) -> Option<String> {
    let Kind::Text(form) = key.kind else { return None };
    formed(reader, node, form)
}

/// One text, or several.
pub(crate) fn texts(reader: &mut Reader, node: &Node, key: &Key) -> Option<Vec<String>> {
    let Kind::Texts(form) = key.kind else { return None };
    let Value::List(items) = &node.value else { return Some(vec![formed(reader, node, form)?]) };
    let items = items.iter().enumerate();
    items.map(|(n, item)| reader.within(&n.to_string(), |reader| formed(reader, item, form))).collect()
}

/// A number in the key's range.
pub(crate) fn number(reader: &mut Reader, node: &Node, key: &Key) -> Option<u32> {
    let Kind::Number { least, most } = key.kind else { return None };
    let help = format!("write a number from {least} to {most}, such as {}", key.example);
    let digits = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    match &node.value {
        Value::Scalar { text, plain: true } if digits(text) => {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            if number.is_none() {
                reader.fault(Code::OutOfRange, node, format!("{text} is too small or too large"), help);
            }
            number
        }
        _ => {
            let what = format!("{} stands where a number is wanted", node.found());
            reader.fault(Code::WrongType, node, what, help);
            None
        }
    }
}

/// `{ name: value, name: { regex: … } }`.
pub(crate) fn matches(reader: &mut Reader, node: &Node, key: &Key) -> Option<BTreeMap<String, TextMatch>> {
    let Kind::Matches(names) = key.kind else { return None };
    let before = reader.faults.len();
    let mut matches = BTreeMap::new();
    for (name, at, value) in reader.mapping(node, key.example)? {
        reader.within(name, |reader| {
            let name = formed(reader, at, names);
            let value = match value.value {
                Value::Mapping(_) => {
                    let fields = reader.section(value, &REGEX_SECTION);
                    let regex = fields.read(reader, "regex", text);
                    if regex.is_none() && fields.node("regex").is_none() {
                        reader.fault(
                            Code::WrongType,
                            value,
                            "there is no pattern",
                            "write { regex: \"v[12]\" }",
                        );
                    }
                    regex.map(|said| TextMatch::Regex(said.value))
                }
                _ => formed(reader, value, &VALUE).map(TextMatch::Exact),
            };
            matches.extend(name.zip(value));
        });
    }
    (reader.faults.len() == before).then_some(matches)
}

/// `{ name: value }`.
pub(crate) fn fields(reader: &mut Reader, node: &Node, key: &Key) -> Option<BTreeMap<String, String>> {
    let Kind::Fields(names, values) = key.kind else { return None };
    let before = reader.faults.len();
    let mut fields = BTreeMap::new();
    for (name, at, value) in reader.mapping(node, key.example)? {
        reader.within(name, |reader| {
            let name = formed(reader, at, names);
            fields.extend(name.zip(formed(reader, value, values)));
        });
    }
    (reader.faults.len() == before).then_some(fields)
}

/// Text of that form.
pub(crate) fn formed(reader: &mut Reader, node: &Node, form: &Text) -> Option<String> {
    let help = format!("write {}", form.help);
    let text = match &node.value {
        Value::Scalar { text, plain } if !(*plain && is_typed(text)) => text,
        Value::Scalar { text, .. } => {
            let what = format!("{text} without quotes is no text in YAML");
            reader.fault(Code::WrongType, node, what, format!("write \"{text}\", in quotes"));
            return None;
        }
        Value::Null | Value::List(_) | Value::Mapping(_) => {
            let what = format!("{} stands where {} is wanted", node.found(), form.what);
            reader.fault(Code::WrongType, node, what, help);
            return None;
        }
    };
    let fits = Regex::new(form.pattern).is_ok_and(|pattern| pattern.is_match(text));
    if !fits {
        reader.fault(Code::BadValue, node, format!("{} is not {}", shown(text), form.what), help);
        return None;
    }
    if form.except.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        reader.fault(Code::BadValue, node, format!("{} may not be written here", shown(text)), help);
        return None;
    }
    if let Some(error) = form.regex.then(|| untriable(text)).flatten() {
        let help =
            "write it as Rust's regex-lite understands it: no look-around, no back-references, ASCII classes";
        reader.fault(Code::BadPattern, node, format!("{} cannot be tried: {error}", shown(text)), help);
        return None;
    }
    Some(text.clone())
}

/// Why a pattern cannot be tried: alone, and as it is tried.
fn untriable(pattern: &str) -> Option<String> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
    let error = build(pattern).and_then(|_| build(&whole(pattern))).err()?;
    Some(error.to_string())
}

/// Whether YAML reads a plain word as a number, a truth value or nothing.
fn is_typed(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (text.parse::<f64>().is_ok()
            || ["0x", "0o", "0b"].iter().any(|base| {
                unsigned.strip_prefix(base).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            }));
    let words = ["true", "false", "null", "~", ".inf", ".nan"];
    number || words.iter().any(|word| unsigned.eq_ignore_ascii_case(word))
}
