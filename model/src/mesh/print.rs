//! A checked mesh as a mesh file: read again, it is the same mesh.

use std::collections::BTreeSet;
use std::fmt;

use super::{Limits, Mesh, Said, Service, cloud_map, duration, policy, proxy_protocol};
use crate::Policy;

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = &self.mode {
            writeln!(f, "mode: {}", mode.value.as_str())?;
        }
        if self.defaults != Limits::default() || self.policy != Policy::default() {
            writeln!(f, "defaults:")?;
            limits(f, "  ", &self.defaults)?;
            policy::print(f, "  ", &self.policy)?;
        }
        if !self.services.is_empty() {
            writeln!(f, "services:")?;
        }
        for (name, said) in &self.services {
            if *said == Service::default() {
                writeln!(f, "  \"{name}\": {{}}")?;
            } else {
                writeln!(f, "  \"{name}\":")?;
                service(f, said)?;
            }
        }
        Ok(())
    }
}

fn service(f: &mut fmt::Formatter<'_>, said: &Service) -> fmt::Result {
    if let Some(ports) = &said.ports {
        let ports = ports.value.iter().map(|(port, protocol)| format!("{port}: {}", protocol.as_str()));
        writeln!(f, "    ports: {{ {} }}", joined(ports))?;
    }
    if let Some(mode) = &said.mode {
        writeln!(f, "    mode: {}", mode.value.as_str())?;
    }
    if let Some(capture) = &said.capture {
        writeln!(f, "    capture: {}", capture.value.as_str())?;
    }
    if let Some(edge) = &said.edge {
        writeln!(f, "    edge: {}", edge_ports(&edge.value))?;
    }
    if let Some(address) = &said.app_address {
        writeln!(f, "    app-address: \"{}\"", address.value)?;
    }
    if let Some(upstreams) = &said.upstreams {
        let upstreams = upstreams.value.iter();
        let upstreams = upstreams.map(|(local, to)| format!("{local}: \"{}:{}\"", to.service, to.port));
        writeln!(f, "    upstreams: {{ {} }}", joined(upstreams))?;
    }
    if let Some(said) = &said.proxy_protocol {
        proxy_protocol::print(f, &said.value)?;
    }
    if let Some(said) = &said.cloud_map {
        cloud_map::print(f, &said.value)?;
    }
    limits(f, "    ", &said.limits)?;
    policy::print(f, "    ", &said.policy)?;
    if let Some(limits) = &said.rate_limits {
        super::rates::print(f, &limits.value)?;
    }
    said.routes.as_ref().map_or(Ok(()), |routes| super::routes::print(f, &routes.value))
}

fn limits(f: &mut fmt::Formatter<'_>, indent: &str, limits: &Limits) -> fmt::Result {
    let Limits { request, idle, stream, stream_idle, connect, pass_on } = limits;
    for (name, time) in [
        ("timeout", request),
        ("idle-timeout", idle),
        ("stream-timeout", stream),
        ("stream-idle-timeout", stream_idle),
        ("connect-timeout", connect),
    ] {
        if let Some(Said { value, .. }) = time {
            writeln!(f, "{indent}{name}: {}", duration::print(*value))?;
        }
    }
    if let Some(Said { value, .. }) = pass_on {
        writeln!(f, "{indent}deadline: {}", if *value { "passed-on" } else { "own" })?;
    }
    Ok(())
}

pub(super) fn edge_ports(ports: &BTreeSet<u16>) -> String {
    match ports.is_empty() {
        true => super::value::NONE.to_owned(),
        false => format!("[ {} ]", joined(ports.iter().map(u16::to_string))),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
