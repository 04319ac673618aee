//! `proxy-protocol` of a service: the table of its keys, how they are read and printed.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::fault::Code;
use super::node::{Node, Value, shown};
use super::print::edge_ports;
use super::reader::Reader;
use super::table::{Key, Kind, Section, Text};
use super::{text, value};
use crate::ProxyProtocol;

pub(super) const KEY: Key = Key {
    name: "proxy-protocol",
    kind: Kind::Section(&SECTION),
    label: Some("proxy-protocol"),
    about: "Ports where the PROXY protocol says who the client is, because a load balancer stands in between.",
    default: "none: whoever opens the connection is the client",
    example: "{ in: [ 443 ], from: 10.0.0.0/8 }",
};

const SECTION: Section = Section {
    keys: &[
        Key {
            name: "in",
            kind: Kind::PortList,
            label: None,
            about: "Ports where plaintext connections from outside the mesh begin with a header, version 1 or 2. One that does \
                    not is closed. Calls of the mesh have none.",
            default: "none",
            example: "[ 443 ]",
        },
        Key {
            name: "from",
            kind: Kind::Texts(&RANGE),
            label: None,
            about: "The addresses of the load balancers: only their connections begin with a header. Without it all do, and \
                    whoever reaches the port may say that it is anybody.",
            default: "everybody",
            example: "[ 10.0.0.0/8, \"fd00::/8\" ]",
        },
        Key {
            name: "out",
            kind: Kind::PortList,
            label: None,
            about: "Ports where the application gets a header of version 2 first on each connection: the client's address, and for \
                    a caller of the mesh its SPIFFE id (PP2_SUBTYPE_SSL_CN).",
            default: "none",
            example: "[ 5432 ]",
        },
    ],
};

/// Addresses with a common prefix (CIDR), or one address.
const RANGE: Text = Text {
    what: "a range of addresses",
    pattern: "^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12]?[0-9]))?\
              |[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$",
    help: "an address and how many of its bits count, such as 10.0.0.0/8 or fd00::/8",
    regex: false,
    except: &[],
};

/// All of it, or nothing: `from` left out would mean everybody.
pub(super) fn read(reader: &mut Reader, node: &Node, key: &Key) -> Option<ProxyProtocol> {
    let Kind::Section(section) = key.kind else { return None };
    let section: &'static Section = section;
    let before = reader.faults.len();
    let fields = reader.section(node, section);
    let said = ProxyProtocol {
        accept: fields
            .read(reader, "in", value::port_list_or_none)
            .map_or_else(BTreeSet::new, |said| said.value),
        from: fields.read(reader, "from", ranges).map_or_else(BTreeSet::new, |said| said.value),
        send: fields
            .read(reader, "out", value::port_list_or_none)
            .map_or_else(BTreeSet::new, |said| said.value),
    };
    if reader.faults.len() > before {
        return None;
    }
    let unreadable =
        fields.node("in").is_some_and(|node| node.text() != Some(value::NONE)) && said.accept.is_empty();
    if let Some(node) = fields.node("from").filter(|_| said.accept.is_empty() && !unreadable) {
        let help = "write in: with the ports where they send a header, or remove it";
        reader.within("from", |reader| reader.warn(node, "from changes nothing without in", help));
    }
    Some(said)
}

/// An empty list would read as "nobody" and mean "everybody".
fn ranges(reader: &mut Reader, node: &Node, key: &Key) -> Option<BTreeSet<IpNet>> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let help = "write the addresses of the load balancers, or remove from: if everybody sends a header";
        reader.fault(Code::BadValue, node, "an empty list names nobody", help);
        return None;
    }
    let said = text::texts(reader, node, key)?;
    let mut ranges = BTreeSet::new();
    for text in &said {
        match range(text) {
            Some(range) => drop(ranges.insert(range)),
            None => {
                let what = format!("{} is not a range of addresses", shown(text));
                reader.fault(Code::BadValue, node, what, format!("write {}", RANGE.help));
            }
        }
    }
    (!ranges.is_empty()).then_some(ranges)
}

/// Bits beyond the prefix do not count.
fn range(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address).map(|range| range.trunc())
}

pub(super) fn print(f: &mut fmt::Formatter<'_>, said: &ProxyProtocol) -> fmt::Result {
    let ProxyProtocol { accept, from, send } = said;
    let mut keys = Vec::new();
    if !accept.is_empty() {
        keys.push(format!("in: {}", edge_ports(accept)));
    }
    if !from.is_empty() {
        let from: Vec<String> = from.iter().map(|range| format!("\"{range}\"")).collect();
        keys.push(format!("from: [ {} ]", from.join(", ")));
    }
    if !send.is_empty() {
        keys.push(format!("out: {}", edge_ports(send)));
    }
    writeln!(f, "    proxy-protocol: {{ {} }}", keys.join(", "))
}
