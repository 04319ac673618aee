//! Records for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_model::Health;
use outrigger_model::label::MANAGED;

use super::record::{
    Definition, DefinitionContainer, NetworkMode, Reported, Seen, Service, Stage, Task, TaskContainer,
};

pub const CLUSTER: &str = "arn:aws:ecs:eu-west-1:111122223333:cluster/shop";

/// A task of service `cart` that runs, the `n`th.
pub fn task(n: u32) -> Task {
    let id = format!("{n:032x}");
    Task {
        arn: format!("arn:aws:ecs:eu-west-1:111122223333:task/shop/{id}"),
        id,
        cluster: CLUSTER.into(),
        group: "service:cart".into(),
        service: Some("cart".into()),
        definition: definition().arn,
        role: None,
        last_status: Stage::Running,
        desired_status: Stage::Running,
        health: Health::Unchecked,
        addresses: vec![[10, 0, 0, u8::try_from(n % 250).unwrap()].into()],
        zone: Some("eu-west-1a".into()),
        container_instance: None,
        started_by: None,
        containers: vec![container("app"), container("outrigger-sidecar")],
        version: 4,
        stopped: None,
    }
}

pub fn container(name: &str) -> TaskContainer {
    TaskContainer {
        name: name.into(),
        runtime_id: Some(format!("{name}-1")),
        last_status: Stage::Running,
        health: Reported::Unknown,
        bindings: BTreeMap::new(),
    }
}

/// Cart's definition, meshed.
pub fn definition() -> Definition {
    let app = defined("app", &[("outrigger.port", "8080/http")]);
    let sidecar = defined("outrigger-sidecar", &[(MANAGED, "sidecar"), ("outrigger.capture", "platform")]);
    Definition {
        arn: "arn:aws:ecs:eu-west-1:111122223333:task-definition/cart:3".into(),
        family: "cart".into(),
        revision: 3,
        role: Some("arn:aws:iam::111122223333:role/cart".into()),
        network_mode: NetworkMode::Awsvpc,
        labels: app.labels.clone(),
        sidecar: true,
        containers: vec![app, sidecar],
        windows: false,
    }
}

pub fn defined(name: &str, labels: &[(&str, &str)]) -> DefinitionContainer {
    DefinitionContainer {
        name: name.into(),
        image: format!("{name}:1"),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        essential: true,
        checked: false,
        ports: BTreeSet::new(),
        user: String::new(),
    }
}

/// Service `cart`, behind a load balancer.
pub fn service() -> Service {
    Service {
        arn: "arn:aws:ecs:eu-west-1:111122223333:service/shop/cart".into(),
        name: "cart".into(),
        cluster: CLUSTER.into(),
        status: "ACTIVE".into(),
        definition: definition().arn,
        targets: [("app".to_owned(), 8080)].into(),
        tags: BTreeMap::new(),
    }
}

/// All of them.
pub fn seen(tasks: Vec<Task>, definition: Definition, services: Vec<Service>) -> Seen {
    let tasks = tasks.into_iter().map(|task| (task.workload(), Arc::new(task)));
    let services = services.into_iter().map(|service| (service.arn.clone(), Arc::new(service)));
    Seen {
        tasks: Arc::new(tasks.collect()),
        definitions: Arc::new([(definition.arn.clone(), Arc::new(definition))].into()),
        services: Arc::new(services.collect()),
        current: true,
        ..Seen::default()
    }
}
