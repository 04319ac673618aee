//! The table of the keys for what a route does to requests and answers.

use std::time::Duration;

use super::super::table::{Choice, Key, Kind, Section, Text};
use super::table::{FIELD, HEADER, HOST, NAME, PATH, PORT, SERVICE};

/// A field that a route may change: not one that speaks of the connection or of where the message ends (RFC 9110 section
/// 7.6.1, RFC 9112 section 6), not one that the sidecar answers for.
const EDITED: Text = Text {
    what: "the name of a header that can be changed",
    help: "a header's name, such as x-team; those of the connection, the body's length, host (rewrite has it) and the caller's \
           identity are not for routes to change",
    except: &[
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "outrigger-error",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-client-cert",
        "x-outrigger-mirror",
    ],
    ..HEADER
};
const HOST_ALONE: Text = Text {
    what: "a host without port",
    pattern: r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?$",
    help: "a name such as shop.example",
    ..HOST
};
const BODY: Text = Text {
    what: "a body",
    pattern: r"^[\s\S]{0,4096}$",
    help: "up to 4,096 characters",
    regex: false,
    except: &[],
};
const SHARE: Text = Text {
    what: "a share",
    pattern: r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)%$",
    help: "a percentage such as 20% or 0.5%",
    regex: false,
    except: &[],
};

const EDITS: Section = Section {
    keys: &[
        Key {
            name: "set",
            kind: Kind::Fields(&EDITED, &FIELD),
            label: None,
            about: "Headers with this value, in place of what was there.",
            default: "none",
            example: "{ x-team: shop }",
        },
        Key {
            name: "add",
            kind: Kind::Fields(&EDITED, &FIELD),
            label: None,
            about: "One more line of each.",
            default: "none",
            example: "{ x-seen: web }",
        },
        Key {
            name: "remove",
            kind: Kind::Texts(&EDITED),
            label: None,
            about: "Headers that do not go on.",
            default: "none",
            example: "[ x-internal ]",
        },
    ],
};

pub(super) const REQUEST_HEADERS: Key = Key {
    name: "request-headers",
    kind: Kind::Section(&EDITS),
    label: None,
    about: "Changes headers of the request.",
    default: "none",
    example: "{ set: { x-team: shop } }",
};

pub(super) const RESPONSE_HEADERS: Key = Key {
    name: "response-headers",
    kind: Kind::Section(&EDITS),
    label: None,
    about: "Changes headers of the application's response.",
    default: "none",
    example: "{ remove: [ server ] }",
};

const PATH_EDITS: Section = Section {
    keys: &[
        Key {
            name: "prefix",
            kind: Kind::Text(&PATH),
            label: None,
            about: "In place of the prefix that matched; the rest stays. Every match of the route has a `prefix`, or no path.",
            default: "none",
            example: "/v2",
        },
        Key {
            name: "full",
            kind: Kind::Text(&PATH),
            label: None,
            about: "In place of the whole path.",
            default: "none",
            example: "/index",
        },
    ],
};

const PATH_EDIT: Key = Key {
    name: "path",
    kind: Kind::Section(&PATH_EDITS),
    label: None,
    about: "Another path; the query stays.",
    default: "as asked",
    example: "{ prefix: /v2 }",
};

pub(super) const REWRITE: Key = Key {
    name: "rewrite",
    kind: Kind::Section(&Section {
        keys: &[
            PATH_EDIT,
            Key {
                name: "host",
                kind: Kind::Text(&HOST),
                label: None,
                about: "Another host; the one asked for is passed on in `x-forwarded-host`.",
                default: "as asked",
                example: "cart.internal",
            },
        ],
    }),
    label: None,
    about: "Changes what the request asks for.",
    default: "none",
    example: "{ path: { prefix: /v2 } }",
};

