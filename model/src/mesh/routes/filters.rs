//! Reads what a route does to requests and answers.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::Code;
use super::super::node::Node;
use super::super::reader::{Fields, Reader};
use super::super::table::{Key, Kind};
use super::super::text;
use super::super::value;
use super::said;
use crate::route::{
    Backend, Filters, HeaderEdits, Injected, Mirror, PathEdit, PathMatch, Redirect, Respond, Route, Share,
};

/// Reads all of them.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Filters {
    let rewrite = fields.read(reader, "rewrite", |reader, node, key| {
        let fields = inner(reader, node, key)?;
        Some((path_edit(reader, &fields), said(fields.read(reader, "host", text::text))))
    });
    let (rewrite_path, rewrite_host) = said(rewrite).unwrap_or_default();
    Filters {
        request_headers: said(fields.read(reader, "request-headers", edits)).unwrap_or_default(),
        response_headers: said(fields.read(reader, "response-headers", edits)).unwrap_or_default(),
        rewrite_path,
        rewrite_host,
        redirect: said(fields.read(reader, "redirect", redirect)),
        respond: said(fields.read(reader, "respond", respond)),
        mirror: said(fields.read(reader, "mirror", mirror)),
        fault: said(fields.read(reader, "fault", fault)),
    }
}

/// What does not go together.
pub(super) fn check(reader: &mut Reader, fields: &Fields<'_>, route: &Route) {
    let answers = ["redirect", "respond"].map(|name| fields.node(name).map(|node| (name, node)));
    let first = answers.iter().flatten().next();
    let others = ["respond", "backends", "rewrite", "mirror", "timeout", "fault", "sticky"];
    for other in others.iter().filter(|other| first.is_some_and(|(name, _)| name != *other)) {
        if let (Some((name, _)), Some(node)) = (first, fields.node(other)) {
            let what = format!("{name} answers by itself, so that {other} changes nothing");
            reader.within(other, |r| r.fault(Code::Conflict, node, what, "remove one of the two"));
        }
    }
    let by_prefix = |said: &crate::route::RouteMatch| {
        said.grpc.is_none() && matches!(said.path, None | Some(PathMatch::Prefix(_)))
    };
    let redirected = route.filters.redirect.as_ref().and_then(|redirect| redirect.path.as_ref());
    for (name, edit) in [("rewrite", route.filters.rewrite_path.as_ref()), ("redirect", redirected)] {
        if let (Some(PathEdit::Prefix(_)), Some(node)) = (edit, fields.node(name))
            && !route.matches.iter().all(by_prefix)
        {
            let what = "a prefix is replaced, and a match of this route has none";
            let help = "write path: { prefix: … } in every match, or path: { full: … } here";
            reader.within(name, |r| r.fault(Code::Conflict, node, what, help));
        }
    }
}

/// The keys of the section at a key.
fn inner<'n>(reader: &mut Reader, node: &'n Node, key: &Key) -> Option<Fields<'n>> {
    let Kind::Section(section) = key.kind else { return None };
    Some(reader.section(node, section))
}

fn edits(reader: &mut Reader, node: &Node, key: &Key) -> Option<HeaderEdits> {
    let fields = inner(reader, node, key)?;
    let set = said(fields.read(reader, "set", text::fields)).unwrap_or_default();
    let add = said(fields.read(reader, "add", text::fields)).unwrap_or_default();
    let remove: Vec<String> = said(fields.read(reader, "remove", text::texts)).unwrap_or_default();
    let said = set.len() + add.len() + remove.len();
    let edits = HeaderEdits {
        set: folded(set),
        add: folded(add),
        remove: remove.iter().map(|name| fold(name)).collect(),
    };
    let all: BTreeSet<&String> = edits.set.keys().chain(edits.add.keys()).chain(&edits.remove).collect();
    if all.len() != said {
        let what = "the same header is changed twice";
        reader.fault(Code::Conflict, node, what, "keep one of set, add and remove for each");
    }
    Some(edits)
}

/// RFC 9110 section 5.1: names are the same in any case.
fn folded(fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    fields.into_iter().map(|(name, value)| (fold(&name), value)).collect()
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn path_edit(reader: &mut Reader, fields: &Fields<'_>) -> Option<PathEdit> {
    said(fields.read(reader, "path", |reader, node, key| {
        let fields = inner(reader, node, key)?;
        let prefix = said(fields.read(reader, "prefix", text::text)).map(PathEdit::Prefix);
        let full = said(fields.read(reader, "full", text::text)).map(PathEdit::Full);
        if fields.node("prefix").is_some() == fields.node("full").is_some() {
            reader.fault(Code::Conflict, node, "one of prefix and full is wanted here", "write one of them");
        }
        prefix.or(full)
    }))
}

fn redirect(reader: &mut Reader, node: &Node, key: &Key) -> Option<Redirect> {
    let fields = inner(reader, node, key)?;
    let redirect = Redirect {
        scheme: said(fields.read(reader, "scheme", value::choice)).map(str::to_owned),
        host: said(fields.read(reader, "host", text::text)),
        path: path_edit(reader, &fields),
        port: said(fields.read(reader, "port", text::number)).and_then(|port| u16::try_from(port).ok()),
        status: status(reader, &fields, "status").unwrap_or(302),
    };
    if ![301, 302, 303, 307, 308].contains(&redirect.status) {
        let what = format!("{} is no status that sends a caller elsewhere", redirect.status);
        reader.fault(Code::OutOfRange, node, what, "write 301, 302, 303, 307 or 308");
    }
    Some(redirect)
}

fn respond(reader: &mut Reader, node: &Node, key: &Key) -> Option<Respond> {
    let fields = inner(reader, node, key)?;
    let status = status(reader, &fields, "status").unwrap_or(200);
    // RFC 9110 section 6.4.1.
    if let Some(node) = fields.node("body").filter(|_| [204, 205, 304].contains(&status)) {
        let what = format!("an answer with {status} has no body");
        reader.within("body", |r| r.fault(Code::Conflict, node, what, "remove it, or write another status"));
    }
    Some(Respond {
        status,
        body: said(fields.read(reader, "body", text::text)).unwrap_or_default(),
        headers: folded(said(fields.read(reader, "headers", text::fields)).unwrap_or_default()),
    })
}

fn mirror(reader: &mut Reader, node: &Node, key: &Key) -> Option<Mirror> {
    let fields = inner(reader, node, key)?;
    let port = said(fields.read(reader, "port", text::number));
    let to = Backend {
        service: said(fields.read(reader, "service", text::text)),
        version: said(fields.read(reader, "version", text::text)),
        port: port.and_then(|port| u16::try_from(port).ok()),
        ..Backend::default()
    };
    Some(Mirror { to, share: share(reader, &fields) })
}

fn fault(reader: &mut Reader, node: &Node, key: &Key) -> Option<Injected> {
    let fields = inner(reader, node, key)?;
    let injected = Injected {
        delay: said(fields.read(reader, "delay", value::time)),
        abort: status(reader, &fields, "abort"),
        share: share(reader, &fields),
    };
    if fields.node("delay").or(fields.node("abort")).is_none() {
        reader.warn(
            node,
            "neither delay nor abort stand here, so that nothing is done",
            "write one of them, or both",
        );
    }
    Some(injected)
}

fn share(reader: &mut Reader, fields: &Fields<'_>) -> Share {
    said(fields.read(reader, "share", text::text))
        .and_then(|text| Share::parse(&text))
        .unwrap_or(Share::WHOLE)
}

fn status(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<u16> {
    said(fields.read(reader, name, text::number)).and_then(|status| u16::try_from(status).ok())
}
