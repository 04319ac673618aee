//! Projects put together at random from all that injection reads: whatever they are, what comes out holds together.
//! A failure names its seed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;

use fastrand::Rng;
use outrigger_inject::compose::{Options, Value, inject, overlay, read, render};

/// How many projects are tried.
const TRIES: u64 = 400;
/// Fields that a service may have, as lines of YAML; `OTHER` stands for another service.
const FIELDS: [&str; 34] = [
    "image: x",
    "build: { context: . }",
    "scale: 2",
    "deploy: { replicas: 3, resources: { limits: { cpus: '1' } } }",
    "deploy: { replicas: 0 }",
    "deploy: { mode: global }",
    "ports: [ '80', '127.0.0.1::81', 8000-8009:82/tcp ]",
    "ports: [ '8080:80' ]",
    "ports: [ { target: 80, published: '8080' } ]",
    "ports: [ '${PORT:-80}:${TARGET}' ]",
    "expose: [ 15001 ]",
    "expose: [ 9000 ]",
    "networks: [ default, back ]",
    "networks: { back: { aliases: [ x, y ], ipv4_address: 10.0.0.9 } }",
    "networks: { back: null }",
    "network_mode: service:OTHER",
    "network_mode: bridge",
    "network_mode: host",
    "depends_on: [ OTHER ]",
    "depends_on: { OTHER: { condition: service_healthy, restart: true } }",
    "links: [ OTHER, 'OTHER:alias' ]",
    "volumes_from: [ OTHER ]",
    "sysctls: [ net.core.somaxconn=1, kernel.msgmax=2 ]",
    "sysctls: { net.core.somaxconn: 1 }",
    "hostname: h",
    "extra_hosts: [ 'a:1.2.3.4' ]",
    "dns: 1.1.1.1",
    "restart: always",
    "restart: 'no'",
    "profiles: [ debug ]",
    "user: '61337'",
    "container_name: named",
    "environment: { A: 'yes', B: '22:22' }",
    "cap_add: [ NET_ADMIN ]",
];
const LABELS: [&str; 9] = [
    "outrigger.enable: 'true'",
    "outrigger.enable: 'false'",
    "outrigger.capture: names",
    "outrigger.capture: explicit",
    "outrigger.upstreams: cart:80=9001",
    "outrigger.port: 80/http",
    "outrigger.mode: strict",
    "outrigger.service: shared",
    "team: x",
];
const NAMES: [&str; 6] = ["cart", "web", "db", "cart-2", "web-holder", "load"];

