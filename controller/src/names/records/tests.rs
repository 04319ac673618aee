use super::*;
use crate::names::batch::batches;

const TTL: i64 = 60;
const INSIDE: Zone<'_> = Zone { name: "mesh.internal.", mesh: "shop", ttl: TTL, kinds: &["A"] };
const OUTSIDE: Zone<'_> = Zone { ttl: 10, kinds: &["A", "AAAA"], ..INSIDE };

fn names(pairs: &[(&str, u8)]) -> Names {
    let address = |last: u8| [IpAddr::from([240, 64, 0, last])].into();
    pairs.iter().map(|(name, last)| ((*name).to_owned(), address(*last))).collect()
}

fn record(name: &str, kind: &str, value: &str) -> Record {
    Record { name: name.into(), kind: kind.into(), ttl: TTL, values: vec![value.into()] }
}

fn applied(mut there: Vec<Record>, wanted: &Names, zone: Zone<'_>) -> Vec<Record> {
    let (changes, _) = changes(&there, wanted, zone);
    changes.into_iter().flatten().for_each(|change| apply(&mut there, change));
    there.sort();
    there
}

#[test]
fn records_come_change_and_go_with_their_owners() {
    let zone = vec![record("mesh.internal.", "SOA", "x"), record("mesh.internal.", "NS", "y")];
    let both = applied(zone.clone(), &names(&[("cart", 1), ("cart.shop", 1)]), INSIDE);
    assert_eq!(both.len(), 6);
    assert!(both.contains(&record("cart.mesh.internal.", "A", "240.64.0.1")));
    let owner = record("_outrigger.cart.mesh.internal.", "TXT", "\"heritage=outrigger,mesh=shop\"");
    assert!(both.contains(&owner));
    let (none, problems) = changes(&both, &names(&[("cart", 1), ("cart.shop", 1)]), INSIDE);
    assert!(none.is_empty() && problems.is_empty());
    let moved = applied(both.clone(), &names(&[("cart", 2)]), INSIDE);
    assert_eq!(moved.len(), 4);
    assert!(moved.contains(&record("cart.mesh.internal.", "A", "240.64.0.2")));
    assert_eq!(applied(moved, &names(&[]), INSIDE), {
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
    let wanted = names(&[("cart", 1), ("db", 2), ("web", 3)]);
    for zone in [INSIDE, OUTSIDE] {
        let (changes, problems) = changes(&theirs, &wanted, zone);
        assert!(changes.is_empty(), "{changes:?}");
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["cart.mesh.internal", "db.mesh.internal", "web.mesh.internal"]);
        assert!(ours(&theirs, zone).is_empty());
    }
}

/// Somebody took the address's record away, or put another type beside it.
#[test]
fn what_was_disturbed_is_put_right_where_it_is_ours() {
    let wanted = names(&[("cart", 1)]);
    let whole = applied(Vec::new(), &wanted, INSIDE);
    let without: Vec<_> = whole.iter().filter(|record| record.kind != "A").cloned().collect();
    assert_eq!(applied(without.clone(), &wanted, INSIDE), whole);
    assert!(applied(without, &names(&[]), INSIDE).is_empty());
    let mut more = whole;
    more.push(record("cart.mesh.internal.", "AAAA", "fd00::1"));
    let (changes, problems) = changes(&more, &wanted, INSIDE);
    assert!(changes.is_empty() && problems.len() == 1);
}

fn addresses(texts: &[&str]) -> Names {
    [("cart".to_owned(), texts.iter().map(|text| text.parse().unwrap()).collect())].into()
}

fn of_cart(records: &[Record], kind: &str) -> Vec<String> {
    let mut found = records.iter().filter(|record| record.kind == kind);
    let values = found.next().map(|record| record.values.clone()).unwrap_or_default();
    assert!(found.next().is_none());
    values
}

#[test]
fn addresses_of_either_family_come_and_go_under_one_owner() {
    let mut zone = Vec::new();
    for (wanted, four, six) in [
        (&["10.0.0.9", "10.0.0.10"][..], &["10.0.0.10", "10.0.0.9"][..], &[][..]),
        (&["10.0.0.9", "fd00::1"], &["10.0.0.9"], &["fd00::1"]),
        (&["fd00::1", "fd00::2"], &[], &["fd00::1", "fd00::2"]),
        (&["10.0.0.1"], &["10.0.0.1"], &[]),
    ] {
        zone = applied(zone, &addresses(wanted), OUTSIDE);
        assert_eq!((of_cart(&zone, "A"), of_cart(&zone, "AAAA")), (to_owned(four), to_owned(six)));
        assert!(zone.iter().all(|record| record.kind == "TXT" || record.ttl == 10), "{zone:?}");
        assert_eq!(ours(&zone, OUTSIDE), addresses(wanted));
        assert!(changes(&zone, &addresses(wanted), OUTSIDE).0.is_empty());
    }
    assert!(applied(zone, &Names::new(), OUTSIDE).is_empty());
}

fn to_owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Does what Route 53 does with one call: all of it, or nothing.
fn call(there: &mut Vec<Record>, batch: &[Vec<Change>]) {
    let (mut values, mut characters) = (0, 0);
    for change in batch.iter().flatten() {
        let (Change::Create(record) | Change::Replace(record) | Change::Delete(record)) = change;
        let same = |other: &&Record| (&other.name, &other.kind) == (&record.name, &record.kind);
        let found = there.iter().find(same);
        match change {
            Change::Create(_) => assert!(found.is_none(), "it is there: {record:?}"),
            Change::Replace(_) => {}
            Change::Delete(_) => assert_eq!(found, Some(record), "it is not there as it is deleted"),
        }
        let times = if matches!(change, Change::Replace(_)) { 2 } else { 1 };
        values += times * record.values.len();
        characters += times * record.values.iter().map(String::len).sum::<usize>();
        apply(there, change.clone());
    }
    assert!(values <= 1_000 && characters <= 32_000, "{values} values of {characters} characters");
}

fn any_names(rng: &mut fastrand::Rng) -> Names {
    let address = |rng: &mut fastrand::Rng| match rng.bool() {
        true => IpAddr::from([10, 0, 0, rng.u8(..20)]),
        false => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, rng.u16(..20)]),
    };
    let named = |rng: &mut fastrand::Rng, n: usize| {
        (format!("s{n}"), (0..rng.usize(1..=8)).map(|_| address(rng)).collect())
    };
    // Many at times, since calls have limits.
    let most = if rng.u8(..8) == 0 { 400 } else { 12 };
    (0..rng.usize(..most)).map(|n| named(rng, n)).collect()
}

