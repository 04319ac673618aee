//! `routes`: the table of their keys, and how they are read. The words are those of the Gateway API.

mod print;

pub(super) use print::print;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Code, Said};
use super::limits::TIMEOUT;
use super::node::{Node, Value};
use super::reader::{Fields, Reader};
use super::table::{Choice, Key, Kind, Section, Text};
use super::{text, value};
use crate::route::{Backend, GrpcMatch, PathMatch, Route, RouteMatch};

/// Most routes of one service, and most matches and backends of one route.
const MOST: usize = 256;

const NAME: Text = Text {
    what: "a name",
    pattern: "^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$",
    help: "1 to 63 of a-z, 0-9, - and _, such as canary",
    regex: false,
};
const SERVICE: Text = Text {
    what: "a service",
    pattern: r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)?$",
    help: "cart, or cart.shop for one of another namespace",
    regex: false,
};
/// RFC 3986 without the query; compared as sent.
const PATH: Text = Text {
    what: "a path",
    pattern: r##"^/[!-"$->@-~]{0,1023}$"##,
    help: "a path from its first slash, without query, such as /items",
    regex: false,
};
/// RFC 9110 section 5.6.2, token.
const HEADER: Text = Text {
    what: "the name of a header",
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    help: "a header's name, such as x-canary",
    regex: false,
};
const PARAMETER: Text = Text {
    what: "the name of a query parameter",
    pattern: "^[!-%'-<>-~]{1,256}$",
    help: "a parameter's name as it stands in the URL, such as beta",
    regex: false,
};
const GRPC_SERVICE: Text = Text {
    what: "a service of gRPC",
    pattern: "^[A-Za-z_][A-Za-z0-9_.]{0,254}$",
    help: "it with its package, such as shop.Cart",
    regex: false,
};
const GRPC_METHOD: Text = Text {
    what: "a method of gRPC",
    pattern: "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
    help: "a method's name, such as Add",
    regex: false,
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
const ROUTE: Section = Section {
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
            about: "How long a request may take, as the service's `timeout`.",
            default: "the service's",
            ..TIMEOUT
        },
    ],
};

