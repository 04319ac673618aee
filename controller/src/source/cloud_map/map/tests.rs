use std::collections::HashMap;

use super::*;
use crate::source::ecs::record::{Definition, Stage};
use crate::source::ecs::samples::{definition, seen as tasks, service, task};

const FILE: &str = "
mode: strict
defaults: { timeout: 3s }
services:
  billing:
    ports: { 8080: http }
    edge: [ 8080 ]
    rate-limits: [ { limit: 1/s } ]
    cloud-map: { namespace: shop.internal, version: old }
  cart.shop:
    ports: { 8080: http }
    cloud-map: { namespace: Shop.internal, service: Cart, attributes: { stage: prod } }
  many.legacy:
    ports: { 80: http, 81: http }
    cloud-map: { namespace: shop.internal, service: many }
";

fn mesh() -> Mesh {
    Mesh::read(FILE, "mesh.yaml").unwrap()
}

fn instance(id: &str, attributes: &[(&str, &str)]) -> Instance {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Instance::read(id, Health::Healthy, &attributes.collect::<HashMap<_, _>>()).unwrap()
}

fn at(id: &str, address: &str) -> Instance {
    instance(id, &[("AWS_INSTANCE_IPV4", address), ("AVAILABILITY_ZONE", "eu-west-1a")])
}

fn lookup(service: &str) -> Lookup {
    let known = mesh().cloud_map(&["shop".to_owned()].into());
    let key = known.keys().find(|key| key.service == service).unwrap();
    Lookup::of(key, &known[key])
}

fn named(service: &str, instances: Vec<Instance>) -> (Lookup, Answer) {
    (lookup(service), Answer { instances: Some(instances.into()), ..Answer::default() })
}

/// What the mesh sees with `before`, and these answers.
fn added(before: Sight, answers: Vec<(Lookup, Answer)>) -> Sight {
    added_to(&ecs::Seen::default(), before, answers)
}

/// The same where ECS has tasks.
fn added_to(ecs: &ecs::Seen, before: Sight, answers: Vec<(Lookup, Answer)>) -> Sight {
    let mut sight = before;
    let seen = Seen { answers: Arc::new(answers.into_iter().collect()), begun: true };
    let clusters = ["batch".to_owned(), "shop".to_owned()].into();
    let wanted = mesh().cloud_map(&clusters);
    let before = Some(sight.view.clone());
    add((&seen, ecs, &clusters), (wanted, &mesh()), before.as_ref(), &mut sight);
    sight
}

/// ECS tells of the end of a task at once, Cloud Map is asked every five seconds; and it names a task that starts before ECS was
/// asked whether that has a sidecar.
#[test]
fn a_task_that_ecs_stops_or_does_not_show_yet_is_not_called_whatever_cloud_map_says() {
    let registered =
        |id: &str, cluster| instance(id, &[("AWS_INSTANCE_IPV4", "10.0.1.5"), ("ECS_CLUSTER_NAME", cluster)]);
    let bare = Definition { sidecar: false, ..definition() };
    let stopped = Task { desired_status: Stage::Stopped, ..task(2) };
    let ecs = tasks(vec![task(1), stopped], bare, Vec::new());
    let ids = [task(1).id, task(2).id, task(3).id];
    let called = |ecs: &ecs::Seen, cluster| {
        let named = vec![named("cart", ids.iter().map(|id| registered(id, cluster)).collect())];
        let sight = added_to(ecs, Sight::default(), named);
        let replicas = of(&sight, "cart.shop").into_iter();
        let ids = replicas.map(|replica| last_part(&replica.id.0).to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(called(&ecs, "shop"), [ids[0].clone()]);
    assert_eq!(called(&ecs, "elsewhere"), [ids[0].clone(), ids[2].clone()]);
    let away = ecs::Seen { current: false, ..ecs.clone() };
    assert_eq!(called(&away, "shop"), [ids[0].clone(), ids[2].clone()], "ECS does not say all");
}

/// Callers tell replicas apart by name: one without a sidecar would be called in the place of the other.
#[test]
fn nobody_takes_the_name_of_one_that_has_a_sidecar() {
    let ecs =
        crate::source::ecs::map::sight(&tasks(vec![task(1)], definition(), vec![service()]), &mesh(), None);
    let (beginning, alike) = ("00000000", format!("00000000{}", "f".repeat(24)));
    let known = vec![at(beginning, "10.0.1.6"), at(&alike, "10.0.1.7")];
    let sight = added(ecs, vec![named("cart", known)]);
    let names: BTreeSet<&str> = of(&sight, "cart.shop").iter().map(|replica| replica.name.as_str()).collect();
    assert!(names.len() == 3 && names.contains("cart-00000000"), "{names:?}");
}

#[test]
fn of_a_lookup_that_was_just_written_nothing_is_said_before_its_answer() {
    let asked = |awaited| (lookup("cart"), Answer { awaited, ..Answer::default() });
    assert!(of(&added(Sight::default(), vec![asked(true)]), "cart.shop").is_empty());
    assert_eq!(of(&added(Sight::default(), vec![asked(false)]), "cart.shop").len(), 1);
    let known = Some(vec![at("i-1", "10.0.1.6")].into());
    let inherited = (lookup("cart"), Answer { awaited: true, instances: known, ..Answer::default() });
    let sight = added(Sight::default(), vec![inherited]);
    assert_eq!(of(&sight, "cart.shop")[0].lifecycle, Lifecycle::Running);
}

fn of<'a>(sight: &'a Sight, service: &str) -> Vec<&'a Workload> {
    sight
        .view
        .values()
        .map(|workload| &**workload)
        .filter(|workload| outrigger_compile::service_key(workload).to_string() == service)
        .collect()
}

