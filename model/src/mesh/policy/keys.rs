//! The table.

use std::time::Duration;

use super::check_table::CHECK;
use crate::mesh::table::{Choice, Key, Kind, Section, Text};

const PERCENT: Text = Text {
    what: "a percentage",
    pattern: "^(0|[1-9][0-9]?|100)%$",
    help: "a whole number from 0% to 100%",
    regex: false,
    except: &[],
};
const BACKOFF: Text = Text {
    what: "a range of times",
    pattern: r"^[0-9]{1,6}(ms|s)\.\.[0-9]{1,6}(ms|s)$",
    help: "the shortest and the longest pause, such as 25ms..250ms",
    regex: false,
    except: &[],
};
/// RFC 9110 section 9.1: a token; those in use are capitals.
const METHOD: Text = Text {
    what: "a method",
    pattern: "^[A-Z][A-Z-]{0,31}$",
    help: "methods in capitals, such as [ GET, POST ]",
    regex: false,
    except: &[],
};

pub(in crate::mesh) const RETRIES: Key = Key {
    name: "retries",
    kind: Kind::Section(&RETRY_KEYS),
    label: Some("retries"),
    about: "Requests that failed are sent again, to another replica if there is one. Never after a byte of the response went \
            out, nor with a body over 64 KiB. What certainly was not delivered is sent elsewhere in any case.",
    default: "off; written without keys, on with the values below",
    example: "{ attempts: 2, budget: 20% }",
};

pub(in crate::mesh) const HEALTH: Key = Key {
    name: "health",
    kind: Kind::Section(&HEALTH_KEYS),
    label: Some("health"),
    about: "How replicas that cannot serve are noticed.",
    default: "a replica that cannot be reached is avoided for a second while there is another",
    example: "{ check: http:/healthz, outlier: { consecutive-errors: 3 } }",
};

pub(in crate::mesh) const LIMITS: Key = Key {
    name: "limits",
    kind: Kind::Section(&LIMIT_KEYS),
    label: None,
    about: "How much may be under way to it at once: of one caller, and under `replica` to the application of one replica. What \
            is over a limit is answered with 503 (`outrigger-error: overloaded`) at once, or reset if it is a byte stream.",
    default: "none",
    example: "{ requests: 200 }",
};

const HEALTH_KEYS: Section = Section {
    keys: &[
        CHECK,
        Key {
            name: "outlier",
            kind: Kind::Section(&OUTLIER_KEYS),
            label: None,
            about: "A replica that fails several times in a row takes no requests for a while; each caller judges by what it saw.",
            default: "off; written without keys, on with the values below",
            example: "{ consecutive-errors: 5, eject: 30s, most: 50% }",
        },
    ],
};

const OUTLIER_KEYS: Section = Section {
    keys: &[
        Key {
            name: "consecutive-errors",
            kind: Kind::Number { least: 0, most: 1000 },
            label: None,
            about: "So many failures in a row eject it: an answer of 500 and above, no connection, a connection that broke, no \
                    answer in time, gRPC status UNAVAILABLE without a message. 0 ejects never.",
            default: "5",
            example: "3",
        },
        Key {
            name: "eject",
            kind: Kind::Duration {
                least: Duration::from_millis(10),
                most: Duration::from_secs(3600),
                off: false,
            },
            label: None,
            about: "How long. A second time is twice as long, a third three times, up to ten times; one time is forgiven for \
                    each such time in service.",
            default: "30s",
            example: "10s",
        },
        Key {
            name: "most",
            kind: Kind::Text(&PERCENT),
            label: None,
            about: "The largest share of the ready replicas that is out at once, rounded down: the only one never is, unless \
                    it is 100%.",
            default: "50%",
            example: "30%",
        },
        Key {
            name: "panic",
            kind: Kind::Text(&PERCENT),
            label: None,
            about: "With a smaller share in than this, all are used again: too few would be overrun.",
            default: "50%",
            example: "25%",
        },
        Key {
            name: "success-rate",
            kind: Kind::Section(&SUCCESS_RATE_KEYS),
            label: None,
            about: "Ejects a replica, too, of which fewer requests succeed than of the others, though never enough fail in a row. \
                    Where all fail alike, none is ejected.",
            default: "off; written without keys, on with the values below",
            example: "{ below: 10% }",
        },
    ],
};

