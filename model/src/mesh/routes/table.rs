//! The table of the keys of routes.

use super::super::limits::{STREAM, STREAM_IDLE, TIMEOUT};
use super::super::table::{Choice, Key, Kind, Section, Text};
use super::super::text;
use super::filter_table as filters;
use crate::mesh::policy::HASH_ON;

pub(crate) const NAME: Text = Text {
    what: "a name",
    pattern: "^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$",
    help: "1 to 63 of a-z, 0-9, - and _, such as canary",
    regex: false,
    except: &[],
};
pub(crate) const SERVICE: Text = Text {
    what: "a service",
    pattern: r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)?$",
    help: "cart, or cart.shop for one of another namespace",
    regex: false,
    except: &[],
};
/// RFC 3986 without the query; compared as sent.
pub(crate) const PATH: Text = Text {
    what: "a path",
    pattern: r##"^/[!-"$->@-~]{0,1023}$"##,
    help: "a path from its first slash, without query, such as /items",
    regex: false,
    except: &[],
};
/// RFC 9110 section 5.6.2, token.
pub(crate) const HEADER: Text = Text {
    what: "the name of a header",
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    help: "a header's name, such as x-canary",
    regex: false,
    except: &[],
};
/// RFC 9110 section 5.5, without what is not ASCII.
pub(crate) const FIELD: Text = Text {
    what: "the value of a header",
    pattern: "^([!-~]([ -~]{0,1022}[!-~])?)?$",
    help: "up to 1,024 characters of ASCII, without space at its ends",
    regex: false,
    except: &[],
};
pub(crate) const HOST: Text = Text {
    what: "a host",
    pattern: r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?(:[0-9]{1,5})?$",
    help: "a name such as cart.internal, perhaps with :8080",
    regex: false,
    except: &[],
};
/// Of a backend, and of where copies go.
pub(super) const PORT: Key = Key {
    name: "port",
    kind: Kind::Number { least: 1, most: 65_535 },
    label: None,
    about: "Its port.",
    default: "the one that was called",
    example: "8080",
};
pub(crate) const PARAMETER: Text = Text {
    what: "the name of a query parameter",
    pattern: "^[!-%'-<>-~]{1,256}$",
    help: "a parameter's name as it stands in the URL, such as beta",
    regex: false,
    except: &[],
};
pub(crate) const GRPC_SERVICE: Text = Text {
    what: "a service of gRPC",
    pattern: "^[A-Za-z_][A-Za-z0-9_.]{0,254}$",
    help: "it with its package, such as shop.Cart",
    regex: false,
    except: &[],
};
pub(crate) const GRPC_METHOD: Text = Text {
    what: "a method of gRPC",
    pattern: "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
    help: "a method's name, such as Add",
    regex: false,
    except: &[],
};

pub(crate) const ROUTES: Key = Key {
    name: "routes",
    kind: Kind::List(&ROUTE),
    label: None,
    about: "Where requests to it go. Of all matches of all routes the most specific one that fits decides: an exact path, \
            then a regex, then the longest prefix; then a method, the most headers, the most query parameters, a caller; then \
            the first in the file. A request that no route takes is answered with 404. Byte streams are not routed.",
    default: "none: all requests go to the service",
    example: "[ { backends: [ { version: v1, weight: 90 }, { version: v2, weight: 10 } ] } ]",
};

/// The keys of a route.
pub(crate) const ROUTE: Section = Section {
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text(&NAME),
            label: None,
            about: "What metrics and the access log call it.",
            default: "its number in the list, from 1",
            example: "canary",
        },
        Key {
            name: "matches",
            kind: Kind::List(&MATCH),
            label: None,
            about: "It takes the requests that one of these takes.",
            default: "it takes every request",
            example: "[ { path: { prefix: /items } } ]",
        },
        Key {
            name: "backends",
            kind: Kind::List(&BACKEND),
            label: None,
            about: "Where the requests go, each request to one of them by weight.",
            default: "the service itself",
            example: "[ { version: v2 } ]",
        },
        Key {
            name: "sticky",
            kind: Kind::HashOn(&HASH_ON),
            label: None,
            about: "Requests with the same value of this header or cookie go to the same backend, at every caller, as long as \
                    the weights stay; `source` is the calling replica, at an edge the client's address. One without the value is drawn by itself.",
            default: "none",
            example: "{ cookie: session }",
        },
        Key {
            about: "How long a request may take, as the service's `timeout`.",
            default: "the service's",
            ..TIMEOUT
        },
        Key {
            about: "How long a request and its response may last, as the service's `stream-timeout`.",
            default: "the service's",
            ..STREAM
        },
        Key {
            about: "How long they may pass no byte, as the service's `stream-idle-timeout`.",
            default: "the service's",
            ..STREAM_IDLE
        },
        filters::REQUEST_HEADERS,
        filters::RESPONSE_HEADERS,
        filters::REWRITE,
        filters::REDIRECT,
        filters::RESPOND,
        filters::MIRROR,
        filters::FAULT,
    ],
};

