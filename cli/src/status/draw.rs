//! The status as text for people: tables, then what is wrong and what to do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::answer::{Endpoint, Gap, Port, Service, Sidecar, Status};
use super::faults::{Fault, sidecar_state, why_not};
use super::table::{Cell, Paint, Table, cell, painted, printable, wrap};
use super::{ejected, outside, zones};

/// Hex digits of a configuration version that are shown.
const VERSION_DIGITS: usize = 8;
/// Characters of a name that leaves no room beside it.
const LONG: usize = 40;
/// What has no value.
const NONE: &str = "–";

/// Everything, at `now` (Unix seconds).
pub fn status(status: &Status, faults: &[Fault], now: u64, color: bool) -> String {
    let mut text = heading(status, now, color);
    let sections = [
        ("Services", status.services.is_empty(), services(status)),
        ("Endpoints", status.services.is_empty(), endpoints(status)),
        ("Sidecars", status.sidecars.is_empty(), sidecars(status, now)),
        ("Edges", status.edges.is_empty(), edges(status)),
        ("Plaintext from outside", status.outsiders.is_empty(), outside::table(status, now)),
    ];
    for (title, empty, table) in sections {
        let body = if empty { "none yet\n".to_owned() } else { table.draw(color) };
        let _never_fails = write!(text, "\n{}\n{body}", Paint::Title.apply(title, color));
    }
    if !status.injections.is_empty() {
        let title = Paint::Title.apply("Injection", color);
        let _never_fails = write!(text, "\n{title}\n{}", injections(status).draw(color));
    }
    text.push_str(&outside::advice(status).unwrap_or_default());
    text.push('\n');
    text.push_str(&verdict(faults, color));
    text.push_str(&notes(status, now, color));
    text
}

/// Seconds as `3d4h`, `5h12m`, `7m` or `40s`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Who, where, since when; the sources; the gap between applications and their sidecars.
fn heading(status: &Status, now: u64, color: bool) -> String {
    let name = Paint::Title.apply(&format!("mesh {}", printable(&status.mesh)), color);
    let up = span(now.saturating_sub(status.started));
    let mut text = format!(
        "{name}, scope {}, trust domain {}, controller {}, up {up}\n",
        printable(&status.scope),
        printable(&status.trust_domain),
        printable(&status.version)
    );
    for source in &status.sources {
        let state = if source.current {
            Paint::Good.apply("current", color)
        } else {
            Paint::Bad.apply("stale", color)
        };
        let _never_fails =
            writeln!(text, "source {}: {state}, {}", printable(&source.name), printable(&source.about));
    }
    for service in &status.services {
        let Some(outside) = &service.outside else { continue };
        let instances = match outside.instances {
            1 => "1 instance".to_owned(),
            count => format!("{count} instances"),
        };
        let looked_up = match (outside.age_s, &outside.last_error) {
            (Some(age), None) => format!("looked up {} ago", span(age)),
            (Some(age), Some(_)) => Paint::Bad.apply(&format!("last looked up {} ago", span(age)), color),
            (None, Some(_)) => Paint::Bad.apply("cannot be looked up", color),
            (None, None) => "not looked up yet".to_owned(),
        };
        let (name, registry) = (key(service), printable(&outside.registry));
        // A long name has a line of its own.
        let gap = if name.chars().count() > LONG { "\n  " } else { " " };
        let _never_fails =
            writeln!(text, "outside {}:{gap}{registry}, {instances}, {looked_up}", printable(&name));
    }
    if let Gap { count: count @ 1.., median_ms: Some(median), max_ms: Some(longest) } = status.injection_gap {
        let _never_fails = writeln!(
            text,
            "injection: {median} ms from an application's start to its serving sidecar (median of {count}, longest {longest} ms)"
        );
    }
    text
}

fn services(status: &Status) -> Table {
    let mut table = Table::new(&["SERVICE", "PORT", ">READY", "HEALTH", "ADDRESS", "MODE"]);
    for service in &status.services {
        let name = key(service);
        let address = service.virtual_address.as_deref().unwrap_or(NONE);
        if service.ports.is_empty() {
            table.row([
                cell(&name),
                cell(NONE),
                cell("0/0"),
                painted("no port known", Paint::Warn),
                cell(address),
                outside::mode(status, service),
            ]);
        }
        for port in &service.ports {
            let ready = port.endpoints.iter().filter(|endpoint| endpoint.ready).count();
            let share = format!("{ready}/{}", port.endpoints.len());
            let number = format!("{}/{}", port.port, port.protocol);
            let mode = outside::mode(status, service);
            table.row([cell(&name), cell(number), cell(share), health(port, ready), cell(address), mode]);
        }
    }
    table
}

