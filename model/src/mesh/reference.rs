//! The reference of all keys and labels in docs/mesh-file.md, made from the table.

use std::collections::BTreeSet;

use super::SECTION;
use super::schema::{choices, range};
use super::table::{Key, Kind, Section};
use crate::label;

/// Markdown: one section for each mapping of the file, and the labels.
pub fn reference() -> String {
    let mut text = String::new();
    section(&mut text, "the file", &SECTION, &mut BTreeSet::new());
    text += "### Labels\n\nThe label of a key above has the same meaning; its text is written shorter.\n\n";
    text += "| label | what it says | default |\n|---|---|---|\n";
    for key in label::SECTION.keys {
        let words = choices(&key.kind).iter().map(|choice| format!(" `{}`: {}.", choice.word, choice.about));
        let about = key.about.to_owned() + &words.collect::<String>();
        text += &format!("| `{}{}` | {about} | {} |\n", label::PREFIX, key.name, key.default);
    }
    for key in super::SERVICE.keys {
        if let (Some(label), Some(like)) = (key.label, label_example(&key.kind)) {
            text += &format!(
                "| `{}{label}` | `{}` of its service: {like} | {} |\n",
                label::PREFIX,
                key.name,
                key.default
            );
        }
    }
    text
}

/// `told`: keys whose mapping stands elsewhere already; one name means the same everywhere but for the sections of routes.
fn section(
    text: &mut String,
    name: &str,
    section_: &'static Section,
    told: &mut BTreeSet<(&'static str, &'static str)>,
) {
    *text += &format!("### Keys of {name}\n\n");
    for key in section_.keys {
        entry(text, key);
    }
    for key in section_.keys {
        let (name, inner) = match key.kind {
            Kind::Section(inner)
            | Kind::TextOr(_, inner)
            | Kind::Balance(inner)
            | Kind::HashOn(inner)
            | Kind::Per(inner) => (format!("`{}`", key.name), inner),
            Kind::Services(inner) => ("a service".to_owned(), inner),
            Kind::List(inner) => (format!("each of `{}`", key.name), inner),
            _ => continue,
        };
        if told.insert((key.name, key.about)) {
            section(text, &name, inner, told);
        }
    }
}

fn entry(text: &mut String, key: &Key) {
    *text += &format!("**`{}`**: {}\n\n", key.name, key.about);
    for choice in choices(&key.kind) {
        *text += &format!("- `{}`: {}\n", choice.word, choice.about);
    }
    if !choices(&key.kind).is_empty() {
        *text += "\n";
    }
    if let Some(range) = range(&key.kind) {
        *text += &format!("Range: {range}. ");
    }
    *text += &format!("Default: {}. Example: `{}: {}`\n\n", key.default, key.name, key.example);
}

/// How the text of a label is written, where it differs from the file's.
fn label_example(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Choice(_) => Some("the same words"),
        Kind::Ports => Some("`8080/http,6379/tcp`"),
        Kind::PortList => Some("`80,443`, or `none`"),
        Kind::Address => Some("an IP address"),
        Kind::Upstreams => {
            Some("`cart:8080=9001,redis:6379`: a service and its port, and the local port where that differs")
        }
        Kind::Duration { .. } => Some("as in the file"),
        Kind::Section(section) if section.is_of_ports() => {
            Some("`443`, its first key, or key by key: `in=443; from=10.0.0.0/8,10.9.0.1; out=5432`")
        }
        Kind::Section(section) => match section.keys.first().map(|key| &key.kind) {
            Some(Kind::TextOr(..)) => Some("the short form of its check, as `http:/healthz`"),
            _ => Some("its first key, as `2`"),
        },
        Kind::List(_) => Some("the first key of each, as `100/s,1000/min`"),
        Kind::Balance(_) => Some("one of its words"),
        Kind::Name | Kind::Services(_) => None,
        Kind::TextOr(..) => Some("the short form"),
        Kind::Conditions(_)
        | Kind::True
        | Kind::Statuses
        | Kind::HashOn(_)
        | Kind::Per(_)
        | Kind::Text(_)
        | Kind::Texts(_)
        | Kind::Matches(_)
        | Kind::Fields(..)
        | Kind::Number { .. } => None,
    }
}
