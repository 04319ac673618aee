//! The table of the keys of `health.check`.

use std::time::Duration;

use crate::mesh::routes::{FIELD, GRPC_SERVICE, HEADER, HOST};
use crate::mesh::table::{Key, Kind, Section, Text};

/// Longest time between two tries.
const LONGEST: Duration = Duration::from_secs(3600);

/// A whole check in a word or two.
pub(super) const SHORT: Text = Text {
    what: "a check",
    pattern: "^(off|(tcp|grpc)(:[1-9][0-9]{0,4})?|http:([1-9][0-9]{0,4})?/([!\"$-.0-~][!\"$-~]{0,1022})?)$",
    help: "http:/healthz, http:8080/healthz, grpc, tcp, or off; with a port of its own: grpc:9000",
    regex: false,
    except: &[],
};
/// RFC 9112 section 3.2.1: path and query.
pub(super) const PATH: Text = Text {
    what: "a path",
    pattern: "^/[!\"$-~]{0,1023}$",
    help: "a path from its first slash, such as /healthz",
    regex: false,
    except: &[],
};
/// Not what speaks of the connection or of the message's end (RFC 9110 section 7.6.1, RFC 9112 section 6), nor what is
/// said elsewhere.
const ASKED_WITH: Text = Text {
    what: "the name of a header that a check can send",
    help: "a header's name, such as x-probe; host has a key of its own, and those of the connection and of a body are not sent",
    except: &[
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ],
    ..HEADER
};
const BODY: Text = Text {
    what: "a text to look for",
    pattern: r"^[^\x00-\x1f\x7f]{1,1024}$",
    help: "1 to 1,024 characters on one line, such as ok",
    regex: false,
    except: &[],
};

pub(super) const CHECK: Key = Key {
    name: "check",
    kind: Kind::TextOr(&SHORT, &CHECK_KEYS),
    label: None,
    about: "The sidecar of each replica asks its own application whether it can serve; one that says no takes no traffic until it \
            says yes. For short `http:/healthz`, `http:8080/healthz`, `grpc`, `grpc:9000`, `tcp`, `tcp:6379`; `off`: nothing is \
            asked.",
    default: "off; written without keys, a connection to its port must be accepted, as below",
    example: "{ http: /healthz, interval: 2s }",
};

pub(super) const CHECK_KEYS: Section = Section {
    keys: &[
        Key {
            name: "http",
            kind: Kind::TextOr(&PATH, &HTTP_KEYS),
            label: None,
            about: "A `GET` of this path, over HTTP/1.1, is answered as expected.",
            default: "none",
            example: "{ path: /healthz, status: 200 }",
        },
        Key {
            name: "grpc",
            kind: Kind::Section(&GRPC_KEYS),
            label: None,
            about: "`grpc.health.v1.Health/Check`, over HTTP/2 without TLS, answers SERVING.",
            default: "none; written without keys, about the server as a whole",
            example: "{ service: shop.Cart }",
        },
        Key {
            name: "tcp",
            kind: Kind::True,
            label: None,
            about: "A connection is accepted.",
            default: "true where neither http nor grpc is asked",
            example: "true",
        },
        Key {
            name: "port",
            kind: Kind::Number { least: 1, most: 65535 },
            label: None,
            about: "Where the application is asked.",
            default: "the lowest of the declared `ports`, else of those that its image exposes, else of those that it is seen \
                      listening on",
            example: "8081",
        },
        Key {
            name: "interval",
            kind: Kind::Duration { least: Duration::from_millis(100), most: LONGEST, off: false },
            label: None,
            about: "From one try to the next, a fifth more or less by chance. Until an application that has just started passes, it \
                    is asked four times a second for half a minute.",
            default: "5s",
            example: "2s",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration {
                least: Duration::from_millis(10),
                most: Duration::from_secs(300),
                off: false,
            },
            label: None,
            about: "How long one try may take.",
            default: "1s",
            example: "500ms",
        },
        Key {
            name: "healthy",
            kind: Kind::Number { least: 1, most: 100 },
            label: None,
            about: "So many tries in a row must pass before it takes traffic (again).",
            default: "1",
            example: "2",
        },
        Key {
            name: "unhealthy",
            kind: Kind::Number { least: 1, most: 100 },
            label: None,
            about: "So many tries in a row must fail before it takes none.",
            default: "3",
            example: "2",
        },
    ],
};

pub(super) const HTTP_KEYS: Section = Section {
    keys: &[
        Key {
            name: "path",
            kind: Kind::Text(&PATH),
            label: None,
            about: "What is asked for, with its query.",
            default: "/",
            example: "/healthz",
        },
        Key {
            name: "host",
            kind: Kind::Text(&HOST),
            label: None,
            about: "The `host` that is sent.",
            default: "the service's name",
            example: "cart.internal",
        },
        Key {
            name: "headers",
            kind: Kind::Fields(&ASKED_WITH, &FIELD),
            label: None,
            about: "Further headers that are sent.",
            default: "none",
            example: "{ x-probe: mesh }",
        },
        Key {
            name: "status",
            kind: Kind::Statuses,
            label: None,
            about: "The status codes that are good: a number, a range such as 200..299, or a list of such.",
            default: "200..299",
            example: "[ 200, 204 ]",
        },
        Key {
            name: "body",
            kind: Kind::Text(&BODY),
            label: None,
            about: "This text must stand in the body, within its first 64 KiB.",
            default: "any body",
            example: "ready",
        },
    ],
};

pub(super) const GRPC_KEYS: Section = Section {
    keys: &[Key {
        name: "service",
        kind: Kind::Text(&GRPC_SERVICE),
        label: None,
        about: "Which of its services is asked about.",
        default: "the server as a whole",
        example: "shop.Cart",
    }],
};