/// All good, or how many replicas are in which other state.
fn health(port: &Port, ready: usize) -> Cell {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for endpoint in port.endpoints.iter().filter(|endpoint| !endpoint.ready) {
        let state = match (endpoint.lifecycle.as_str(), endpoint.health.as_str()) {
            ("running", "healthy" | "unchecked") => "not ready",
            ("running", health) => health,
            (lifecycle, _) => lifecycle,
        };
        *states.entry(state).or_default() += 1;
    }
    let listed: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    match (port.endpoints.len(), ready) {
        (0, _) => painted("no replica", Paint::Warn),
        (_, 0) => painted(listed.join(", "), Paint::Bad),
        (total, ready) if total == ready => painted("ok", Paint::Good),
        _ => painted(listed.join(", "), Paint::Warn),
    }
}

fn endpoints(status: &Status) -> Table {
    let mut table = Table::new(&["ENDPOINT", "PORT", "ADDRESS", "VERSION", "STATE"]);
    for service in &status.services {
        for port in &service.ports {
            for endpoint in &port.endpoints {
                table.row([
                    cell(&endpoint.workload),
                    cell(port.port.to_string()),
                    cell(address(endpoint)),
                    cell(endpoint.version.as_deref().unwrap_or(NONE)),
                    if endpoint.ready {
                        painted(ready(endpoint), Paint::Good)
                    } else {
                        painted(why_not(endpoint), Paint::Warn)
                    },
                ]);
            }
        }
    }
    table
}

/// With its weight, where that is another than what all have.
fn ready(endpoint: &Endpoint) -> String {
    match endpoint.weight {
        None | Some(100) => "ready".to_owned(),
        Some(weight) => format!("ready, weight {weight}"),
    }
}

/// The first address, and how many more there are.
fn address(endpoint: &Endpoint) -> String {
    let mut all = endpoint.addresses.values().flatten();
    match (all.next(), all.count()) {
        (None, _) => NONE.into(),
        (Some(first), 0) => first.clone(),
        (Some(first), more) => format!("{first} +{more}"),
    }
}

fn sidecars(status: &Status, now: u64) -> Table {
    let zoned = status.sidecars.iter().any(|sidecar| sidecar.zone.is_some());
    let headings = ["SIDECAR OF", "STATE", "VERSION", "CONFIG", "CERTIFICATE", ">GAP", ">UNMESHED", "ZONE"];
    let mut table = Table::new(headings.get(..headings.len() - usize::from(!zoned)).unwrap_or(&headings));
    for sidecar in &status.sidecars {
        let state = sidecar_state(sidecar, now);
        let paint = match state {
            "ready" => Paint::Good,
            "starting" | "updating" | "upgrading" => Paint::Warn,
            _ => Paint::Bad,
        };
        let gap = sidecar.injection_gap_ms.map_or(NONE.into(), |ms| format!("{ms} ms"));
        let unmeshed = match sidecar.unmeshed_connections {
            0 => cell("0"),
            open => painted(open.to_string(), Paint::Warn),
        };
        let row = [
            cell(&sidecar.workload),
            painted(state, paint),
            cell(or_none(&sidecar.version)),
            cell(configuration(sidecar)),
            certificate(sidecar, now),
            cell(gap),
            unmeshed,
        ];
        let zone = zoned.then(|| cell(sidecar.zone.as_deref().unwrap_or(NONE)));
        table.row(row.into_iter().chain(zone));
    }
    table
}

/// The version that runs, and an arrow to the one that was sent if it differs.
fn configuration(sidecar: &Sidecar) -> String {
    let short = |version: &str| version.chars().take(VERSION_DIGITS).collect::<String>();
    let (runs, sent) = (short(&sidecar.config_version), short(&sidecar.sent_version));
    if sent.is_empty() || runs == sent {
        or_none(&runs).to_owned()
    } else {
        format!("{} → {sent}", or_none(&runs))
    }
}

