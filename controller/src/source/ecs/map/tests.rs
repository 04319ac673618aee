use super::*;
use crate::source::ecs::record::{DefinitionContainer, Reported, TaskContainer};
use crate::source::ecs::samples::{container, defined, definition, seen, service, task};

fn sighted(tasks: Vec<Task>, definition: Definition) -> Sight {
    sight(&seen(tasks, definition, vec![service()]), &Mesh::default(), None)
}

fn only(sight: &Sight) -> &Workload {
    assert_eq!((sight.view.len(), &sight.problems), (1, &BTreeSet::new()));
    sight.view.values().next().unwrap()
}

#[test]
fn a_task_is_a_workload_of_its_family_in_its_cluster() {
    let sight = sighted(vec![task(1)], definition());
    let workload = only(&sight);
    assert_eq!(workload.id.0, task(1).arn);
    assert_eq!((workload.name.as_str(), workload.namespace.as_str()), ("cart-00000000", "shop"));
    assert_eq!(workload.declared.service, "cart");
    assert_eq!(workload.declared.capture, Capture::Platform, "what was injected");
    assert_eq!(workload.networks[NETWORK].addresses, task(1).addresses);
    assert_eq!(workload.edge(), &BTreeSet::from([8080]), "its target group reaches it");
    assert_eq!((workload.lifecycle, workload.health), (Lifecycle::Running, Health::Unchecked));
    assert_eq!(workload.mesh_port, None);
    let beside = &sight.sidecars[&workload.id];
    assert_eq!((beside.id.as_str(), beside.upgrading), (task(1).arn.as_str(), false));
}

#[test]
fn a_standalone_task_counts_and_one_without_our_sidecar_does_not() {
    let alone = Task { service: None, group: "family:cart".into(), ..task(1) };
    let sight = sighted(vec![alone], definition());
    assert!(only(&sight).edge().is_empty(), "no target group reaches it");
    let bare = Definition { sidecar: false, containers: vec![defined("app", &[])], ..definition() };
    let sight = sighted(vec![task(1)], bare);
    assert!(sight.view.is_empty() && sight.problems.is_empty() && sight.sidecars.is_empty());
}

#[test]
fn traffic_begins_with_running_and_ends_with_the_order_to_stop() {
    let at = |last_status, desired_status| {
        let sight = sighted(vec![Task { last_status, desired_status, ..task(1) }], definition());
        only(&sight).lifecycle
    };
    use Stage::{Activating, Deactivating, Pending, Provisioning, Running, Stopped, Stopping};
    for early in [Provisioning, Pending, Activating] {
        assert_eq!(at(early, Running), Lifecycle::Stopped);
    }
    assert_eq!(at(Running, Running), Lifecycle::Running);
    for (last, desired) in
        [(Running, Stopped), (Deactivating, Running), (Stopping, Stopped), (Pending, Stopped)]
    {
        assert_eq!(at(last, desired), Lifecycle::Stopping);
    }
}

#[test]
fn health_is_what_the_applications_essential_checks_say() {
    let checked =
        |name: &str, essential| DefinitionContainer { checked: true, essential, ..defined(name, &[]) };
    let mut definition = definition();
    definition.containers = vec![
        checked("app", true),
        checked("log", false),
        DefinitionContainer { checked: true, ..definition.containers[1].clone() },
    ];
    let health = |app, log, sidecar| {
        let reports = |name: &str, health| TaskContainer { health, ..container(name) };
        let containers =
            vec![reports("app", app), reports("log", log), reports("outrigger-sidecar", sidecar)];
        only(&sighted(vec![Task { containers, ..task(1) }], definition.clone())).health
    };
    use Reported::{Healthy, Unhealthy, Unknown};
    assert_eq!(health(Unknown, Healthy, Healthy), Health::Starting);
    assert_eq!(health(Healthy, Unhealthy, Unhealthy), Health::Healthy, "neither decides");
    assert_eq!(health(Unhealthy, Healthy, Healthy), Health::Unhealthy);
}

fn bridge() -> Definition {
    let mut definition = Definition { network_mode: NetworkMode::Bridge, ..definition() };
    definition.containers[1].labels.insert(CAPTURE.into(), "explicit".into());
    definition
}

#[test]
fn in_bridge_mode_peers_take_the_port_of_the_host() {
    let sidecar = TaskContainer { bindings: [(port::MESH, 32_768)].into(), ..container("outrigger-sidecar") };
    let mapped = Task { containers: vec![container("app"), sidecar], addresses: Vec::new(), ..task(1) };
    let sight = sighted(vec![mapped.clone()], bridge());
    assert_eq!(only(&sight).mesh_port, Some(32_768));
    let unmapped = Task { containers: vec![container("outrigger-sidecar")], ..mapped.clone() };
    let sight = sighted(vec![unmapped], bridge());
    let problem = sight.problems.first().unwrap();
    assert!(sight.view.is_empty() && problem.what.contains("port 15008"), "{problem:?}");
    assert_eq!(problem.subject, "task definition cart:3, container outrigger-sidecar");
    let host = Definition { network_mode: NetworkMode::Host, ..bridge() };
    assert_eq!(only(&sighted(vec![mapped], host)).mesh_port, None, "the sidecar's own port is the host's");
}

#[test]
fn where_the_task_has_no_network_of_its_own_only_explicit_capture_holds() {
    let definition = Definition { network_mode: NetworkMode::Bridge, ..definition() };
    let sight = sighted(vec![task(1)], definition);
    let problem = sight.problems.first().unwrap();
    assert!(sight.view.is_empty() && problem.what.contains("networkMode to awsvpc"), "{problem:?}");
}