#[test]
fn an_instance_is_a_replica_in_each_namespace_without_what_a_sidecar_would_do() {
    let task = "0123456789abcdef0123456789abcdef";
    let sight =
        added(Sight::default(), vec![named("billing", vec![at(task, "10.0.1.5"), at("i-0abc", "10.0.1.6")])]);
    for namespace in ["batch", "shop"] {
        let replicas = of(&sight, &format!("billing.{namespace}"));
        let names: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
        assert_eq!(names, ["billing-01234567", "billing-i-0abc"]);
        let first = replicas[0];
        assert_eq!(first.networks[NETWORK].addresses, ["10.0.1.5".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            (first.zone.as_deref(), first.lifecycle, first.health),
            (Some("eu-west-1a"), Lifecycle::Running, Health::Healthy)
        );
        assert_eq!(first.aliases, ["billing.shop.internal".to_owned()].into());
        let outside = first.outside.as_ref().unwrap();
        assert_eq!((&*outside.registry, outside.port), ("Cloud Map shop.internal/billing", None));
        let declared = &first.declared;
        assert_eq!(
            (declared.version.as_deref(), declared.timeouts.request),
            (Some("old"), Some(std::time::Duration::from_secs(3)))
        );
        assert_eq!((declared.mode, &declared.edge, declared.rate_limits.len()), (Mode::Permissive, &None, 0));
    }
}

#[test]
fn who_has_a_sidecar_is_no_outsider() {
    let ecs =
        crate::source::ecs::map::sight(&tasks(vec![task(1)], definition(), vec![service()]), &mesh(), None);
    let (meshed, address) = (task(1), task(1).addresses[0].to_string());
    let known = vec![at(&meshed.id, "10.9.9.9"), at("another-name", &address), at("i-1", "10.0.1.6")];
    let sight = added(ecs.clone(), vec![named("cart", known)]);
    let names: Vec<&str> = of(&sight, "cart.shop").iter().map(|replica| replica.name.as_str()).collect();
    assert_eq!(names, ["cart-00000000", "cart-i-1"], "the task by its id and by its address");
    let sight = added(ecs, vec![named("cart", vec![at(&meshed.id, &address)])]);
    assert_eq!(of(&sight, "cart.shop").len(), 1, "nobody has to stand for a service that the mesh has");
}

#[test]
fn a_service_of_which_nobody_is_there_stays_known() {
    for answers in [Vec::new(), vec![named("cart", Vec::new())]] {
        let sight = added(Sight::default(), answers);
        let replicas = of(&sight, "cart.shop");
        assert_eq!((replicas.len(), replicas[0].lifecycle), (1, Lifecycle::Stopped));
        assert!(replicas[0].networks[NETWORK].addresses.is_empty());
        assert_eq!(
            replicas[0].aliases,
            ["cart.shop.internal".to_owned()].into(),
            "names of DNS have no case"
        );
        assert_eq!(
            &*replicas[0].outside.as_ref().unwrap().registry,
            "Cloud Map Shop.internal/Cart stage=prod"
        );
        assert_eq!(sight.problems, BTreeSet::new());
    }
}

#[test]
fn the_port_of_an_instance_stands_for_the_only_one() {
    let there = |id| instance(id, &[("AWS_INSTANCE_IPV4", "10.0.1.5"), ("AWS_INSTANCE_PORT", "32768")]);
    let sight =
        added(Sight::default(), vec![named("billing", vec![there("a")]), named("many", vec![there("b")])]);
    let port = |service: &str| of(&sight, service)[0].outside.as_ref().unwrap().port;
    assert_eq!((port("billing.shop"), port("many.legacy")), (Some(32_768), None));
    let told: Vec<&str> = sight.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert!(
        matches!(told[..], [one] if one.contains("port 32768") && one.contains("a service for each port")),
        "{told:?}"
    );
}

#[test]
fn what_goes_wrong_is_told_with_what_holds() {
    let error = Some("servicediscovery:DiscoverInstances: ServiceNotFound: none".to_owned());
    let left_out: Arc<[String]> =
        vec!["instance x: its address 169.254.169.254 is link-local".to_owned()].into();
    let failed = |instances| {
        (
            lookup("cart"),
            Answer { instances, error: error.clone(), left_out: left_out.clone(), ..Answer::default() },
        )
    };
    for (instances, held) in
        [(None, "nobody is called"), (Some(vec![at("i-1", "10.0.1.6")].into()), "are called on")]
    {
        let sight = added(Sight::default(), vec![failed(instances)]);
        let told: String =
            sight.problems.iter().map(|problem| format!("{}: {}\n", problem.subject, problem.what)).collect();
        assert!(
            told.contains(held)
                && told.contains("169.254.169.254")
                && told.contains("cart.shop in mesh.yaml"),
            "{told}"
        );
        assert!(told.lines().all(|line| line.starts_with("Cloud Map Shop.internal/Cart")), "{told}");
    }
}

#[test]
fn names_are_those_of_dns_and_differ() {
    let meshed = Meshed::of(&View::new());
    let name = |service: &str, id: &str| name(service, id, &meshed);
    assert_eq!(name("billing", "ABCDEF0123456789abcdef0123456789"), "billing-abcdef01");
    assert_eq!(name("billing", "blue-1"), "billing-blue-1");
    let (a, b) = (name("billing", "Blue/1"), name("billing", "blue:1"));
    assert!(a.starts_with("billing--lue-1-") && b.starts_with("billing-blue-1-") && a != b, "{a} {b}");
    assert!(name("billing", &"x".repeat(64)).len() <= 63);
}
