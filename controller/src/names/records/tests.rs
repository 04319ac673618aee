use super::*;

const ZONE: (&str, &str) = ("mesh.internal.", "shop");

fn names(pairs: &[(&str, u8)]) -> BTreeMap<String, Ipv4Addr> {
    pairs.iter().map(|(name, last)| ((*name).to_owned(), Ipv4Addr::new(240, 64, 0, *last))).collect()
}

fn record(name: &str, kind: &str, value: &str) -> Record {
    Record { name: name.into(), kind: kind.into(), ttl: TTL, values: vec![value.into()] }
}

fn applied(mut there: Vec<Record>, wanted: &BTreeMap<String, Ipv4Addr>) -> Vec<Record> {
    let (changes, _) = changes(&there, wanted, ZONE);
    changes.into_iter().flatten().for_each(|change| apply(&mut there, change));
    there.sort();
    there
}

#[test]
fn records_come_change_and_go_with_their_owners() {
    let zone = vec![record("mesh.internal.", "SOA", "x"), record("mesh.internal.", "NS", "y")];
    let both = applied(zone.clone(), &names(&[("cart", 1), ("cart.shop", 1)]));
    assert_eq!(both.len(), 6);
    assert!(both.contains(&record("cart.mesh.internal.", "A", "240.64.0.1")));
    let owner = record("_outrigger.cart.mesh.internal.", "TXT", "\"heritage=outrigger,mesh=shop\"");
    assert!(both.contains(&owner));
    let (none, problems) = changes(&both, &names(&[("cart", 1), ("cart.shop", 1)]), ZONE);
    assert!(none.is_empty() && problems.is_empty());
    let moved = applied(both.clone(), &names(&[("cart", 2)]));
    assert_eq!(moved.len(), 4);
    assert!(moved.contains(&record("cart.mesh.internal.", "A", "240.64.0.2")));
    assert_eq!(applied(moved, &names(&[])), {
        let mut zone = zone;
        zone.sort();
        zone
    });
}

#[test]
fn what_others_made_is_never_touched() {
    let theirs = vec![
        record("cart.mesh.internal.", "A", "10.0.0.1"),
        record("db.mesh.internal.", "CNAME", "db.example."),
        record("_outrigger.web.mesh.internal.", "TXT", "\"heritage=outrigger,mesh=blog\""),
        record("web.mesh.internal.", "A", "240.64.0.9"),
        record("old.mesh.internal.", "A", "10.0.0.2"),
        record("_outrigger.gone.mesh.internal.", "TXT", "\"heritage=outrigger,mesh=blog\""),
    ];
    let (changes, problems) = changes(&theirs, &names(&[("cart", 1), ("db", 2), ("web", 3)]), ZONE);
    assert!(changes.is_empty(), "{changes:?}");
    let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
    assert_eq!(subjects, ["cart.mesh.internal", "db.mesh.internal", "web.mesh.internal"]);
}

/// However long nothing changed before, and from the last time it went.
#[test]
fn a_name_stays_for_ten_minutes_after_its_service_went() {
    let (mut lately, start) = (Lately::default(), Instant::now());
    let mut at = |minutes: u64, wanted: &[(&str, u8)]| {
        lately.and(names(wanted), start + Duration::from_secs(minutes * 60))
    };
    let both = [("cart", 1), ("web", 2)];
    assert_eq!(at(0, &both), names(&both));
    assert_eq!(at(30, &[("web", 2)]), names(&both));
    assert_eq!(at(39, &[("web", 3)]), names(&[("cart", 1), ("web", 3)]));
    assert_eq!(at(39, &both), names(&both));
    assert_eq!(at(45, &[("web", 2)]), names(&both));
    assert_eq!(at(54, &[("web", 2)]), names(&both));
    assert_eq!(at(55, &[("web", 2)]), names(&[("web", 2)]));
}

/// Somebody took the address's record away, or put another type beside it.
#[test]
fn what_was_disturbed_is_put_right_where_it_is_ours() {
    let wanted = names(&[("cart", 1)]);
    let whole = applied(Vec::new(), &wanted);
    let without: Vec<_> = whole.iter().filter(|record| record.kind != "A").cloned().collect();
    assert_eq!(applied(without.clone(), &wanted), whole);
    assert!(applied(without, &names(&[])).is_empty());
    let mut more = whole;
    more.push(record("cart.mesh.internal.", "AAAA", "fd00::1"));
    let (changes, problems) = changes(&more, &wanted, ZONE);
    assert!(changes.is_empty() && problems.len() == 1);
}

#[test]
fn a_short_name_is_for_the_only_one_who_has_it() {
    let mut snapshot = Snapshot::default();
    for (index, (namespace, service)) in
        [("shop", "cart"), ("blog", "cart"), ("shop", "web"), ("shop", "a b")].into_iter().enumerate()
    {
        let key = ServiceKey { namespace: namespace.into(), service: service.into() };
        snapshot.indices.insert(key.clone(), outrigger_model::VirtualIndex::new(index as u32 + 1).unwrap());
        let id = outrigger_model::WorkloadId(key.to_string());
        snapshot.workloads.insert(id.clone(), workload(id, key));
    }
    // One that was there once has an index, and no name.
    let gone = ServiceKey { namespace: "shop".into(), service: "gone".into() };
    snapshot.indices.insert(gone, outrigger_model::VirtualIndex::new(9).unwrap());
    let names = wanted(&snapshot, Capture::Platform);
    let found: Vec<_> = names.iter().map(|(name, address)| format!("{name} {address}")).collect();
    assert_eq!(
        found,
        ["cart.blog 240.64.0.2", "cart.shop 240.64.0.1", "web 240.64.0.3", "web.shop 240.64.0.3"]
    );
    assert_eq!(wanted(&snapshot, Capture::Names)["web"], Ipv4Addr::new(127, 64, 0, 3));
}

fn workload(id: outrigger_model::WorkloadId, key: ServiceKey) -> outrigger_model::Workload {
    outrigger_model::Workload {
        name: id.0.clone(),
        id,
        namespace: key.namespace,
        declared: outrigger_model::Declared { service: key.service, ..Default::default() },
        aliases: BTreeSet::new(),
        zone: None,
        networks: BTreeMap::new(),
        mesh_port: None,
        outside: None,
        exposed: BTreeSet::new(),
        published: BTreeSet::new(),
        lifecycle: outrigger_model::Lifecycle::Running,
        instance: None,
        health: outrigger_model::Health::Unchecked,
        one_off: false,
        observed: None,
    }
}
