//! Containers for tests.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::{Attachment, Health};

use super::record::{Container, Instance, Run};
use super::tracker::Containers;

/// A running container with these labels, on the network `net`.
pub fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    let addresses = vec!["10.0.0.2".parse().unwrap()];
    Container {
        id: format!("id-{name}"),
        name: name.to_owned(),
        image: "sha256:1".to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        created: 1,
        run: Run::Running(instance("2026-11-23T10:00:00Z", 4711)),
        health: Health::Unchecked,
        network_mode: "net".to_owned(),
        networks: BTreeMap::from([(
            "net-id".to_owned(),
            Attachment { network: "net".to_owned(), addresses },
        )]),
        aliases: BTreeSet::new(),
        exposed: BTreeSet::from([8080]),
        published: BTreeSet::new(),
        user: String::new(),
        stop_signal: libc::SIGTERM,
        stop_timeout: 10,
        platform: "linux".to_owned(),
        mounts: BTreeMap::new(),
        start_error: String::new(),
        stopping: false,
    }
}

/// One of compose: project, service, number.
pub fn composed(project: &str, service: &str, labels: &[(&str, &str)]) -> Container {
    let compose = [("com.docker.compose.project", project), ("com.docker.compose.service", service)];
    container(&format!("{project}-{service}-1"), &[&compose[..], labels].concat())
}

/// A run.
pub fn instance(started: &str, pid: u32) -> Instance {
    Instance { started: started.to_owned(), pid }
}

/// By id.
pub fn containers(all: impl IntoIterator<Item = Container>) -> Containers {
    all.into_iter().map(|container| (container.id.clone(), container)).collect()
}

/// The sidecar of an application, of the mesh `shop`.
pub fn sidecar_of(app: &Container) -> Container {
    let started = app.instance().map(|instance| instance.started.clone()).unwrap_or_default();
    let labels = [
        ("outrigger.managed", "sidecar"),
        ("outrigger.mesh", "shop"),
        ("outrigger.workload", app.id.as_str()),
        ("outrigger.instance", started.as_str()),
    ];
    let mut sidecar = container(&format!("{}-outrigger", app.name), &labels);
    sidecar.run = Run::Running(instance("2026-11-23T10:00:01Z", 4712));
    sidecar
}
