//! Routes as a mesh file has them, one to a line.

use std::collections::BTreeMap;
use std::fmt;

use crate::mesh::duration;
use crate::policy::HashOn;
use crate::route::{
    Backend, Filters, HeaderEdits, PathEdit, PathMatch, Redirect, Route, RouteMatch, TextMatch,
};

/// The key and its list.
pub(in crate::mesh) fn print(f: &mut fmt::Formatter<'_>, routes: &[Route]) -> fmt::Result {
    if routes.is_empty() {
        return writeln!(f, "    routes: []");
    }
    writeln!(f, "    routes:")?;
    routes.iter().try_for_each(|route| writeln!(f, "      - {}", one(route)))
}

fn one(route: &Route) -> String {
    let own = [
        route.name.as_ref().map(|name| entry("name", &quoted(name))),
        listed("matches", &route.matches, one_match),
        listed("backends", &route.backends, backend),
        route.sticky.as_ref().map(|on| {
            let on = match on {
                HashOn::Source => "source".to_owned(),
                HashOn::Header(name) => mapping([Some(entry("header", &quoted(name)))]),
                HashOn::Cookie(name) => mapping([Some(entry("cookie", &quoted(name)))]),
            };
            entry("sticky", &on)
        }),
        route.timeout.map(|timeout| entry("timeout", &duration::print(timeout))),
        route.stream.map(|timeout| entry("stream-timeout", &duration::print(timeout))),
        route.stream_idle.map(|timeout| entry("stream-idle-timeout", &duration::print(timeout))),
    ];
    mapping(own.into_iter().chain(filters(&route.filters)))
}

fn filters(said: &Filters) -> [Option<String>; 7] {
    let rewrite = [
        path_edit(said.rewrite_path.as_ref()),
        said.rewrite_host.as_ref().map(|host| entry("host", &quoted(host))),
    ];
    [
        edits("request-headers", &said.request_headers),
        edits("response-headers", &said.response_headers),
        rewrite.iter().any(Option::is_some).then(|| entry("rewrite", &mapping(rewrite))),
        said.redirect.as_ref().map(|redirect| entry("redirect", &self::redirect(redirect))),
        said.respond.as_ref().map(|respond| {
            let status = Some(entry("status", &respond.status.to_string()));
            let body = (!respond.body.is_empty()).then(|| entry("body", &quoted(&respond.body)));
            entry("respond", &mapping([status, body, fields("headers", &respond.headers)]))
        }),
        said.mirror.as_ref().map(|mirror| {
            let share = Some(entry("share", &mirror.share.to_string()));
            entry("mirror", &mapping(place(&mirror.to).into_iter().chain([share])))
        }),
        said.fault.as_ref().map(|fault| {
            let delay = fault.delay.map(|delay| entry("delay", &duration::print(delay)));
            let abort = fault.abort.map(|status| entry("abort", &status.to_string()));
            entry("fault", &mapping([delay, abort, Some(entry("share", &fault.share.to_string()))]))
        }),
    ]
}

fn redirect(said: &Redirect) -> String {
    mapping([
        said.scheme.as_ref().map(|scheme| entry("scheme", scheme)),
        said.host.as_ref().map(|host| entry("host", &quoted(host))),
        path_edit(said.path.as_ref()),
        said.port.map(|port| entry("port", &port.to_string())),
        Some(entry("status", &said.status.to_string())),
    ])
}

fn path_edit(edit: Option<&PathEdit>) -> Option<String> {
    let edit = match edit? {
        PathEdit::Prefix(path) => entry("prefix", &quoted(path)),
        PathEdit::Full(path) => entry("full", &quoted(path)),
    };
    Some(entry("path", &mapping([Some(edit)])))
}

fn edits(name: &str, edits: &HeaderEdits) -> Option<String> {
    let remove: Vec<String> = edits.remove.iter().cloned().collect();
    let all = [
        fields("set", &edits.set),
        fields("add", &edits.add),
        listed("remove", &remove, |name| quoted(name)),
    ];
    all.iter().any(Option::is_some).then(|| entry(name, &mapping(all)))
}

fn fields(name: &str, fields: &BTreeMap<String, String>) -> Option<String> {
    let all = fields.iter().map(|(name, value)| Some(entry(&quoted(name), &quoted(value))));
    (!fields.is_empty()).then(|| entry(name, &mapping(all)))
}

pub(in crate::mesh) fn one_match(said: &RouteMatch) -> String {
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
    let weight = (backend.weight != 1).then(|| entry("weight", &backend.weight.to_string()));
    mapping(place(backend).into_iter().chain([weight]))
}

fn place(backend: &Backend) -> [Option<String>; 3] {
    [
        backend.service.as_ref().map(|service| entry("service", &quoted(service))),
        backend.version.as_ref().map(|version| entry("version", &quoted(version))),
        backend.port.map(|port| entry("port", &port.to_string())),
    ]
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

pub(in crate::mesh) fn listed<T>(name: &str, items: &[T], print: impl Fn(&T) -> String) -> Option<String> {
    let all: Vec<String> = items.iter().map(print).collect();
    (!all.is_empty()).then(|| entry(name, &format!("[ {} ]", all.join(", "))))
}

pub(in crate::mesh) fn mapping(entries: impl IntoIterator<Item = Option<String>>) -> String {
    let entries: Vec<String> = entries.into_iter().flatten().collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

pub(in crate::mesh) fn entry(name: &str, value: &str) -> String {
    format!("{name}: {value}")
}

/// A JSON string is one of YAML.
pub(in crate::mesh) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
