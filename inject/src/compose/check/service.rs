//! What one service alone can be refused, or warned, for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use outrigger_model::label::{self, ENABLE};
use outrigger_model::mesh::{Fault, Mesh, Severity};
use outrigger_model::{Capture, Declared, Mode, ServiceKey};
use outrigger_wire::port::{RESERVED, UID};
use serde_yaml::{Mapping, Value};

use super::{Candidate, service_name};
use crate::Remark;
use crate::compose::port::{Host, Port, ports, published, targets};
use crate::compose::project::{Kind, Network, Service, Survey, said_replicas};
use crate::compose::tree::{field, is_open, names};

/// Most replicas of one service that are written out: each is four services of the file.
const MOST_REPLICAS: u32 = 100;
/// What `network_mode` may leave an application without.
const NO_NETWORK: &str =
    "there is no network of its own to mesh: give it a network, or set outrigger.enable to \"false\"";

/// Faults in the labels of a service that is not to be meshed.
pub fn labels(service: &Service<'_>, survey: &Survey) -> Vec<Remark> {
    match survey.kind_of(service.name) {
        Kind::Part(_) | Kind::Done => Vec::new(),
        _ => faults(service, label::parse(&service.labels, &service_name(service)).err()),
    }
}

fn faults(service: &Service<'_>, found: Option<Vec<Fault>>) -> Vec<Remark> {
    found.into_iter().flatten().map(|fault| Remark::of(service.name, fault.to_string())).collect()
}

/// Looks at a service that is to be meshed.
///
/// # Errors
/// Every reason against it.
pub fn candidate<'a>(
    service: &'a Service<'a>,
    mesh: &Mesh,
    namespace: &str,
) -> Result<Candidate<'a>, Vec<Remark>> {
    let mut labels: BTreeMap<String, String> = service.labels.clone();
    labels.insert(ENABLE.to_owned(), "true".to_owned());
    let labels = label::read(&labels);
    let name = labels.service.clone().unwrap_or_else(|| service_name(service));
    let key = ServiceKey { namespace: namespace.to_owned(), service: name };
    let ports = ports(service.body);
    let (declared, found) = mesh.declare(&key, &labels, &published(service.body));
    let (wrong, overruled): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|fault| fault.severity == Severity::Error);
    let mut reasons: Vec<String> = Vec::new();
    reasons.extend(network(service));
    reasons.extend(user(service.body));
    reasons.extend(not_a_service(service.body));
    let replicas = match replicas(service.body) {
        Ok(replicas) => {
            reasons.extend(one_only(service.body, &ports, replicas));
            replicas
        }
        Err(reason) => {
            reasons.push(reason);
            1
        }
    };
    if wrong.is_empty() {
        reasons.extend(reserved(&declared, &ports));
        reasons.extend(capture(&declared));
        reasons.extend(unnameable(&declared.service));
    }
    let reasons = reasons.into_iter().map(|reason| Remark::of(service.name, reason));
    let refusals: Vec<Remark> = reasons.chain(faults(service, Some(wrong))).collect();
    if refusals.is_empty() {
        Ok(Candidate { service, declared, ports, replicas, overruled })
    } else {
        Err(refusals)
    }
}

fn network(service: &Service<'_>) -> Option<String> {
    match &service.network {
        Network::Foreign(mode) => Some(format!("network_mode: {mode}: {NO_NETWORK}")),
        Network::Open(mode) => Some(format!(
            "network_mode: {mode}: a variable cannot say it, since it decides what is written: write it out"
        )),
        Network::Own | Network::Mode(_) | Network::Service(_) => None,
    }
}

/// Capture exempts the sidecar's UID and GID together. A UID without a group has the group that the image gives it,
/// which is not known here; and the controller would not mesh any container of that UID.
pub fn user(body: &Mapping) -> Option<String> {
    let user = field(body, "user")?;
    let uid = user.split(':').next().unwrap_or_default().trim().to_owned();
    (uid.trim_start_matches('0') == UID.to_string()).then(|| {
        format!(
            "user: {user}: UID {UID} is the sidecar's, whose traffic is not captured: give it another user"
        )
    })
}

fn not_a_service(body: &Mapping) -> Option<String> {
    if body.contains_key("provider") {
        return Some("is not a container (`provider`): take its label outrigger.enable off".into());
    }
    let mode = body.get("deploy").and_then(|deploy| deploy.get("mode")).and_then(Value::as_str)?;
    (mode != "replicated").then(|| {
        format!(
            "deploy.mode: {mode}: replicas are written out, so their number must be known: write `replicated`"
        )
    })
}

/// `scale`, or `deploy.replicas`; 1 unless said.
fn replicas(body: &Mapping) -> Result<u32, String> {
    let Some((key, count)) = said_replicas(body) else { return Ok(1) };
    match count.parse() {
        Ok(count) if count <= MOST_REPLICAS => Ok(count),
        Ok(count) => Err(format!(
            "{key}: {count}: more than {MOST_REPLICAS} replicas are not written out: write fewer, or set outrigger.enable to \"false\""
        )),
        Err(_) if is_open(&count) => Err(format!(
            "{key}: {count}: replicas are written out, so their number must be known: write a number, or give --interpolate"
        )),
        Err(_) => Err(format!("{key}: {count}: write a whole number")),
    }
}

