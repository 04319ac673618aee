//! Routes as a mesh file has them, one to a line.

use std::collections::BTreeMap;
use std::fmt;

use crate::mesh::duration;
use crate::route::{Backend, PathMatch, Route, RouteMatch, TextMatch};

/// The key and its list.
pub(in crate::mesh) fn print(f: &mut fmt::Formatter<'_>, routes: &[Route]) -> fmt::Result {
    if routes.is_empty() {
        return writeln!(f, "    routes: []");
    }
    writeln!(f, "    routes:")?;
    routes.iter().try_for_each(|route| writeln!(f, "      - {}", one(route)))
}

fn one(route: &Route) -> String {
    mapping([
        route.name.as_ref().map(|name| entry("name", &quoted(name))),
        listed("matches", &route.matches, one_match),
        listed("backends", &route.backends, backend),
        route.timeout.map(|timeout| entry("timeout", &duration::print(timeout))),
    ])
}

fn one_match(said: &RouteMatch) -> String {
    let path = said.path.as_ref().map(|path| match path {
        PathMatch::Exact(text) => entry("exact", &quoted(text)),
        PathMatch::Prefix(text) => entry("prefix", &quoted(text)),
        PathMatch::Regex(text) => entry("regex", &quoted(text)),
    });
    let grpc = said.grpc.as_ref().map(|grpc| {
        mapping([
            grpc.service.as_ref().map(|service| entry("service", &quoted(service))),
            grpc.method.as_ref().map(|method| entry("method", &quoted(method))),
        ])
    });
    mapping([
        path.map(|path| entry("path", &mapping([Some(path)]))),
        said.method.as_ref().map(|method| entry("method", method)),
        texts("headers", &said.headers),
        texts("query", &said.query),
        grpc.map(|grpc| entry("grpc", &grpc)),
        listed("from", &said.from, |service| quoted(service)),
    ])
}

fn backend(backend: &Backend) -> String {
    mapping([
        backend.service.as_ref().map(|service| entry("service", &quoted(service))),
        backend.version.as_ref().map(|version| entry("version", &quoted(version))),
        backend.port.map(|port| entry("port", &port.to_string())),
        (backend.weight != 1).then(|| entry("weight", &backend.weight.to_string())),
    ])
}

fn texts(name: &str, texts: &BTreeMap<String, TextMatch>) -> Option<String> {
    let all = texts.iter().map(|(name, value)| {
        let value = match value {
            TextMatch::Exact(text) => quoted(text),
            TextMatch::Regex(text) => mapping([Some(entry("regex", &quoted(text)))]),
        };
        Some(entry(&quoted(name), &value))
    });
    (!texts.is_empty()).then(|| entry(name, &mapping(all)))
}

fn listed<T>(name: &str, items: &[T], print: impl Fn(&T) -> String) -> Option<String> {
    let all: Vec<String> = items.iter().map(print).collect();
    (!all.is_empty()).then(|| entry(name, &format!("[ {} ]", all.join(", "))))
}

fn mapping(entries: impl IntoIterator<Item = Option<String>>) -> String {
    let entries: Vec<String> = entries.into_iter().flatten().collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

fn entry(name: &str, value: &str) -> String {
    format!("{name}: {value}")
}

/// A JSON string is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
