//! `routes`: the table of their keys, and how they are read. The words are those of the Gateway API.

mod filter_table;
mod filters;
mod print;
mod table;

pub(super) use print::{entry, listed, mapping, one_match as print_match, print, quoted};
pub(super) use table::{FIELD, GRPC_SERVICE, HEADER, HOST, MATCH, NAME, ROUTES};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Code, Said};
use super::node::{Node, Value};
use super::policy::hash_on;
use super::reader::{Fields, Reader};
use super::table::Key;
use super::{text, value};
use table::{BACKEND, GRPC, PATHS, ROUTE};

use crate::route::{Backend, GrpcMatch, PathMatch, Route, RouteMatch};

/// Most routes of one service, and most matches and backends of one route.
const MOST: usize = 256;

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
        stream: said(fields.read(reader, "stream-timeout", value::time)),
        stream_idle: said(fields.read(reader, "stream-idle-timeout", value::time)),
        sticky: said(fields.read(reader, "sticky", hash_on)),
        filters: filters::read(reader, &fields),
    };
    filters::check(reader, &fields, &route);
    if let Some(at) = fields.node("backends")
        && !route.backends.is_empty()
        && route.backends.iter().all(|backend| backend.weight == 0)
    {
        let what = "every weight is 0, so that all its requests are answered with 500";
        reader.within("backends", |r| r.warn(at, what, "give one of them a weight"));
    }
    route
}

pub(super) fn one_match(reader: &mut Reader, node: &Node) -> RouteMatch {
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

pub(super) fn said<T>(said: Option<Said<T>>) -> Option<T> {
    said.map(|said| said.value)
}

pub(super) fn read_list<T>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    item: fn(&mut Reader, &Node) -> T,
) -> Vec<T> {
    said(fields.read(reader, name, |reader, node, key| list(reader, node, key.example, item)))
        .unwrap_or_default()
}

pub(super) fn list<T>(
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