/// The keys of a match.
pub(crate) const MATCH: Section = Section {
    keys: &[
        Key {
            name: "path",
            kind: Kind::Section(&PATHS),
            label: None,
            about: "The path, compared as it was sent: nothing is decoded.",
            default: "any",
            example: "{ prefix: /items }",
        },
        Key {
            name: "method",
            kind: Kind::Choice(&METHODS),
            label: None,
            about: "The method.",
            default: "any",
            example: "POST",
        },
        Key {
            name: "headers",
            kind: Kind::Matches(&HEADER),
            label: None,
            about: "Headers that the request must have, all of them: a value, or `{ regex: … }` that all of it fits. The lines \
                    of one that is there several times are joined with `, `.",
            default: "any",
            example: "{ x-canary: \"1\" }",
        },
        Key {
            name: "query",
            kind: Kind::Matches(&PARAMETER),
            label: None,
            about: "Query parameters that it must have, all of them, in the same form; compared as sent, and the first where one \
                    is there several times.",
            default: "any",
            example: "{ beta: \"1\" }",
        },
        Key {
            name: "grpc",
            kind: Kind::Section(&GRPC),
            label: None,
            about: "It is a call of gRPC, of this service and method.",
            default: "any request",
            example: "{ service: shop.Cart }",
        },
        Key {
            name: "from",
            kind: Kind::Texts(&SERVICE),
            label: None,
            about: "The calling services, by their proven identity.",
            default: "whoever calls",
            example: "[ web ]",
        },
    ],
};

/// The keys of `path`: one of them.
pub(crate) const PATHS: Section = Section {
    keys: &[
        Key {
            name: "exact",
            kind: Kind::Text(&PATH),
            label: None,
            about: "This path.",
            default: "none",
            example: "/items",
        },
        Key {
            name: "prefix",
            kind: Kind::Text(&PATH),
            label: None,
            about: "This path and all below it, by whole segments: `/items` takes `/items` and `/items/1`, not `/itemsets`.",
            default: "none",
            example: "/items",
        },
        Key {
            name: "regex",
            kind: Kind::Text(&text::REGEX),
            label: None,
            about: "All paths that fit this pattern from start to end (the syntax of Rust's regex-lite).",
            default: "none",
            example: "\"/items/[0-9]+\"",
        },
    ],
};

pub(crate) const GRPC: Section = Section {
    keys: &[
        Key {
            name: "service",
            kind: Kind::Text(&GRPC_SERVICE),
            label: None,
            about: "The service, with its package.",
            default: "any",
            example: "shop.Cart",
        },
        Key {
            name: "method",
            kind: Kind::Text(&GRPC_METHOD),
            label: None,
            about: "The method.",
            default: "any",
            example: "Add",
        },
    ],
};

pub(crate) const BACKEND: Section = Section {
    keys: &[
        Key {
            name: "service",
            kind: Kind::Text(&SERVICE),
            label: None,
            about: "The service. One that the caller shares no network with counts as not there: its share is answered with 500.",
            default: "the one that has the route",
            example: "cart",
        },
        Key {
            name: "version",
            kind: Kind::Text(&NAME),
            label: None,
            about: "Only its workloads with this `outrigger.version`. While none of them is ready, their share waits, and is then \
                    answered with 503.",
            default: "all",
            example: "v2",
        },
        PORT,
        Key {
            name: "weight",
            kind: Kind::Number { least: 0, most: 1_000_000 },
            label: None,
            about: "Its share of the requests, as part of the sum over the route's backends.",
            default: "1",
            example: "10",
        },
    ],
};

const fn method(word: &'static str) -> Choice {
    Choice { word, about: "this method" }
}

/// RFC 9110 section 9.3 and RFC 5789; CONNECT is refused before any route.
pub(crate) const METHODS: [Choice; 8] = [
    method("GET"),
    method("HEAD"),
    method("POST"),
    method("PUT"),
    method("DELETE"),
    method("OPTIONS"),
    method("TRACE"),
    method("PATCH"),
];