/// What two replicas cannot both have.
fn one_only(body: &Mapping, ports: &[Port], replicas: u32) -> Vec<String> {
    if replicas < 2 {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(name) = field(body, "container_name") {
        found.push(format!("container_name: {name}: {replicas} replicas cannot share it: take it out"));
    }
    for port in ports {
        if let Host::Fixed(count) = port.host
            && count < replicas
        {
            found.push(format!(
                "ports: {}: only one of {replicas} replicas could have the host's port: write the container's port alone, or a \
                 range for the host",
                port.written
            ));
        }
    }
    let networks = body.get("networks").and_then(Value::as_mapping).into_iter().flatten();
    let attachments =
        networks.filter_map(|(name, attachment)| Some((name.as_str()?, attachment.as_mapping()?)));
    for (network, attachment) in attachments {
        let keys = ["ipv4_address", "ipv6_address", "link_local_ips", "mac_address"];
        for key in keys.into_iter().filter(|key| attachment.get(*key).is_some_and(|value| !value.is_null())) {
            found.push(format!("networks.{network}.{key}: {replicas} replicas cannot share it: take it out"));
        }
    }
    if let Some(address) = field(body, "mac_address") {
        found.push(format!("mac_address: {address}: {replicas} replicas cannot share it: take it out"));
    }
    found
}

fn reserved(declared: &Declared, ports: &[Port]) -> Vec<String> {
    let own = targets(ports);
    let used = |port: &u16| own.contains(port) || declared.ports.contains_key(port);
    let reserved = RESERVED.into_iter().filter(used);
    reserved
        .map(|port| {
            format!("uses port {port}, which is the sidecar's: have the application listen on another port")
        })
        .collect()
}

fn capture(declared: &Declared) -> Option<String> {
    let loopback = declared.app_address.is_some_and(|address| address.is_loopback());
    match declared.capture {
        Capture::Platform => Some("outrigger.capture: platform is for Amazon ECS: take the label off".into()),
        capture if declared.mode == Mode::Strict && !capture.takes_inbound() && !loopback => Some(format!(
            "outrigger.mode: strict could be gone around, since capture `{}` does not take what comes in: capture `transparent`, \
             or have the application listen on 127.0.0.1 only and write outrigger.app-address: 127.0.0.1",
            capture.as_str()
        )),
        _ => None,
    }
}

fn unnameable(service: &str) -> Option<String> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let fits = (1..=63).contains(&service.len()) && service.bytes().all(letters);
    (!fits).then(|| {
        "its name cannot be the name of a service (a-z, 0-9, - and _, at most 63): write the label outrigger.service: cart, say"
            .into()
    })
}

/// What lets a service out of its namespace's rules, whether it is meshed or joins one that is.
pub fn powers(service: &Service<'_>) -> Vec<Remark> {
    let risky = |capability: &String| {
        let name = capability.to_ascii_uppercase();
        ["NET_ADMIN", "ALL"].contains(&name.trim_start_matches("CAP_"))
    };
    let privileged = field(service.body, "privileged").is_some_and(|flag| flag == "true");
    let privileged = privileged.then(|| "privileged".to_owned());
    let added = names(service.body.get("cap_add")).into_iter().filter(risky);
    let powers = privileged.into_iter().chain(added.map(|capability| format!("cap_add: {capability}")));
    powers
        .map(|power| {
            let what = format!("{power}: it can take the redirect rules away, and so leave the mesh");
            Remark::of(service.name, what)
        })
        .collect()
}

/// What a user should know about a service that is meshed.
pub fn warnings(candidate: &Candidate<'_>) -> Vec<Remark> {
    let mut found: Vec<String> = Vec::new();
    for port in candidate.ports.iter().filter(|port| port.target.is_none() || port.host == Host::Open) {
        let host = candidate.replicas > 1 && port.host == Host::Open;
        match (&port.target, host) {
            (None, _) => found.push(format!(
                "ports: {}: a variable says it, so nobody checked that it is none of the sidecar's ({})",
                port.written,
                RESERVED.map(|port| port.to_string()).join(", ")
            )),
            (Some(_), true) => found.push(format!(
                "ports: {}: a variable says it: it must stay empty, or be a range, since only one of {} replicas could have one port",
                port.written, candidate.replicas
            )),
            (Some(_), false) => {}
        }
    }
    if candidate.replicas > 1 {
        let name = candidate.service.name;
        found.push(format!(
            "its {} replicas are written out ({name}, {name}-2, …), and --scale does not apply to it any more: change the number where \
             it came from, and inject again",
            candidate.replicas
        ));
    }
    let found = found.into_iter().map(|what| Remark::of(candidate.service.name, what));
    let overruled = faults(candidate.service, Some(candidate.overruled.clone()));
    powers(candidate.service).into_iter().chain(found).chain(overruled).collect()
}

/// True for an application that is said to listen on loopback only.
pub fn on_loopback(declared: &Declared) -> bool {
    declared.app_address.as_ref().is_some_and(IpAddr::is_loopback)
}