const SUCCESS_RATE_KEYS: Section = Section {
    keys: &[
        Key {
            name: "below",
            kind: Kind::Text(&PERCENT),
            label: None,
            about: "Of its requests so many percent less succeeded than on the average of the others. 0% ejects never.",
            default: "20%",
            example: "10%",
        },
        Key {
            name: "requests",
            kind: Kind::Number { least: 1, most: 1_000_000 },
            label: None,
            about: "A replica that got fewer from a caller is not judged by it, nor are others compared with it: with few \
                    requests chance decides.",
            default: "100",
            example: "500",
        },
        Key {
            name: "replicas",
            kind: Kind::Number { least: 2, most: 1000 },
            label: None,
            about: "At least so many must have got that many.",
            default: "2",
            example: "3",
        },
        Key {
            name: "interval",
            kind: Kind::Duration {
                least: Duration::from_secs(1),
                most: Duration::from_secs(3600),
                off: false,
            },
            label: None,
            about: "How much time is judged at once; then all are counted anew.",
            default: "10s",
            example: "60s",
        },
    ],
};

/// What may stand in `on`, beside status codes.
pub(super) const CONDITIONS: &[Choice] = &[
    Choice { word: "connect-failure", about: "it could not be sent; so in any case, said or not" },
    Choice { word: "reset", about: "the connection or the stream broke before an answer" },
    Choice { word: "timeout", about: "the time for one try passed" },
    Choice { word: "unavailable", about: "gRPC status 14 before any message" },
];

const RETRY_KEYS: Section = Section {
    keys: &[
        Key {
            name: "attempts",
            kind: Kind::Number { least: 0, most: 10 },
            label: None,
            about: "How often one request is sent again, at most.",
            default: "2",
            example: "3",
        },
        Key {
            name: "on",
            kind: Kind::Conditions(CONDITIONS),
            label: None,
            about: "What must have happened: words, and status codes: 429, and from 500 to 599.",
            default: "[ reset, timeout, unavailable, 502, 503, 504 ]",
            example: "[ reset, 503 ]",
        },
        Key {
            name: "methods",
            kind: Kind::Texts(&METHOD),
            label: None,
            about: "The methods that may be repeated. Name others only where doing it twice is as good as once; a call of gRPC \
                    is a POST.",
            default: "[ GET, HEAD, OPTIONS, PUT, DELETE, TRACE ]",
            example: "[ GET, POST ]",
        },
        Key {
            name: "per-try-timeout",
            kind: Kind::Duration {
                least: Duration::from_millis(1),
                most: Duration::from_secs(24 * 3600),
                off: true,
            },
            label: None,
            about: "How long one try may take; `timeout` is for all of them.",
            default: "0: what is left of `timeout`",
            example: "500ms",
        },
        Key {
            name: "backoff",
            kind: Kind::Text(&BACKOFF),
            label: None,
            about: "The pause before a retry: up to the first, then up to twice as long each time, up to the second; by chance \
                    between a half and the whole of it.",
            default: "25ms..250ms",
            example: "50ms..1s",
        },
        Key {
            name: "budget",
            kind: Kind::Text(&PERCENT),
            label: None,
            about: "The share of a caller's requests, over about ten seconds, that may be sent again: a storm cannot feed \
                    itself.",
            default: "20%",
            example: "10%",
        },
        Key {
            name: "budget-least",
            kind: Kind::Number { least: 0, most: 1000 },
            label: None,
            about: "So many per second may be sent again beside the share, for callers that send little.",
            default: "3",
            example: "1",
        },
    ],
};

const fn limit(name: &'static str, about: &'static str, example: &'static str) -> Key {
    let kind = Kind::Number { least: 0, most: 1_000_000 };
    Key { name, kind, label: None, about, default: "0: no limit", example }
}

const LIMIT_KEYS: Section = Section {
    keys: &[
        limit("requests", "Requests under way.", "200"),
        limit("streams", "Byte streams that are open (TCP).", "100"),
        limit("held", "Requests and byte streams that wait for a replica to appear.", "50"),
        limit("retries", "Requests that are being sent again.", "10"),
        Key {
            name: "replica",
            kind: Kind::Section(&REPLICA_KEYS),
            label: None,
            about: "How much the application of one replica is given at once, whoever calls; its own sidecar counts.",
            default: "no limit",
            example: "{ requests: 50, pending: 20 }",
        },
    ],
};

const REPLICA_KEYS: Section = Section {
    keys: &[
        limit("requests", "Requests under way.", "50"),
        Key {
            default: "0: none waits",
            ..limit(
                "pending",
                "Requests that wait, in their order and for 10 s at most, for one of `requests` to end.",
                "20",
            )
        },
        limit(
            "connections",
            "Connections of HTTP that are open to its sidecar: of clients without one, and of callers' sidecars, which keep a \
             few each. Over it a client gets 503 and is closed; a caller's sidecar asks another replica.",
            "500",
        ),
        limit("streams", "Byte streams that are open (TCP).", "100"),
    ],
};
