//! Names of services in a hosted zone: the real controller beside the simulator of ECS and moto's Route 53.

use outrigger_tests::ecs::{Simulator, meshed, service};
use serde_json::{Value, json};

use super::controller::Controller;
use super::route53::{LIMIT, Records, Route53, address, owner};

/// More than one page of a listing has, and before `cart` in its order.
const FILLING: usize = 320;
/// Attempts of one call, as the SDK makes them, and one more.
const REFUSED: usize = 4;

/// A service with one task.
fn serve(ecs: &Simulator, name: &str) {
    ecs.post("definition", meshed(name));
    ecs.post("service", service(name, 1));
}

/// `cart` and `web`, whose tasks run.
fn cluster() -> Simulator {
    let ecs = Simulator::start();
    ecs.post("pace", json!({ "seconds": 0.05 }));
    serve(&ecs, "cart");
    serve(&ecs, "web");
    let runs = |tasks: &[Value]| tasks.len() == 2 && tasks.iter().all(|task| task["lastStatus"] == "RUNNING");
    ecs.until("task", LIMIT, |tasks| runs(tasks).then_some(()));
    ecs
}

/// What `/status` says of a name or of the zone, once it does.
fn problem(controller: &Controller, subject: &str) -> String {
    controller.until(LIMIT, subject, |status| {
        let problems = status["problems"].as_array()?;
        let of = |one: &&Value| one["kind"] == "names" && one["subject"] == subject;
        problems.iter().find(of)?["what"].as_str().map(str::to_owned)
    })
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn names_come_to_a_private_zone_and_go_and_what_others_made_stays() {
    let (ecs, route53) = (cluster(), Route53::start());
    let zone = route53.zone(true);
    let mut theirs: Vec<_> =
        (0..FILLING).map(|n| (format!("a-{n:03}.mesh.internal"), "A", "10.0.0.2")).collect();
    theirs.push(("web.mesh.internal".into(), "A", "10.0.0.1"));
    route53.add(&zone, &theirs);
    let before = route53.records(&zone);
    assert!(before.len() > FILLING, "{}", before.len());

    route53.refuse("Throttling", REFUSED);
    let more = [("AWS_ENDPOINT_URL_ROUTE_53", route53.url.as_str()), ("OUTRIGGER_NAMES_ZONE", zone.as_str())];
    let mut controller = Controller::start(&ecs, "names", &more);
    let refused = problem(&controller, &format!("hosted zone {zone}"));
    assert!(refused.contains("Throttling") && refused.contains("tried again"), "{refused}");

    let ours = ["cart", "cart.default", "web.default"];
    let whole = |records: &Records| ours.iter().all(|name| records.contains_key(&address(name)));
    let after = route53.until(&zone, || controller.log(), whole);
    for name in ours {
        assert_eq!(after[&owner(name)], ["\"heritage=outrigger,mesh=default\""]);
        assert!(after[&address(name)][0].starts_with("240.64."), "{:?}", after[&address(name)]);
    }
    assert_eq!(after[&address("cart")], after[&address("cart.default")]);
    assert_ne!(after[&address("cart")], after[&address("web.default")]);
    assert_eq!(after.len(), before.len() + 2 * ours.len(), "and nothing else");
    let taken = problem(&controller, "web.mesh.internal");
    assert!(taken.contains("left alone"), "{taken}");
    assert_eq!(after[&address("web")], ["10.0.0.1"]);
    assert_eq!(route53.changes(), 1, "all names in one call");

    // A service goes while the controller is away; what it left is found again, on every page of the zone.
    controller.kill();
    ecs.post("update", json!({ "service": "cart", "desiredCount": 0 }));
    ecs.until("task", LIMIT, |tasks| {
        let stopped = tasks.iter().filter(|task| task["lastStatus"] == "STOPPED").count();
        (stopped == 1).then_some(())
    });
    controller.start_again();
    let left = route53.until(&zone, || controller.log(), |records| !records.contains_key(&owner("cart")));
    let mut expected = before.clone();
    for key in [owner("web.default"), address("web.default")] {
        expected.insert(key.clone(), after[&key].clone());
    }
    assert_eq!(left, expected);
    assert_eq!(route53.changes(), 2, "the one that stays is not written again");

    // One that comes when changes are refused is written when they no longer are.
    route53.refuse("PriorRequestNotComplete", REFUSED);
    serve(&ecs, "stock");
    let next = route53.until(&zone, || controller.log(), |records| records.contains_key(&address("stock")));
    assert_eq!(next.len(), left.len() + 4);
    assert!(route53.changes() >= 2 + REFUSED);
}

#[test]
#[ignore = "needs the simulator of ECS"]
fn a_public_zone_is_refused() {
    let (ecs, route53) = (cluster(), Route53::start());
    let zone = route53.zone(false);
    let before = route53.records(&zone);
    let more = [("AWS_ENDPOINT_URL_ROUTE_53", route53.url.as_str()), ("OUTRIGGER_NAMES_ZONE", zone.as_str())];
    let controller = Controller::start(&ecs, "names-public", &more);
    let refused = problem(&controller, &format!("hosted zone {zone}"));
    assert!(refused.contains("public zone"), "{refused}");
    assert_eq!((route53.records(&zone), route53.changes()), (before, 0));
}

/// Records with the addresses of callers outside: `cart` has an edge port, `web` has none.
#[test]
#[ignore = "needs the simulator of ECS"]
fn addresses_of_tasks_come_for_outsiders_and_stay_while_there_is_no_other() {
    let (ecs, route53) = (cluster(), Route53::start());
    let mut inviting = meshed("cart");
    inviting["containerDefinitions"][0]["dockerLabels"] = json!({ "outrigger.edge": "8080" });
    ecs.post("definition", inviting);
    ecs.post("update", json!({ "service": "cart", "taskDefinition": "cart:2", "desiredCount": 2 }));
    let own = |tasks: &[Value]| {
        let cart = tasks.iter().filter(|one| {
            one["taskDefinitionArn"].as_str().is_some_and(|arn| arn.ends_with("cart:2"))
                && one["lastStatus"] == "RUNNING"
        });
        let details = cart.filter_map(|one| one["attachments"][0]["details"].as_array());
        let mut addresses: Vec<_> = details
            .flatten()
            .filter(|detail| detail["name"] == "privateIPv4Address")
            .map(|detail| detail["value"].as_str().unwrap().to_owned())
            .collect();
        addresses.sort();
        (addresses.len() == 2).then_some(addresses)
    };
    let addresses = ecs.until("task", LIMIT, own);

    let (inside, outside) = (route53.zone(true), route53.zone(true));
    let more = [
        ("AWS_ENDPOINT_URL_ROUTE_53", route53.url.as_str()),
        ("OUTRIGGER_NAMES_ZONE", inside.as_str()),
        ("OUTRIGGER_EDGE_ZONE", outside.as_str()),
    ];
    let before = route53.records(&outside);
    let mut controller = Controller::start(&ecs, "names-outside", &more);
    let has = |records: &Records| records.get(&address("cart.default")) == Some(&addresses);
    let found = route53.until(&outside, || controller.log(), has);
    assert_eq!(found[&address("cart")], addresses);
    assert_eq!(
        found.len(),
        before.len() + 4,
        "two names with their owner's records, and nothing else: {found:#?}"
    );
    let virtual_one = |records: &Records| records.contains_key(&address("web"));
    let others = route53.until(&inside, || controller.log(), virtual_one);
    assert!(others[&address("cart")][0].starts_with("240.64."), "the zone of tasks has its own kind");

    // All tasks go, and the controller too: the name stays, as long as the service might be on its way back.
    route53.refuse("Throttling", REFUSED);
    ecs.post("update", json!({ "service": "cart", "desiredCount": 0 }));
    ecs.until("task", LIMIT, |tasks| {
        let mut cart = tasks.iter().filter(|one| one["group"] == "service:cart");
        cart.all(|one| one["lastStatus"] == "STOPPED").then_some(())
    });
    controller.kill();
    controller.start_again();
    let told = |status: &Value| {
        let services = status["services"].as_array()?;
        (status["ready"] == true && services.iter().all(|one| one["name"] != "cart")).then_some(())
    };
    controller.until(LIMIT, "the service is gone", told);
    serve(&ecs, "stock");
    route53.until(&inside, || controller.log(), |records| records.contains_key(&address("stock")));
    assert_eq!(route53.records(&outside), found);

    // It is back: its name leads to the new task.
    ecs.post("update", json!({ "service": "cart", "desiredCount": 1 }));
    let moved = |records: &Records| {
        let now = &records[&address("cart")];
        now.len() == 1 && *now == records[&address("cart.default")] && !addresses.contains(&now[0])
    };
    route53.until(&outside, || controller.log(), moved);
}
