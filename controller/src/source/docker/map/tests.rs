use outrigger_model::Mode;
use outrigger_model::label::ENABLE;

use super::*;
use crate::scope::Own;
use crate::source::docker::record::Run;
use crate::source::docker::samples::{composed, container, containers, instance, sidecar_of};

const ON: (&str, &str) = (ENABLE, "true");

fn engine() -> Scope {
    Scope { mesh: "shop".into(), ..Scope::default() }
}

fn project(name: &str) -> Scope {
    Scope { mesh: name.into(), project: Some(name.into()), own: None }
}

/// Without a mesh file.
fn map(containers: &Containers, scope: &Scope) -> Mapped {
    super::map(containers, scope, &Mesh::default())
}

fn names(mapped: &Mapped) -> Vec<String> {
    mapped
        .view
        .values()
        .map(|workload| format!("{}.{}", workload.declared.service, workload.namespace))
        .collect()
}

fn only_problem(mapped: &Mapped) -> String {
    assert_eq!(mapped.problems.len(), 1, "{:?}", mapped.problems);
    let problem = mapped.problems.first().unwrap();
    format!("{} {}: {}", problem.kind, problem.subject, problem.what)
}

#[test]
fn names_come_from_compose_else_from_the_container() {
    let all =
        containers([composed("shop", "cart", &[ON]), container("Solo", &[ON]), container("plain", &[])]);
    assert_eq!(names(&map(&all, &engine())), ["solo.shop", "cart.shop"]);
    assert_eq!(names(&map(&all, &project("shop"))), ["cart.shop"], "scope project: only of that project");
    assert!(map(&all, &project("other")).view.is_empty());
}

#[test]
fn the_controllers_own_label_meshes_its_project_and_a_service_opts_out() {
    let own = Own {
        id: "id-shop-outrigger-1".into(),
        project: Some("shop".into()),
        service: Some("outrigger".into()),
        whole_project: true,
    };
    let scope = Scope { own: Some(own), ..project("shop") };
    let mut status = composed("shop", "outrigger", &[ON]);
    status.id = "id-run".into();
    let all = containers([
        composed("shop", "cart", &[]),
        composed("shop", "db", &[(ENABLE, "false")]),
        composed("shop", "outrigger", &[ON]),
        status,
        composed("blog", "web", &[]),
    ]);
    assert_eq!(names(&map(&all, &scope)), ["cart.shop"]);
    let wanted: Vec<_> =
        all.values().filter(|c| scope.concerns(&c.labels)).map(|c| c.name.as_str()).collect();
    assert!(!wanted.contains(&"blog-web-1") && wanted.contains(&"shop-cart-1"), "{wanted:?}");
}

#[test]
fn a_wrong_setting_is_left_out_and_told_and_the_workload_stays_meshed() {
    let labels = [ON, ("outrigger.mode", "strickt"), ("outrigger.version", "v2")];
    let mapped = map(&containers([composed("shop", "cart", &labels)]), &engine());
    let declared = &mapped.view.values().next().unwrap().declared;
    assert_eq!(
        (declared.mode, declared.version.as_deref()),
        (Mode::Strict, Some("v2")),
        "what protects fails closed"
    );
    assert!(only_problem(&mapped).contains("did you mean strict?"));
}

#[test]
fn a_life_is_a_lifecycle() {
    let mut all = Vec::new();
    for (name, run, stopping) in [
        ("a", Run::Created, false),
        ("b", Run::Running(instance("x", 1)), false),
        ("c", Run::Running(instance("x", 1)), true),
        ("d", Run::Paused(instance("x", 1)), false),
        ("e", Run::Stopped, false),
    ] {
        all.push(Container { run, stopping, ..container(name, &[ON]) });
    }
    let mapped = map(&containers(all), &engine());
    let found: Vec<_> = mapped.view.values().map(|workload| workload.lifecycle).collect();
    use Lifecycle::{Paused, Running, Stopped, Stopping};
    assert_eq!(found, [Stopped, Running, Stopping, Paused, Stopped]);
    let runs: Vec<_> = mapped.view.values().map(|workload| workload.instance.as_deref()).collect();
    assert_eq!(runs, [None, Some("x"), Some("x"), Some("x"), None]);
}

#[test]
fn a_wrong_label_leaves_one_container_alone_and_says_what_to_write() {
    let all = containers([composed("shop", "cart", &[(ENABLE, "yes")]), composed("shop", "web", &[ON])]);
    let mapped = map(&all, &engine());
    assert_eq!(names(&mapped), ["web.shop"]);
    assert_eq!(
        only_problem(&mapped),
        r#"label container shop-cart-1: label outrigger.enable: "yes" is neither "true" nor "false"; write one of them"#
    );
    let misnamed = containers([composed("shop", "cart", &[ON, ("outrigger.service", "Cart")])]);
    assert_eq!(names(&map(&misnamed, &engine())), [""; 0]);
    let dotted = map(&containers([container("my.app", &[ON])]), &engine());
    assert!(only_problem(&dotted).contains("outrigger.service=cart"));
}