/// The keys of a match.
const MATCH: Section = Section {
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
const PATHS: Section = Section {
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

const GRPC: Section = Section {
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

const BACKEND: Section = Section {
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
        Key {
            name: "port",
            kind: Kind::Number { least: 1, most: 65_535 },
            label: None,
            about: "Its port.",
            default: "the one that was called",
            example: "8080",
        },
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
const METHODS: [Choice; 8] = [
    method("GET"),
    method("HEAD"),
    method("POST"),
    method("PUT"),
    method("DELETE"),
    method("OPTIONS"),
    method("TRACE"),
    method("PATCH"),
];

/// A list of routes.
pub(crate) fn routes(reader: &mut Reader, node: &Node, _: &Key) -> Option<Arc<[Route]>> {
    let routes = list(reader, node, "[ { backends: [ { version: v2 } ] } ]", route)?;
    for (n, route) in routes.iter().enumerate() {
        let same = |other: &&Route| other.name.is_some() && other.name == route.name;
        if let Some(name) = routes.iter().take(n).find(same).and_then(|other| other.name.as_ref()) {
            let what = format!("two routes are called {name}");
            reader.fault(Code::Conflict, node, what, "give one of them another name");
        }
    }
    Some(routes.into())
}

fn route(reader: &mut Reader, node: &Node) -> Route {
    let fields = reader.section(node, &ROUTE);
    let route = Route {
        name: said(fields.read(reader, "name", text::text)),
        matches: read_list(reader, &fields, "matches", one_match),
        backends: read_list(reader, &fields, "backends", backend),
        timeout: said::<Duration>(fields.read(reader, "timeout", value::time)),
    };
    if let Some(at) = fields.node("backends")
        && !route.backends.is_empty()
        && route.backends.iter().all(|backend| backend.weight == 0)
    {
        let what = "every weight is 0, so that all its requests are answered with 500";
        reader.within("backends", |r| r.warn(at, what, "give one of them a weight"));
    }
    route
}

fn one_match(reader: &mut Reader, node: &Node) -> RouteMatch {
    let fields = reader.section(node, &MATCH);
    let path = fields.read(reader, "path", |reader, node, _| path(reader, node));
    let method = fields.read(reader, "method", value::choice);
    let headers = said(fields.read(reader, "headers", text::matches)).unwrap_or_default();
    let grpc = fields.read(reader, "grpc", |reader, node, _| {
        let fields = reader.section(node, &GRPC);
        let service = said(fields.read(reader, "service", text::text));
        Some(GrpcMatch { service, method: said(fields.read(reader, "method", text::text)) })
    });
    if let Some(node) =
        fields.node("grpc").filter(|_| fields.node("path").or(fields.node("method")).is_some())
    {
        let what = "a match of gRPC says path and method itself";
        reader.fault(Code::Conflict, node, what, "remove path and method, or grpc");
    }
    // RFC 9110 section 5.1: names are the same in any case.
    let folded: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    if let Some(node) = fields.node("headers").filter(|_| folded.len() != headers.len()) {
        let what = "the same header stands here twice, in upper and lower case";
        reader.fault(Code::Conflict, node, what, "keep one of the two");
    }
    RouteMatch {
        path: said(path),
        method: said(method).map(str::to_owned),
        headers: folded,
        query: said(fields.read(reader, "query", text::matches)).unwrap_or_default(),
        grpc: said(grpc),
        from: said(fields.read(reader, "from", text::texts)).unwrap_or_default(),
    }
}

fn path(reader: &mut Reader, node: &Node) -> Option<PathMatch> {
    let fields = reader.section(node, &PATHS);
    let exact = said(fields.read(reader, "exact", text::text)).map(PathMatch::Exact);
    let prefix = said(fields.read(reader, "prefix", text::text)).map(PathMatch::Prefix);
    let regex = said(fields.read(reader, "regex", text::text)).map(PathMatch::Regex);
    let several = ["exact", "prefix", "regex"].iter().filter(|name| fields.node(name).is_some()).count();
    if several != 1 {
        let what = format!("{several} of exact, prefix and regex stand here");
        reader.fault(Code::Conflict, node, what, "write one of them; another match can have another");
    }
    exact.or(prefix).or(regex)
}

fn backend(reader: &mut Reader, node: &Node) -> Backend {
    let fields = reader.section(node, &BACKEND);
    let port = said(fields.read(reader, "port", text::number));
    Backend {
        service: said(fields.read(reader, "service", text::text)),
        version: said(fields.read(reader, "version", text::text)),
        port: port.and_then(|port| u16::try_from(port).ok()),
        weight: said(fields.read(reader, "weight", text::number)).unwrap_or(1),
    }
}

fn said<T>(said: Option<Said<T>>) -> Option<T> {
    said.map(|said| said.value)
}

fn read_list<T>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    item: fn(&mut Reader, &Node) -> T,
) -> Vec<T> {
    said(fields.read(reader, name, |reader, node, key| list(reader, node, key.example, item)))
        .unwrap_or_default()
}

fn list<T>(
    reader: &mut Reader,
    node: &Node,
    like: &str,
    item: impl Fn(&mut Reader, &Node) -> T,
) -> Option<Vec<T>> {
    let Value::List(items) = &node.value else {
        let what = format!("{} stands where a list is wanted", node.found());
        reader.fault(Code::WrongType, node, what, format!("write {like}, say"));
        return None;
    };
    if items.len() > MOST {
        let what = format!("there are {} of them", items.len());
        reader.fault(Code::TooLarge, node, what, format!("write at most {MOST}"));
        return None;
    }
    let items = items.iter().enumerate();
    Some(items.map(|(n, node)| reader.within(&n.to_string(), |reader| item(reader, node))).collect())
}