fn project(rng: &mut Rng) -> Value {
    let mut text = "services:\n".to_owned();
    let count = rng.usize(1..=5);
    let mut names: Vec<&str> = NAMES.to_vec();
    if rng.u8(..) < 200 {
        names.retain(|name| !name.contains('-'));
    }
    rng.shuffle(&mut names);
    for (at, name) in names.iter().take(count).enumerate() {
        text += &format!("  {name}:\n    image: {name}\n");
        let mut taken: BTreeSet<&str> = ["image"].into();
        for _ in 0..rng.usize(0..6) {
            let field = rng.choice(FIELDS).unwrap();
            // Only to services before this one, so that the project itself has no circle.
            let other = names[..at].first().map(|_| names[rng.usize(0..at)]);
            let key = field.split(':').next().unwrap();
            let clash = key == "networks" && taken.contains("network_mode")
                || key == "network_mode" && taken.contains("networks");
            if let (true, false) = (!field.contains("OTHER") || other.is_some(), clash)
                && taken.insert(key)
            {
                text += &format!("    {}\n", field.replace("OTHER", other.unwrap_or_default()));
            }
        }
        let labels: BTreeSet<&str> = (0..rng.usize(0..4)).filter_map(|_| rng.choice(LABELS)).collect();
        let mut keys = BTreeSet::new();
        let labels = labels.into_iter().filter(|label| keys.insert(label.split(':').next().unwrap()));
        text += &format!("    labels: {{ {} }}\n", labels.collect::<Vec<_>>().join(", "));
    }
    let whole = rng.bool();
    text += &format!(
        "  outrigger:\n    image: outrigger-controller:1\n    labels: {{ outrigger.enable: '{whole}' }}\n    volumes: [ run:/run/outrigger ]\n"
    );
    read(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// What compose does with an overlay, as far as ours need it.
fn merged(base: &Value, over: &Value) -> Option<Value> {
    match (base, over) {
        (_, Value::Tagged(tagged)) if tagged.tag == "reset" => None,
        (_, Value::Tagged(tagged)) => Some(tagged.value.clone()),
        (Value::Mapping(base), Value::Mapping(over)) => {
            let mut all = base.clone();
            for (key, value) in over {
                match merged(base.get(key).unwrap_or(&Value::Null), value) {
                    Some(value) => drop(all.insert(key.clone(), value)),
                    None => drop(all.shift_remove(key)),
                }
            }
            Some(Value::Mapping(all))
        }
        _ => Some(over.clone()),
    }
}

fn names(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().split(':').next().unwrap().to_owned();
    match value {
        Some(Value::Mapping(fields)) => fields.keys().map(text).collect(),
        Some(Value::Sequence(items)) => items.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

/// All that must have started before a service.
fn needs(services: &Value, name: &str) -> Vec<String> {
    let service = &services[name];
    let mut needs = names(service.get("depends_on"));
    needs.extend(names(service.get("links")));
    needs.extend(names(service.get("volumes_from")));
    let mode = service.get("network_mode").and_then(Value::as_str);
    needs.extend(mode.and_then(|mode| mode.strip_prefix("service:")).map(str::to_owned));
    needs
}

fn check(services: &Value) {
    let all: BTreeSet<String> = names(Some(services)).into_iter().collect();
    let mut started: BTreeSet<String> = BTreeSet::new();
    while started.len() < all.len() {
        let before = started.len();
        for name in &all {
            let needs = needs(services, name);
            for needed in &needs {
                assert!(all.contains(needed), "{name} needs {needed}, which is not there");
            }
            if needs.iter().all(|needed| started.contains(needed)) {
                started.insert(name.clone());
            }
        }
        assert!(started.len() > before, "nothing more can start after {started:?}");
    }
    for name in &all {
        let service = &services[name.as_str()];
        let joins = service.get("network_mode").and_then(Value::as_str);
        if service.get("network_mode").is_some() {
            assert!(service.get("networks").is_none(), "{name} has networks beside its network_mode");
        }
        // Not beside a service of the project that only has such a name.
        let holder = services.get(format!("{name}-holder"));
        let ours = holder.is_some_and(|holder| holder["labels"].get("outrigger.managed").is_some());
        if ours && joins == Some(format!("service:{name}-holder").as_str()) {
            for key in ["ports", "expose", "hostname", "dns", "extra_hosts", "links", "scale"] {
                assert!(service.get(key).is_none(), "{name}.{key} must be at the holder");
            }
            assert_eq!(
                service["depends_on"][format!("{name}-capture")]["condition"],
                Value::from("service_completed_successfully")
            );
        }
    }
}

#[test]
fn whatever_is_meshed_holds_together() {
    let mut meshed = 0;
    for seed in 0..TRIES {
        let input = project(&mut Rng::with_seed(seed));
        let tried = std::panic::catch_unwind(|| {
            let Ok(injected) = inject(&input, &Options::default()) else { return 0 };
            check(&injected.project["services"]);
            let again = inject(&read(&render(&injected.project)).unwrap(), &Options::default()).unwrap();
            assert!(again.project == injected.project, "injected again:\n{}", render(&again.project));
            let over = overlay(&input, &injected.project).map(|over| read(&render(&over)).unwrap());
            let both = over.map_or_else(|| input.clone(), |over| merged(&input, &over).unwrap());
            assert!(both == injected.project, "the overlay merged:\n{}", render(&both));
            injected.meshed.len()
        });
        match tried {
            Ok(count) => meshed += count,
            Err(_) => panic!("seed {seed}:\n{}", render(&input)),
        }
    }
    assert!(meshed > 100, "too few projects could be meshed for the test to say anything: {meshed}");
}
