//! Writes YAML that every reader of compose files takes alike.
//!
//! YAML 1.1 (docker-compose 1.29) reads `yes` as true, `22:22` as 1342 and `1e3` as a number; 1.2 does not. So a text
//! stands bare only where it cannot be anything else, and in quotes everywhere else.

use std::fmt::Write;

use serde_yaml::Value;

/// Words that some reader takes for something else than text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// The value as a document.
pub fn render(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0, Place::Document);
    out
}

/// Where a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line.
    Document,
    /// Behind `key:`.
    Key,
    /// Behind `- `.
    Item,
}

fn node(out: &mut String, value: &Value, indent: usize, place: Place) {
    match value {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (at, (key, value)) in mapping.iter().enumerate() {
                begin(out, indent, place, at == 0);
                scalar(out, key);
                out.push(':');
                node(out, value, indent + 2, Place::Key);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                begin(out, indent, place, at == 0);
                out.push_str("- ");
                node(out, item, indent + 2, Place::Item);
            }
        }
        Value::Tagged(tagged) => {
            let before = if place == Place::Key { " " } else { "" };
            let _infallible = write!(out, "{before}{}", tagged.tag);
            node(out, &tagged.value, indent, Place::Key);
        }
        leaf => {
            if place == Place::Key {
                out.push(' ');
            }
            scalar(out, leaf);
            out.push('\n');
        }
    }
}

/// A line of a mapping or list; the first of an item stands behind its dash.
fn begin(out: &mut String, indent: usize, place: Place, first: bool) {
    match place {
        Place::Key if first => out.push('\n'),
        Place::Item if first => return,
        _ => {}
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(out: &mut String, value: &Value) {
    let _infallible = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(flag) => write!(out, "{flag}"),
        Value::Number(number) => write!(out, "{number}"),
        Value::String(text) if is_bare(text) => write!(out, "{text}"),
        Value::String(text) => {
            quoted(out, text);
            Ok(())
        }
        Value::Sequence(_) => write!(out, "[]"),
        Value::Mapping(_) => write!(out, "{{}}"),
        Value::Tagged(tagged) => write!(out, "{} null", tagged.tag),
    };
}

/// Begins like a word, a path or a variable, and has nothing in it that YAML gives a meaning.
fn is_bare(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '$' | '_'))
        || text.starts_with("./")
        || text.starts_with("../");
    let plain = |c: char| c.is_ascii_alphanumeric() || " /._-+=@$(){},;".contains(c);
    let colons = || !text.contains(": ") && !text.ends_with(':');
    begins
        && !text.ends_with(' ')
        && text.chars().all(|c| plain(c) || c == ':')
        && colons()
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        let _infallible = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            c if c.is_control() && u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
            // Line and paragraph separators, and the byte order mark, are no plain text in YAML 1.1.
            '\u{2028}' | '\u{2029}' | '\u{feff}' => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let awkward = [
            "yes",
            "No",
            "22:22",
            "1e3",
            "0x10",
            "~",
            "",
            " a",
            "a ",
            "a: b",
            "a:",
            "#a",
            "a #b",
            "- a",
            "'",
            "\"",
            "\\",
            "a\nb",
            "\u{2028}",
            "\u{85}",
            "\u{1}",
            "é",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "2026-11-23",
            ".5",
            ".inf",
            "=",
            "<<",
            "null",
            "{a}",
            "[a]",
            "${A:-b}",
            "$$HOME",
            "a,b",
            "./x",
            "../x",
            "..",
            "?",
            "? a",
            "|",
            ">",
            "😀",
            "0o7",
            "1_000",
            "--- a",
            "... a",
            "y",
        ];
        for text in awkward {
            let value = Value::String(text.to_owned());
            let nested: Value = serde_yaml::Mapping::from_iter([(
                value.clone(),
                Value::Sequence(vec![
                    value.clone(),
                    Value::Mapping(serde_yaml::Mapping::from_iter([(value.clone(), value)])),
                ]),
            )])
            .into();
            let written = render(&nested);
            assert_eq!(serde_yaml::from_str::<Value>(&written).unwrap(), nested, "{written}");
        }
    }

    #[test]
    fn a_text_stands_bare_where_every_reader_takes_it_for_text() {
        for text in
            ["cart", "service:cart-holder", "${IMG:-nginx}", "/run/outrigger", "./a b", "NET_ADMIN", "a=b"]
        {
            assert!(is_bare(text), "{text}");
        }
        for text in ["22:22", "on", "1", "-a", "0.5", "{a}", "a: b", "a #b", ".inf", "8080-8082"] {
            assert!(!is_bare(text), "{text}");
        }
    }

    #[test]
    fn the_layout_is_that_of_compose_files() {
        let text = "a:\n  b:\n    - c: 1\n      d:\n        - e\n    - - f\n      - g\n    - {}\n  h: !reset null\n  i: !override\n    - j\n  k: !override\n    l: []\n";
        assert_eq!(render(&serde_yaml::from_str(text).unwrap()), text);
    }
}
