use std::net::Ipv4Addr;

use outrigger_model::{Declared, Health, Lifecycle, VirtualIndex, Workload, WorkloadId};

use super::*;

fn names(pairs: &[(&str, u8)]) -> Names {
    let address = |last: u8| [IpAddr::from([240, 64, 0, last])].into();
    pairs.iter().map(|(name, last)| ((*name).to_owned(), address(*last))).collect()
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

#[test]
fn what_was_found_stays_as_if_it_had_just_gone() {
    let start = Instant::now();
    let mut lately = Lately::left(names(&[("cart", 1), ("web", 2)]), start);
    let mut at = |minutes: u64, wanted: &[(&str, u8)]| {
        lately.and(names(wanted), start + Duration::from_secs(minutes * 60))
    };
    assert_eq!(at(9, &[("web", 3)]), names(&[("cart", 1), ("web", 3)]));
    assert_eq!(at(10, &[("web", 3)]), names(&[("web", 3)]));
}

#[test]
fn a_short_name_is_for_the_only_one_who_has_it() {
    let mut snapshot = Snapshot::default();
    for (index, (namespace, service)) in
        [("shop", "cart"), ("blog", "cart"), ("shop", "web"), ("shop", "a b")].into_iter().enumerate()
    {
        let key = ServiceKey { namespace: namespace.into(), service: service.into() };
        snapshot.indices.insert(key.clone(), VirtualIndex::new(index as u32 + 1).unwrap());
        let id = WorkloadId(key.to_string());
        snapshot.workloads.insert(id.clone(), workload(id, key).into());
    }
    // One that was there once has an index, and no name.
    let gone = ServiceKey { namespace: "shop".into(), service: "gone".into() };
    snapshot.indices.insert(gone, VirtualIndex::new(9).unwrap());
    let names = inside(&snapshot, Capture::Platform);
    let found: Vec<_> = names.iter().map(|(name, addresses)| format!("{name} {addresses:?}")).collect();
    assert_eq!(
        found,
        ["cart.blog {240.64.0.2}", "cart.shop {240.64.0.1}", "web {240.64.0.3}", "web.shop {240.64.0.3}"]
    );
    assert_eq!(inside(&snapshot, Capture::Names)["web"], [Ipv4Addr::new(127, 64, 0, 3).into()].into());
}

fn workload(id: WorkloadId, key: ServiceKey) -> Workload {
    Workload {
        name: id.0.clone(),
        id,
        namespace: key.namespace,
        declared: Declared { service: key.service, ..Default::default() },
        aliases: BTreeSet::new(),
        zone: None,
        networks: BTreeMap::new(),
        mesh_port: None,
        outside: None,
        exposed: BTreeSet::new(),
        published: BTreeSet::new(),
        lifecycle: Lifecycle::Running,
        instance: None,
        health: Health::Unchecked,
        one_off: false,
        observed: None,
    }
}