pub(super) const REDIRECT: Key = Key {
    name: "redirect",
    kind: Kind::Section(&Section {
        keys: &[
            Key {
                name: "scheme",
                kind: Kind::Choice(&[
                    Choice { word: "http", about: "without TLS" },
                    Choice { word: "https", about: "with TLS" },
                ]),
                label: None,
                about: "The scheme.",
                default: "http, as asked",
                example: "https",
            },
            Key {
                name: "host",
                kind: Kind::Text(&HOST_ALONE),
                label: None,
                about: "The host.",
                default: "as asked",
                example: "shop.example",
            },
            PATH_EDIT,
            Key {
                name: "port",
                kind: Kind::Number { least: 1, most: 65_535 },
                label: None,
                about: "The port.",
                default: "that of `scheme`; without one, the called port",
                example: "8443",
            },
            Key {
                name: "status",
                kind: Kind::Number { least: 301, most: 308 },
                label: None,
                about: "301, 302, 303, 307 or 308.",
                default: "302",
                example: "301",
            },
        ],
    }),
    label: None,
    about: "Answers with where to go instead.",
    default: "none",
    example: "{ scheme: https, status: 301 }",
};

pub(super) const RESPOND: Key = Key {
    name: "respond",
    kind: Kind::Section(&Section {
        keys: &[
            Key {
                name: "status",
                kind: Kind::Number { least: 200, most: 599 },
                label: None,
                about: "The status.",
                default: "200",
                example: "503",
            },
            Key {
                name: "body",
                kind: Kind::Text(&BODY),
                label: None,
                about: "The body, plain text unless `headers` say otherwise.",
                default: "none",
                example: "\"closed for the night\"",
            },
            Key {
                name: "headers",
                kind: Kind::Fields(&EDITED, &FIELD),
                label: None,
                about: "Its headers.",
                default: "none",
                example: "{ retry-after: \"60\" }",
            },
        ],
    }),
    label: None,
    about: "Answers at once, in place of any backend.",
    default: "none",
    example: "{ status: 503, body: \"closed for the night\" }",
};

pub(super) const MIRROR: Key = Key {
    name: "mirror",
    kind: Kind::Section(&Section {
        keys: &[
            Key {
                name: "service",
                kind: Kind::Text(&SERVICE),
                label: None,
                about: "The service that gets the copy.",
                default: "the one that has the route",
                example: "cart-next",
            },
            Key {
                name: "version",
                kind: Kind::Text(&NAME),
                label: None,
                about: "Only its workloads with this `outrigger.version`.",
                default: "all",
                example: "v2",
            },
            PORT,
            Key {
                name: "share",
                kind: Kind::Text(&SHARE),
                label: None,
                about: "Of how many requests.",
                default: "100%",
                example: "20%",
            },
        ],
    }),
    label: None,
    about: "Sends a copy of the request elsewhere, with `x-outrigger-mirror: 1`, and forgets the answer. The real answer never \
            waits for it: it is sent once that has begun, and left out where the body is over 64 KiB or too many copies run.",
    default: "none",
    example: "{ version: v2, share: 20% }",
};

pub(super) const FAULT: Key = Key {
    name: "fault",
    kind: Kind::Section(&Section {
        keys: &[
            Key {
                name: "delay",
                kind: Kind::Duration {
                    least: Duration::from_millis(1),
                    most: Duration::from_secs(300),
                    off: false,
                },
                label: None,
                about: "How long the request is held before it is sent on.",
                default: "none",
                example: "2s",
            },
            Key {
                name: "abort",
                kind: Kind::Number { least: 200, most: 599 },
                label: None,
                about: "The status that it is answered with, in place of any backend.",
                default: "none",
                example: "503",
            },
            Key {
                name: "share",
                kind: Kind::Text(&SHARE),
                label: None,
                about: "To how many requests.",
                default: "100%",
                example: "10%",
            },
        ],
    }),
    label: None,
    about: "Makes requests late or fail, to see what their callers do. The route's matches say which: by header, or by caller.",
    default: "none",
    example: "{ abort: 503, share: 10% }",
};
