use super::*;
use crate::source::ecs::samples::{CLUSTER, definition, service, task};

fn cart() -> Name {
    (CLUSTER.to_owned(), "cart".to_owned())
}

#[test]
fn a_task_is_told_of_once_its_definition_and_its_service_were_asked_for() {
    let (mut book, now) = (Book::default(), Instant::now());
    assert!(!book.covers(&task(1)));
    assert_eq!(book.unknown_definitions([&task(1)].into_iter()), [definition().arn].into());
    book.defined(vec![(definition().arn, Some(definition()))]);
    assert!(!book.covers(&task(1)) && book.covers(&Task { service: None, ..task(1) }));
    book.served([cart()].into(), Vec::new(), now);
    assert!(book.covers(&task(1)), "ECS does not tell of the service: it does not get in the way");
    assert!(book.services().is_empty());
    book.served([cart()].into(), vec![service()], now);
    assert_eq!(book.services().values().next().map(AsRef::as_ref), Some(&service()));
    assert_eq!(book.name_of(&service().arn), Some(cart()));
}

#[test]
fn services_are_asked_for_at_once_when_new_and_a_few_at_a_time_when_old() {
    let (mut book, now) = (Book::default(), Instant::now());
    let names: BTreeSet<Name> = (0..500).map(|n| (CLUSTER.to_owned(), format!("s{n}"))).collect();
    assert_eq!(book.wanted_services(names.clone(), now).len(), 500);
    book.served(names.clone(), Vec::new(), now);
    assert!(book.wanted_services(names.clone(), now).is_empty());
    let mut asked = BTreeSet::new();
    for round in 0..3 {
        let later = now + AGE + Duration::from_secs(round);
        let wanted = book.wanted_services(names.clone(), later);
        assert!(wanted.len() <= AGAIN && wanted.is_disjoint(&asked));
        let told =
            wanted.iter().map(|(_, name)| Service { name: name.clone(), arn: name.clone(), ..service() });
        book.served(wanted.clone(), told.collect(), later);
        asked.extend(wanted);
    }
    assert_eq!(asked, names);
}

#[test]
fn a_service_with_tasks_stays_whatever_a_listing_says() {
    let (mut book, now) = (Book::default(), Instant::now());
    book.served([cart()].into(), vec![service()], now);
    for _ in 0..5 {
        book.listed(&BTreeSet::new(), &[cart()].into());
    }
    assert!(book.knows(&cart()));
    book.listed(&BTreeSet::new(), &BTreeSet::new());
    book.listed(&[cart()].into(), &BTreeSet::new());
    book.listed(&BTreeSet::new(), &BTreeSet::new());
    assert!(book.knows(&cart()), "one listing may be behind");
    book.listed(&BTreeSet::new(), &BTreeSet::new());
    assert!(!book.knows(&cart()));
}

#[test]
fn definitions_without_tasks_are_forgotten_when_there_are_many() {
    let mut book = Book::default();
    book.defined((0..2_000).map(|n| (format!("d{n}"), None)).collect());
    book.defined(vec![(definition().arn, Some(definition()))]);
    book.tidy([&task(1)].into_iter());
    assert_eq!(book.definitions.len(), 1);
    assert_eq!(book.definitions([&task(1)].into_iter()).len(), 1);
}