#[test]
fn what_cannot_be_meshed_is_refused_with_the_way_out() {
    let refused = |change: fn(&mut Container), part: &str| {
        let mut app = composed("shop", "cart", &[ON]);
        change(&mut app);
        let mapped = map(&containers([app]), &engine());
        assert!(mapped.view.is_empty(), "{part}");
        let text = only_problem(&mapped);
        assert!(text.starts_with("refused container shop-cart-1: ") && text.contains(part), "{text}");
    };
    refused(|app| app.network_mode = "host".into(), "network mode is host");
    refused(|app| app.network_mode = "none".into(), "network mode is none");
    refused(|app| app.network_mode = "container:abc".into(), "network mode is container");
    refused(|app| app.user = "61337:0".into(), "61337");
    refused(|app| app.platform = "windows".into(), "Linux");
    refused(|app| app.exposed = [15008].into(), "15008");
    refused(|app| _ = app.labels.insert("outrigger.port".into(), "15001".into()), "15001");
}

#[test]
fn another_meshs_sidecar_keeps_the_workload_out() {
    let app = composed("shop", "cart", &[ON]);
    let sidecar = sidecar_of(&app);
    let all = containers([app, sidecar.clone()]);
    assert_eq!(names(&map(&all, &engine())), ["cart.shop"], "the own mesh's does not");
    let other = Scope { mesh: "other".into(), ..Scope::default() };
    assert!(only_problem(&map(&all, &other)).contains("the mesh shop has a sidecar in it already"));
    let ended = Container { run: Run::Stopped, ..sidecar };
    let all = containers(all.into_values().map(|c| if c.id == ended.id { ended.clone() } else { c }));
    assert_eq!(names(&map(&all, &other)), ["cart.shop"]);
}

#[test]
fn two_compose_services_share_a_name_only_as_versions_of_one() {
    let claim = |compose: &str, created: u64, more: &[(&str, &str)]| {
        let labels = [&[ON, ("outrigger.service", "cart")][..], more].concat();
        Container { created, ..composed("shop", compose, &labels) }
    };
    let mapped = map(&containers([claim("basket", 5, &[]), claim("trolley", 3, &[])]), &engine());
    assert_eq!(mapped.view.values().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["shop-trolley-1"]);
    let text = only_problem(&mapped);
    assert!(text.contains("trolley and basket both claim the name cart"), "{text}");
    let mapped = map(&containers([claim("cart", 9, &[]), claim("trolley", 3, &[])]), &engine());
    assert_eq!(
        mapped.view.values().map(|w| w.name.as_str()).collect::<Vec<_>>(),
        ["shop-cart-1"],
        "the service of that name"
    );
    let versions = [
        claim("cart-a", 1, &[("outrigger.version", "v1")]),
        claim("cart-b", 2, &[("outrigger.version", "v2")]),
    ];
    let mapped = map(&containers(versions), &engine());
    assert_eq!((mapped.view.len(), mapped.problems.len()), (2, 0));
    let replicas = [
        container("one", &[ON, ("outrigger.service", "cart")]),
        container("two", &[ON, ("outrigger.service", "cart")]),
    ];
    assert_eq!(map(&containers(replicas), &engine()).view.len(), 2, "without compose they are replicas");
}

#[test]
fn a_one_off_is_known_as_one() {
    let run = composed("shop", "cart", &[ON, ("com.docker.compose.oneoff", "True")]);
    assert!(map(&containers([run]), &engine()).view.values().all(|workload| workload.one_off));
}

#[test]
fn names_and_explicit_are_workloads_and_platform_is_for_another_platform() {
    let with = |capture| containers([composed("shop", "cart", &[ON, ("outrigger.capture", capture)])]);
    for (label, capture) in [("names", Capture::Names), ("explicit", Capture::Explicit)] {
        let mapped = map(&with(label), &engine());
        assert_eq!(mapped.view.values().next().unwrap().declared.capture, capture);
    }
    let refused = only_problem(&map(&with("platform"), &engine()));
    assert!(refused.contains("write outrigger.capture=transparent"), "{refused}");
}

#[test]
fn a_holder_is_the_workload_and_its_application_is_none() {
    let labels = [("outrigger.managed", "holder"), ("outrigger.app", "cart"), ("outrigger.replica", "2"), ON];
    let mut holder =
        composed("shop", "cart-2-holder", &[&labels[..], &[("outrigger.service", "cart")]].concat());
    holder.aliases = ["cart", "basket", "cart-2-holder"].map(str::to_owned).into();
    holder.exposed = Default::default();
    let mut app = composed("shop", "cart-2", &[ON]);
    app.network_mode = format!("container:{}", holder.id);
    app.networks = Default::default();
    let first =
        composed("shop", "cart-holder", &[&labels[..2], &[ON, ("outrigger.service", "cart")]].concat());
    let mapped = map(&containers([holder.clone(), app.clone(), first]), &engine());
    assert!(mapped.problems.is_empty(), "two replicas claim one name on purpose: {:?}", mapped.problems);
    assert_eq!(mapped.view.len(), 2);
    let workload = &mapped.view[&WorkloadId(holder.id.clone())];
    assert_eq!((workload.name.as_str(), workload.declared.service.as_str()), ("shop-cart-2", "cart"));
    assert_eq!(workload.aliases, ["basket", "cart"].map(str::to_owned).into());
    assert_eq!((&workload.networks, &workload.exposed), (&holder.networks, &app.exposed));
    assert_eq!(workload.lifecycle, Lifecycle::Running);

    let mut sidecar = composed("shop", "cart-2-sidecar", &[("outrigger.managed", "sidecar")]);
    sidecar.network_mode = app.network_mode.clone();
    let orphans = map(&containers([app, sidecar]), &engine());
    assert_eq!((orphans.view.len(), orphans.problems.len()), (0, 0), "the sidecar's problem says it once");
}
