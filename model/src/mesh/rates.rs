//! `rate-limits`: the table of their keys, how they are read, and how they are written.

use std::fmt;
use std::sync::Arc;

use super::fault::Code;
use super::node::{Node, Value};
use super::reader::{Reader, nearest};
use super::routes::{self, MATCH, NAME, entry, listed, mapping, quoted, said};
use super::table::{Choice, Key, Kind, REQUIRED, Section, Text};
use super::text;
use crate::rate::{Per, Rate, RateLimit};

/// Most limits of one service.
const MOST: usize = 64;

const RATE: Text = Text {
    what: "a rate",
    pattern: "^([1-9][0-9]{0,5}|1000000)/(s|min|h)$",
    help: "requests and their time, from 1/h to 1000000/s, such as 100/s, 600/min or 5000/h",
    regex: false,
    except: &[],
};

pub(crate) const RATE_LIMITS: Key = Key {
    name: "rate-limits",
    kind: Kind::List(&RATE_LIMIT),
    label: Some("rate-limit"),
    about: "How many requests the application of each replica gets in a time, whoever calls; a request passes all that take it. \
            The replica's own sidecar counts, and answers what is over a limit with 429. Byte streams are not counted.",
    default: "none",
    example: "[ { limit: 100/s } ]",
};

/// The keys of a limit. The first is what a label says.
const RATE_LIMIT: Section = Section {
    keys: &[
        Key {
            name: "limit",
            kind: Kind::Text(&RATE),
            label: None,
            about: "How many requests in the long run: in a second (`100/s`), a minute (`600/min`) or an hour (`5000/h`).",
            default: REQUIRED,
            example: "100/s",
        },
        Key {
            name: "burst",
            kind: Kind::Number { least: 1, most: 1_000_000 },
            label: None,
            about: "How many at once, after a rest. They come back one by one, as `limit` says.",
            default: "as many as one second brings, at least 1",
            example: "50",
        },
        Key {
            name: "per",
            kind: Kind::Per(&PER),
            label: None,
            about: "What has a limit of its own. The 10,000 that called the most are remembered; requests without the header \
                    are counted together, and so are callers from outside the mesh under `caller`.",
            default: "all requests are counted together",
            example: "caller",
        },
        Key {
            name: "matches",
            kind: Kind::List(&MATCH),
            label: None,
            about: "It counts the requests that one of these takes, in the words of a route's `matches`.",
            default: "it counts every request",
            example: "[ { method: POST } ]",
        },
        Key {
            name: "name",
            kind: Kind::Text(&NAME),
            label: None,
            about: "What answers and metrics call it.",
            default: "its number in the list, from 1",
            example: "writes",
        },
    ],
};

/// What may stand for `per`.
pub(super) const WORDS: &[Choice] = &[
    Choice { word: "caller", about: "each calling service, by its proven identity" },
    Choice { word: "source", about: "each address that calls" },
];

const PER: Section = Section {
    keys: &[Key {
        name: "header",
        kind: Kind::Text(&routes::HEADER),
        label: None,
        about: "Each value of this header.",
        default: "none",
        example: "x-user",
    }],
};

/// A list of limits.
pub(crate) fn rate_limits(reader: &mut Reader, node: &Node, key: &Key) -> Option<Arc<[RateLimit]>> {
    let limits = routes::list(reader, node, key.example, one)?;
    if limits.len() > MOST {
        let what = format!("there are {} of them", limits.len());
        reader.fault(Code::TooLarge, node, what, format!("write at most {MOST}"));
        return None;
    }
    let limits: Option<Vec<RateLimit>> = limits.into_iter().collect();
    let limits = limits?;
    for (n, limit) in limits.iter().enumerate() {
        let same = |other: &&RateLimit| other.name.is_some() && other.name == limit.name;
        if let Some(name) = limits.iter().take(n).find(same).and_then(|other| other.name.as_ref()) {
            let what = format!("two limits are called {name}");
            reader.fault(Code::Conflict, node, what, "give one of them another name");
        }
    }
    Some(limits.into())
}

fn one(reader: &mut Reader, node: &Node) -> Option<RateLimit> {
    let fields = reader.section(node, &RATE_LIMIT);
    let rate = said(fields.read(reader, "limit", rate));
    if fields.node("limit").is_none() {
        reader.fault(Code::WrongType, node, "there is no limit", "write limit: 100/s, say");
    }
    let (name, burst) = (fields.read(reader, "name", text::text), fields.read(reader, "burst", text::number));
    let per = said(fields.read(reader, "per", per));
    let matches = routes::read_list(reader, &fields, "matches", routes::one_match);
    Some(RateLimit { name: said(name), matches, per, rate: rate?, burst: said(burst) })
}

fn rate(reader: &mut Reader, node: &Node, key: &Key) -> Option<Rate> {
    match &node.value {
        Value::Scalar { text, plain: true } if text.parse::<u32>().is_ok() => {
            let help = format!("write the time too: {text}/s, {text}/min or {text}/h");
            reader.fault(Code::WrongType, node, format!("{text} is no rate"), help);
            None
        }
        _ => text::text(reader, node, key).and_then(|text| Rate::parse(&text)),
    }
}

fn per(reader: &mut Reader, node: &Node, _: &Key) -> Option<Per> {
    match (&node.value, node.text()) {
        (Value::Mapping(_), _) => {
            let fields = reader.section(node, &PER);
            let header = fields.read(reader, "header", text::text);
            if fields.node("header").is_none() {
                reader.fault(Code::WrongType, node, "there is no header", "write { header: x-user }, say");
            }
            header.map(|said| Per::Header(said.value.to_ascii_lowercase()))
        }
        (_, Some("caller")) => Some(Per::Caller),
        (_, Some("source")) => Some(Per::Source),
        (_, text) => {
            let near = text.and_then(|text| nearest(text, WORDS.iter().map(|choice| choice.word)));
            let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
            let what = format!("{} is nothing to count by", node.found());
            reader.fault(Code::BadValue, node, what, near + "write caller, source or { header: x-user }");
            None
        }
    }
}

/// The key and its list.
pub(super) fn print(f: &mut fmt::Formatter<'_>, limits: &[RateLimit]) -> fmt::Result {
    if limits.is_empty() {
        return writeln!(f, "    rate-limits: []");
    }
    writeln!(f, "    rate-limits:")?;
    limits.iter().try_for_each(|limit| {
        let per = limit.per.as_ref().map(|per| match per {
            Per::Caller => "caller".to_owned(),
            Per::Source => "source".to_owned(),
            Per::Header(name) => mapping([Some(entry("header", &quoted(name)))]),
        });
        let limit = mapping([
            limit.name.as_ref().map(|name| entry("name", &quoted(name))),
            listed("matches", &limit.matches, routes::print_match),
            per.map(|per| entry("per", &per)),
            Some(entry("limit", &limit.rate.to_string())),
            limit.burst.map(|burst| entry("burst", &burst.to_string())),
        ]);
        writeln!(f, "      - {limit}")
    })
}