/// What somebody else may have put there, also under our names.
fn any_theirs(rng: &mut fastrand::Rng) -> Vec<Record> {
    let any = |rng: &mut fastrand::Rng| {
        let name = format!("s{}.mesh.internal.", rng.usize(..12));
        match rng.u8(..4) {
            0 => record(&name, "A", "10.9.9.9"),
            1 => record(&name, "CNAME", "db.example."),
            2 => record(&format!("_outrigger.{name}"), "TXT", "\"heritage=outrigger,mesh=blog\""),
            _ => record(&format!("x-{name}"), "AAAA", "fd00::9"),
        }
    };
    let mut theirs: BTreeMap<(String, String), Record> = BTreeMap::new();
    for _ in 0..rng.usize(..6) {
        let one = any(rng);
        theirs.insert((one.name.clone(), one.kind.clone()), one);
    }
    theirs.into_values().collect()
}

/// Calls fail at times; the next turn goes on from what is there.
#[test]
fn whatever_happens_the_zone_gets_there_and_what_others_made_stays() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let theirs = any_theirs(&mut rng);
        let mut there = theirs.clone();
        for _ in 0..6 {
            let wanted = any_names(&mut rng);
            let (planned, problems) = changes(&there, &wanted, OUTSIDE);
            let calls = batches(&planned);
            let done = if rng.u8(..3) == 0 { rng.usize(..=calls.len()) } else { calls.len() };
            calls.iter().take(done).for_each(|batch| call(&mut there, batch));
            assert!(theirs.iter().all(|record| there.contains(record)), "seed {seed}");
            if done < calls.len() {
                continue;
            }
            let (again, same) = changes(&there, &wanted, OUTSIDE);
            assert!(again.is_empty() && same == problems, "seed {seed}: {again:?}");
            let taken = |name: &String| {
                problems.iter().any(|problem| problem.subject == format!("{name}.mesh.internal"))
            };
            let mut expected = wanted;
            expected.retain(|name, _| !taken(name));
            assert_eq!(ours(&there, OUTSIDE), expected, "seed {seed}");
            assert_eq!(there.iter().filter(|record| record.kind == "TXT").count(), {
                expected.len() + theirs.iter().filter(|record| record.kind == "TXT").count()
            });
        }
        let (rest, _) = changes(&there, &Names::new(), OUTSIDE);
        batches(&rest).into_iter().for_each(|batch| call(&mut there, batch));
        let (mut left, mut theirs) = (there, theirs);
        left.sort();
        theirs.sort();
        assert_eq!(left, theirs, "seed {seed}: nothing of ours is left");
    }
}
