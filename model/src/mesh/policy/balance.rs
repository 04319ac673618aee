//! `balance`, `slow-start` and `zones`.

use std::time::Duration;

use crate::mesh::fault::Code;
use crate::mesh::node::{Node, Value};
use crate::mesh::reader::{Reader, nearest};
use crate::mesh::table::{Choice, Key, Kind, Section, Text};
use crate::mesh::{text, value};
use crate::policy::{Balance, HashOn, Zones};

/// What may stand for a way of balancing.
pub(in crate::mesh) const WORDS: &[Choice] = &[
    Choice {
        word: "least-request",
        about: "the one with the fewest requests in flight, of two drawn by chance",
    },
    Choice {
        word: "peak-ewma",
        about: "the one that answers soonest, by what it took lately, of two drawn by chance",
    },
    Choice { word: "round-robin", about: "one after the other" },
    Choice { word: "random", about: "any" },
];

pub(in crate::mesh) const BALANCE: Key = Key {
    name: "balance",
    kind: Kind::Balance(&BY_HASH),
    label: Some("balance"),
    about: "Which of its ready replicas a request goes to. `{ hash: … }`: requests with the same value go to the same replica \
            as long as it is there.",
    default: "least-request",
    example: "round-robin",
};

pub(in crate::mesh) const SLOW_START: Key = Key {
    name: "slow-start",
    kind: Kind::Duration { least: Duration::from_secs(1), most: Duration::from_secs(3600), off: true },
    label: None,
    about: "In this time the share of a replica that became ready rises from a tenth to the whole; not where balancing is by \
            hash.",
    default: "0: at once",
    example: "30s",
};

pub(in crate::mesh) const ZONES: Key = Key {
    name: "zones",
    kind: Kind::Choice(&[
        Choice {
            word: "prefer",
            about: "replicas in the caller's own zone first, so far that each replica of the service gets what the others \
                    get; not where balancing is by hash",
        },
        Choice { word: "ignore", about: "wherever they are" },
    ]),
    label: None,
    about: "Whether callers prefer replicas in their own availability zone. Zones are known on ECS alone.",
    default: "prefer",
    example: "ignore",
};

/// RFC 9110 section 5.6.2, token; the same for cookies (RFC 6265 section 4.1.1).
const NAME: Text = Text {
    what: "a name",
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    help: "the name of a header or of a cookie, such as x-user",
    regex: false,
    except: &[],
};

const BY_HASH: Section = Section {
    keys: &[Key {
        name: "hash",
        kind: Kind::HashOn(&HASH_ON),
        label: None,
        about: "What keeps requests together: `source` is the calling replica, at an edge the client's address. A request without the value goes where the \
                fewest are in flight; so does a byte stream, unless it is `source`.",
        default: "none",
        example: "{ header: x-user }",
    }],
};

pub(in crate::mesh) const HASH_ON: Section = Section {
    keys: &[
        Key {
            name: "header",
            kind: Kind::Text(&NAME),
            label: None,
            about: "The value of this header.",
            default: "none",
            example: "x-user",
        },
        Key {
            name: "cookie",
            kind: Kind::Text(&NAME),
            label: None,
            about: "The value of this cookie.",
            default: "none",
            example: "session",
        },
    ],
};

/// The word for the calling replica.
const SOURCE: &str = "source";

pub(super) fn read(reader: &mut Reader, node: &Node, _: &Key) -> Option<Balance> {
    match &node.value {
        Value::Mapping(_) => {
            let fields = reader.section(node, &BY_HASH);
            let hash = fields.read(reader, "hash", hash_on);
            if fields.node("hash").is_none() {
                reader.fault(
                    Code::WrongType,
                    node,
                    "there is no hash",
                    "write { hash: { header: x-user } }, say",
                );
            }
            hash.map(|said| Balance::Hash(said.value))
        }
        Value::Scalar { text, .. } => word(reader, node, text),
        Value::Null | Value::List(_) => word(reader, node, ""),
    }
}

pub(super) fn zones(reader: &mut Reader, node: &Node, key: &Key) -> Option<Zones> {
    value::choice(reader, node, key).map(|word| if word == "ignore" { Zones::Ignore } else { Zones::Prefer })
}

fn word(reader: &mut Reader, node: &Node, text: &str) -> Option<Balance> {
    let found = match text {
        "least-request" => Some(Balance::LeastRequest),
        "peak-ewma" => Some(Balance::PeakEwma),
        "round-robin" => Some(Balance::RoundRobin),
        "random" => Some(Balance::Random),
        _ => None,
    };
    if found.is_none() {
        let near = nearest(text, WORDS.iter().map(|choice| choice.word));
        let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
        let help = "write least-request, peak-ewma, round-robin, random, or { hash: { header: x-user } }";
        reader.fault(Code::BadValue, node, format!("{} is no way of balancing", node.found()), near + help);
    }
    found
}

pub(in crate::mesh) fn hash_on(reader: &mut Reader, node: &Node, _: &Key) -> Option<HashOn> {
    if node.text() == Some(SOURCE) {
        return Some(HashOn::Source);
    }
    let before = reader.faults.len();
    let fields = match node.value {
        Value::Mapping(_) => Some(reader.section(node, &HASH_ON)),
        _ => None,
    };
    let header = fields.as_ref().and_then(|fields| fields.read(reader, "header", text::text));
    let cookie = fields.as_ref().and_then(|fields| fields.read(reader, "cookie", text::text));
    match (header, cookie) {
        (Some(header), None) => return Some(HashOn::Header(header.value.to_ascii_lowercase())),
        (None, Some(cookie)) => return Some(HashOn::Cookie(cookie.value)),
        _ => {}
    }
    if reader.faults.len() == before {
        let help = "write { header: x-user }, { cookie: session } or source";
        reader.fault(
            Code::WrongType,
            node,
            format!("{} does not say one thing to go by", node.found()),
            help,
        );
    }
    None
}