/// Else the application of a batch task had no names in its first ten seconds, often its whole life.
#[test]
fn a_task_that_maps_no_port_and_calls_by_names_is_not_waited_for() {
    let caller = |ports: &[u16]| {
        let mut definition = Definition { labels: BTreeMap::new(), ..definition() };
        definition.containers[0] =
            DefinitionContainer { ports: ports.iter().copied().collect(), ..defined("app", &[]) };
        definition.containers[1].labels.insert(CAPTURE.into(), "names".into());
        let alone = Task { service: None, group: "family:cart".into(), ..task(1) };
        only(&sighted(vec![alone], definition)).declared.app_address
    };
    assert_eq!(caller(&[]), Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(caller(&[8080]), None);
}

#[test]
fn faults_of_labels_name_family_and_container() {
    let mut definition = definition();
    definition.containers.insert(1, defined("log", &[("outrigger.port", "99"), ("outrigger.prot", "1")]));
    definition.labels.insert("outrigger.prot".into(), "1".into());
    let sight = sighted(vec![task(1), task(2)], definition);
    let problems: Vec<_> = sight.problems.iter().map(|p| (p.subject.as_str(), p.what.as_str())).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (subject, what) in &problems {
        assert_eq!(*subject, "task definition cart:3, container log", "{what}");
    }
    assert!(problems.iter().any(|(_, what)| what.contains("did you mean outrigger.port")), "{problems:?}");
    assert!(
        problems.iter().any(|(_, what)| what.contains("\"8080/http\" on a container before it")),
        "{problems:?}"
    );
    assert_eq!(sight.view.len(), 2, "they are meshed all the same");
}

#[test]
fn a_family_that_is_no_name_asks_for_a_label_and_windows_is_refused() {
    let odd = Definition { family: "a".repeat(64), ..definition() };
    let sight = sighted(vec![task(1)], odd);
    assert!(sight.view.is_empty() && sight.problems.first().unwrap().what.contains("outrigger.service=cart"));
    let upper = Definition { family: "Cart_Blue".into(), ..definition() };
    assert_eq!(only(&sighted(vec![task(1)], upper)).declared.service, "cart_blue");
    let windows = Definition { windows: true, ..definition() };
    assert!(sighted(vec![task(1)], windows).problems.first().unwrap().what.contains("Linux"));
}

#[test]
fn a_definition_that_is_gone_and_a_queue_that_is_silent_are_told() {
    let mut seen = seen(vec![task(1)], definition(), Vec::new());
    seen.definitions = Default::default();
    seen.queue = Some("sqs:ReceiveMessage: no".into());
    let sight = sight(&seen, &Mesh::default(), None);
    let subjects: Vec<_> = sight.problems.iter().map(|problem| problem.subject.as_str()).collect();
    assert_eq!(subjects, ["OUTRIGGER_QUEUE", "task definition cart:3"]);
}

/// Whatever changes, from view to view: what is made of what changed alone is what is made of all, and the rest stays.
#[test]
fn what_did_not_change_is_not_made_again() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = seen((1..9).map(task).collect(), definition(), vec![service()]);
        let mut last: Option<(Seen, Sight)> = None;
        for _ in 0..30 {
            let all = sight(&now, &Mesh::default(), None);
            let before = last.as_ref().map(|(seen, sight)| (seen, sight));
            let quick = sight(&now, &Mesh::default(), before);
            assert_eq!(quick, all, "seed {seed}");
            for (id, workload) in last.iter().flat_map(|(_, before)| &before.view) {
                let kept = quick.view.get(id).is_none_or(|now| now != workload || Arc::ptr_eq(now, workload));
                assert!(kept || is_another(last.as_ref(), &now, id), "seed {seed}");
            }
            last = Some((now.clone(), quick));
            change(&mut now, &mut rng);
        }
    }
}

/// Something about this task is another allocation, though it may be alike.
fn is_another(last: Option<&(Seen, Sight)>, now: &Seen, id: &WorkloadId) -> bool {
    let Some((before, _)) = last else { return true };
    let (was, is) = (&before.tasks[id], &now.tasks[id]);
    let definition = |seen: &Seen| seen.definitions[&is.definition].clone();
    !Arc::ptr_eq(was, is) || !Arc::ptr_eq(&definition(before), &definition(now))
}

/// Something happens.
fn change(seen: &mut Seen, rng: &mut fastrand::Rng) {
    let number = rng.u32(1..9);
    let id = task(number).workload();
    let tasks = Arc::make_mut(&mut seen.tasks);
    match rng.u8(..7) {
        0 => drop(tasks.remove(&id)),
        1 => drop(tasks.insert(id, Arc::new(task(number)))),
        2 => {
            if let Some(task) = tasks.get_mut(&id) {
                Arc::make_mut(task).desired_status = Stage::Stopped;
            }
        }
        3 => {
            if let Some(task) = tasks.get_mut(&id) {
                Arc::make_mut(task).zone = Some(format!("zone-{}", rng.u8(..3)));
            }
        }
        4 => {
            let defined = definition();
            let another = Definition { sidecar: rng.bool(), ..defined };
            Arc::make_mut(&mut seen.definitions).insert(another.arn.clone(), Arc::new(another));
        }
        5 => {
            let (arn, mut another) = (service().arn, service());
            another.targets = [("app".to_owned(), rng.u16(8080..8083))].into();
            Arc::make_mut(&mut seen.services).insert(arn, Arc::new(another));
        }
        _ => seen.queue = rng.bool().then(|| "away".into()),
    }
}
