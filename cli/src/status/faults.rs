//! What is wrong in a mesh, from its status: what the controller says, and what its numbers say.

use super::answer::{Endpoint, Service, Sidecar, Status};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is about.
    pub subject: String,
    /// What is wrong, and the way out.
    pub what: String,
}

/// Everything that is wrong at `now` (Unix seconds); none: the mesh is sound.
pub fn find(status: &Status, now: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |subject: &str, what: String| faults.push(Fault { subject: subject.to_owned(), what });
    if !status.ready {
        fault(
            "controller",
            "not ready: a source has not given its first view yet, or the control socket does not \
            listen. If this lasts, read the controller's log"
                .into(),
        );
    }
    for source in status.sources.iter().filter(|source| !source.current) {
        let why = source.last_error.as_deref().unwrap_or("no view yet");
        let shown = match source.age_s {
            Some(age) => format!("What is shown is {} old. ", super::draw::span(age)),
            None => String::new(),
        };
        fault(
            &format!("source {}", source.name),
            format!(
                "{why}. {shown}Sidecars serve on; changes are not followed until the source answers again"
            ),
        );
    }
    for problem in status.problems.iter().filter(|problem| !problem.is_warning()) {
        fault(&format!("{} ({})", problem.subject, problem.kind), problem.what.clone());
    }
    for service in &status.services {
        for (port, what) in unserved(service) {
            fault(&format!("service {}.{}:{port}", service.name, service.namespace), what);
        }
    }
    for sidecar in &status.sidecars {
        if let Some(what) = sidecar_fault(sidecar, now) {
            fault(&format!("sidecar {}", sidecar.workload), what);
        }
    }
    faults
}

/// Ports that have replicas of which none takes traffic.
fn unserved(service: &Service) -> impl Iterator<Item = (u16, String)> {
    let dark = service
        .ports
        .iter()
        .filter(|port| !port.endpoints.is_empty() && port.endpoints.iter().all(|endpoint| !endpoint.ready));
    dark.map(|port| {
        let reasons: Vec<String> =
            port.endpoints.iter().map(|e| format!("{} ({})", e.workload, why_not(e))).collect();
        let what =
            format!("no replica takes traffic: {}. Calls wait up to 10 s, then fail", reasons.join(", "));
        (port.port, what)
    })
}

/// Why an endpoint takes no traffic.
pub fn why_not(endpoint: &Endpoint) -> String {
    match (&endpoint.reason, endpoint.lifecycle.as_str(), endpoint.health.as_str()) {
        (Some(reason), _, _) => reason.clone(),
        (None, "running", "healthy" | "unchecked") => "not ready".into(),
        (None, "running", health) => health.to_owned(),
        (None, lifecycle, _) => lifecycle.to_owned(),
    }
}

/// Where a sidecar is in its life, in a word or two.
pub fn sidecar_state(sidecar: &Sidecar, now: u64) -> &'static str {
    match sidecar {
        Sidecar { container: None, .. } => "missing",
        Sidecar { certificate_expires: Some(end), .. } if *end <= now => "expired",
        Sidecar { last_nack: Some(_), .. } => "refused config",
        Sidecar { connected: false, .. } => "disconnected",
        Sidecar { upgrading: true, .. } => "upgrading",
        Sidecar { ready: false, .. } => "starting",
        Sidecar { config_version, sent_version, .. } if config_version != sent_version => "updating",
        _ => "ready",
    }
}

fn sidecar_fault(sidecar: &Sidecar, now: u64) -> Option<String> {
    let container = sidecar.container.as_deref().unwrap_or_default();
    Some(match sidecar_state(sidecar, now) {
        "missing" => "there is none, so this replica is not meshed: nothing captures its traffic, or what was captured \
            is refused. The controller makes one when the application starts; restart the application, and read the \
            controller's log if that does not help"
            .into(),
        "refused config" => format!(
            "it refused a configuration and runs the one before: {}. A sidecar older than the controller does that \
             where a new feature is used: upgrade it: outrigger upgrade",
            sidecar.last_nack.as_deref().unwrap_or_default()
        ),
        "disconnected" => format!(
            "its control stream is closed; it serves on what it holds and connects again by itself. If it does not: \
             docker logs {container}"
        ),
        "expired" => format!(
            "its certificate has ended, so peers refuse it. It renews by itself while it is connected: docker logs {container}"
        ),
        "starting" => format!("not ready yet: no certificate, no configuration, or a port taken: docker logs {container}"),
        _ => return None,
    })
}
