//! `health.check`: the table of its keys, and how they are read.

use std::collections::{BTreeMap, BTreeSet};

use super::check_table::{CHECK_KEYS, GRPC_KEYS, HTTP_KEYS, PATH, SHORT};
use super::{number, time};
use crate::check::{Ask, Check, HttpAsk};
use crate::mesh::fault::{Code, Said};
use crate::mesh::node::{Node, Value};
use crate::mesh::reader::{Fields, Reader};
use crate::mesh::table::Key;
use crate::mesh::{duration, text, value};

/// The short form, or a mapping.
pub(super) fn read(reader: &mut Reader, node: &Node, _: &Key) -> Option<Check> {
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => {
            let what = "true does not say what is asked";
            reader.fault(Code::BadValue, node, what, format!("write {}", SHORT.help));
            None
        }
        Value::Scalar { .. } => short(reader, node),
        Value::List(_) => {
            let what = "a list stands where a check is wanted";
            reader.fault(Code::WrongType, node, what, format!("write {}", SHORT.help));
            None
        }
        Value::Null | Value::Mapping(_) => {
            let fields = reader.section(node, &CHECK_KEYS);
            Some(long(reader, node, &fields))
        }
    }
}

/// `http:8080/healthz`, `grpc`, `tcp:6379`, `off`.
fn short(reader: &mut Reader, node: &Node) -> Option<Check> {
    let text = text::formed(reader, node, &SHORT)?;
    let (kind, rest) = text.split_once(':').unwrap_or((&text, ""));
    let (port, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = match port {
        "" => None,
        port => Some(value::port_of_text(reader, node, port)?),
    };
    let ask = match kind {
        "off" => Ask::Off,
        "grpc" => Ask::Grpc(String::new()),
        "http" => Ask::Http(HttpAsk { path: path.to_owned(), ..HttpAsk::default() }),
        _ => Ask::Tcp,
    };
    Some(Check { ask: Some(ask), port, ..Check::default() })
}

fn long(reader: &mut Reader, node: &Node, fields: &Fields<'_>) -> Check {
    let http = fields.read(reader, "http", http).map(|said| Ask::Http(said.value));
    let grpc = fields.read(reader, "grpc", |reader, node, _| {
        let fields = reader.section(node, &GRPC_KEYS);
        Some(fields.read(reader, "service", text::text).map(|said| said.value).unwrap_or_default())
    });
    let tcp = fields.read(reader, "tcp", value::truth).map(|_| Ask::Tcp);
    let several = ["http", "grpc", "tcp"].iter().filter(|name| fields.node(name).is_some()).count();
    if several > 1 {
        let what = format!("{several} of http, grpc and tcp stand here");
        reader.fault(Code::Conflict, node, what, "keep the one that is to be asked");
    }
    let port = fields.read(reader, "port", text::number);
    let check = Check {
        ask: http.or(grpc.map(|said| Ask::Grpc(said.value))).or(tcp),
        port: port.and_then(|said| u16::try_from(said.value).ok()),
        interval: time(reader, fields, "interval"),
        timeout: time(reader, fields, "timeout"),
        healthy: number(reader, fields, "healthy"),
        unhealthy: number(reader, fields, "unhealthy"),
    };
    if let (Some(timeout), Some(interval), Some(at)) = (check.timeout, check.interval, fields.node("timeout"))
        && timeout > interval
    {
        let what = format!("one try may take {}, and the next would be due before", duration::print(timeout));
        let help = format!("write at most {}, the interval", duration::print(interval));
        reader.within("timeout", |reader| reader.warn(at, what, help));
    }
    check
}

/// A path, or a mapping.
fn http(reader: &mut Reader, node: &Node, _: &Key) -> Option<HttpAsk> {
    if let Value::Scalar { .. } = node.value {
        let path = text::formed(reader, node, &PATH)?;
        return Some(HttpAsk { path, ..HttpAsk::default() });
    }
    if let Value::List(_) = node.value {
        let what = "a list stands where a path is wanted";
        reader.fault(Code::WrongType, node, what, "write http: /healthz, say");
        return None;
    }
    let fields = reader.section(node, &HTTP_KEYS);
    Some(HttpAsk {
        path: said(fields.read(reader, "path", text::text)).unwrap_or_else(|| "/".to_owned()),
        host: said(fields.read(reader, "host", text::text)),
        headers: said(fields.read(reader, "headers", headers)).unwrap_or_default(),
        status: said(fields.read(reader, "status", statuses)).unwrap_or_default(),
        body: said(fields.read(reader, "body", text::text)),
    })
}

fn said<T>(said: Option<Said<T>>) -> Option<T> {
    said.map(|said| said.value)
}

/// RFC 9110 section 5.1: names are the same in any case.
fn headers(reader: &mut Reader, node: &Node, key: &Key) -> Option<BTreeMap<String, String>> {
    let written = text::fields(reader, node, key)?;
    let folded: BTreeMap<_, _> =
        written.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    if folded.len() != written.len() {
        let what = "the same header stands here twice, in upper and lower case";
        reader.fault(Code::Conflict, node, what, "keep one of the two");
    }
    Some(folded)
}

/// `200`, `200..299`, or a list of such.
fn statuses(reader: &mut Reader, node: &Node, _: &Key) -> Option<BTreeSet<(u16, u16)>> {
    let Value::List(items) = &node.value else { return Some([status(reader, node)?].into()) };
    let items = items.iter().enumerate();
    let read: Vec<_> =
        items.map(|(n, item)| reader.within(&n.to_string(), |reader| status(reader, item))).collect();
    read.into_iter().collect()
}

fn status(reader: &mut Reader, node: &Node) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let code = text.parse().ok().filter(|code| (100..=599).contains(code));
        code.filter(|_| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let range = |text: &str| {
        let (first, last) = text.split_once("..")?;
        Some((code(first)?, code(last)?))
    };
    let found = match &node.value {
        Value::Scalar { text, plain } => {
            range(text).or_else(|| code(text).filter(|_| *plain).map(|code| (code, code)))
        }
        Value::Null | Value::List(_) | Value::Mapping(_) => None,
    };
    match found {
        Some((first, last)) if first > last => {
            let what = format!("{first} is more than {last}");
            reader.fault(Code::OutOfRange, node, what, format!("write {last}..{first}"));
            None
        }
        None => {
            let what = format!("{} is no status code and no range of them", node.found());
            let help = "write a number from 100 to 599, a range such as 200..299, or a list of such";
            reader.fault(Code::BadValue, node, what, help);
            None
        }
        found => found,
    }
}

/// A JSON string is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As it stands in a mesh file.
pub(super) fn print(check: &Check) -> String {
    let Check { ask, port, interval, timeout, healthy, unhealthy } = check;
    let ask = match ask {
        None => None,
        // Nobody can write keys beside it.
        Some(Ask::Off) => return "off".to_owned(),
        Some(Ask::Tcp) => Some("tcp: true".to_owned()),
        Some(Ask::Grpc(service)) if service.is_empty() => Some("grpc: {}".to_owned()),
        Some(Ask::Grpc(service)) => Some(format!("grpc: {{ service: \"{service}\" }}")),
        Some(Ask::Http(ask)) => Some(format!("http: {}", print_http(ask))),
    };
    let keys = [
        ("port", port.map(|port| port.to_string())),
        ("interval", interval.map(duration::print)),
        ("timeout", timeout.map(duration::print)),
        ("healthy", healthy.map(|n| n.to_string())),
        ("unhealthy", unhealthy.map(|n| n.to_string())),
    ];
    let keys = keys.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    let all: Vec<_> = ask.into_iter().chain(keys).collect();
    if all.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", all.join(", ")) }
}

fn print_http(ask: &HttpAsk) -> String {
    let HttpAsk { path, host, headers, status, body } = ask;
    let mut all = vec![format!("path: {}", quoted(path))];
    all.extend(host.as_ref().map(|host| format!("host: {}", quoted(host))));
    if !headers.is_empty() {
        let headers = headers.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)));
        all.push(format!("headers: {{ {} }}", headers.collect::<Vec<_>>().join(", ")));
    }
    if !status.is_empty() {
        let status = status.iter().map(|(first, last)| format!("{first}..{last}"));
        all.push(format!("status: [ {} ]", status.collect::<Vec<_>>().join(", ")));
    }
    all.extend(body.as_ref().map(|body| format!("body: {}", quoted(body))));
    format!("{{ {} }}", all.join(", "))
}