/// How old it is and how much is left.
fn certificate(sidecar: &Sidecar, now: u64) -> Cell {
    match (sidecar.certificate_issued, sidecar.certificate_expires) {
        (Some(_), Some(end)) if end <= now => painted(format!("ended {} ago", span(now - end)), Paint::Bad),
        (Some(begin), Some(end)) => {
            cell(format!("{} old, {} left", span(now.saturating_sub(begin)), span(end - now)))
        }
        _ => painted("none", Paint::Warn),
    }
}

fn edges(status: &Status) -> Table {
    let mut table = Table::new(&["FROM", "TO", "PROTOCOL", "MTLS", ">REQUESTS", ">ERRORS"]);
    for edge in &status.edges {
        let mtls = if edge.mtls { painted("yes", Paint::Good) } else { painted("no", Paint::Warn) };
        let errors = match edge.errors {
            0 => cell("0"),
            errors => painted(errors.to_string(), Paint::Bad),
        };
        table.row([
            cell(&edge.source),
            cell(format!("{}:{}", edge.destination, edge.port)),
            cell(&edge.protocol),
            mtls,
            cell(edge.requests.to_string()),
            errors,
        ]);
    }
    table
}

fn injections(status: &Status) -> Table {
    let mut table = Table::new(&["SERVICE", "REVISION", "STATE"]);
    for injection in &status.injections {
        let paint = match injection.state.as_str() {
            "meshed" => Paint::Good,
            "refused" => Paint::Bad,
            _ => Paint::Warn,
        };
        table.row([cell(&injection.service), cell(&injection.revision), painted(&injection.state, paint)]);
    }
    table
}

/// What is done, awaited, or would be done; why one is refused is said among what is wrong.
fn on_their_way(status: &Status) -> impl Iterator<Item = (String, String)> {
    let settled = |state: &str| ["meshed", "refused"].contains(&state);
    let others = status.injections.iter().filter(move |injection| !settled(&injection.state));
    others.map(|injection| (format!("service {}", injection.service), injection.what.clone()))
}

fn verdict(faults: &[Fault], color: bool) -> String {
    if faults.is_empty() {
        return format!("{}\n", Paint::Good.apply("Nothing is wrong.", color));
    }
    let count = format!(
        "{} wrong:",
        if faults.len() == 1 { "1 thing is".into() } else { format!("{} things are", faults.len()) }
    );
    let mut text = format!("{}\n", Paint::Bad.apply(&count, color));
    for fault in faults {
        let _never_fails = write!(text, "  {}\n{}", printable(&fault.subject), wrap(&fault.what, 4));
    }
    text
}

/// What is not wrong, but good to know.
fn notes(status: &Status, now: u64, color: bool) -> String {
    let warnings = status.problems.iter().filter(|problem| problem.is_warning());
    let warnings = warnings.map(|warning| (warning.subject.clone(), warning.what.clone()));
    let mut text = String::new();
    for (subject, what) in warnings
        .chain(sick(status))
        .chain(on_their_way(status))
        .chain(ejected::notes(status, now))
        .chain(zones::notes(status))
    {
        if text.is_empty() {
            let _never_fails = writeln!(text, "{}", Paint::Warn.apply("To know:", color));
        }
        let _never_fails = write!(text, "  {}\n{}", printable(&subject), wrap(&what, 4));
    }
    text
}

/// Replicas whose health check fails while others serve; where none does, that is a fault.
fn sick(status: &Status) -> impl Iterator<Item = (String, String)> {
    let ports = status.services.iter().flat_map(|service| &service.ports);
    let served = ports.filter(|port| port.endpoints.iter().any(|endpoint| endpoint.ready));
    served.flat_map(|port| {
        let out = port.endpoints.iter().filter(|endpoint| !endpoint.ready);
        out.filter_map(|endpoint| {
            let reason = endpoint.reason.as_ref().filter(|reason| reason.contains("health check fails"))?;
            Some((
                format!("endpoint {}:{}", endpoint.workload, port.port),
                format!("takes no traffic: {reason}"),
            ))
        })
    })
}

fn key(service: &Service) -> String {
    format!("{}.{}", service.name, service.namespace)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}
