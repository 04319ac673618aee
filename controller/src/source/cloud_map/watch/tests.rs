use std::collections::HashMap;

use super::*;

fn lookup() -> Lookup {
    Lookup { namespace: "shop.internal".into(), service: "billing".into(), attributes: BTreeMap::new() }
}

fn read(id: &str, health: Health, address: &str) -> Result<Instance, Unusable> {
    let attributes = [("AWS_INSTANCE_IPV4".to_owned(), address.to_owned())];
    Instance::read(id, health, &HashMap::from(attributes))
}

fn whole(instances: Vec<Result<Instance, Unusable>>) -> Result<Said, CallError> {
    Ok(Said::Whole { instances, revision: Some(1) })
}

fn ids(seen: &Seen) -> Vec<String> {
    let instances = seen.answers[&lookup()].instances.clone();
    instances.iter().flat_map(|all| all.iter()).map(|instance| instance.id.clone()).collect()
}

#[test]
fn what_fails_leaves_the_last_good_answer() {
    let mut seen = Seen::default();
    let error = |what: &str| CallError {
        operation: "servicediscovery:DiscoverInstances",
        what: what.into(),
        refused: false,
        denied: false,
    };
    take(&mut seen, &lookup(), Err(error("away")));
    assert_eq!((ids(&seen).len(), seen.answers[&lookup()].asked), (0, None));
    take(
        &mut seen,
        &lookup(),
        whole(vec![read("b", Health::Healthy, "10.0.0.2"), read("a", Health::Healthy, "10.0.0.1")]),
    );
    assert_eq!(
        (ids(&seen), seen.answers[&lookup()].error.clone()),
        (vec!["a".to_owned(), "b".to_owned()], None)
    );
    take(&mut seen, &lookup(), Err(error("away")));
    assert_eq!(ids(&seen), ["a", "b"]);
    assert!(seen.answers[&lookup()].error.as_ref().unwrap().contains("away"));
    take(&mut seen, &lookup(), Ok(Said::Same));
    assert_eq!((ids(&seen).len(), seen.answers[&lookup()].error.clone()), (2, None));
    take(&mut seen, &lookup(), whole(Vec::new()));
    assert_eq!(ids(&seen).len(), 0, "nobody is an answer, too");
}

#[test]
fn where_nobody_is_healthy_all_are_called_as_cloud_map_wants() {
    let bad = |id| read(id, Health::Unhealthy, "10.0.0.1");
    let (instances, told) = usable(vec![bad("a"), bad("b")]);
    assert!(instances.iter().all(|instance| instance.health == Health::Unchecked));
    assert_eq!(told, ["no instance of it is healthy: all are called"]);
    let (instances, told) = usable(vec![bad("a"), read("b", Health::Healthy, "10.0.0.2")]);
    assert_eq!((instances[0].health, told.len()), (Health::Unhealthy, 0));
}

#[test]
fn what_is_left_out_is_told_and_not_without_end() {
    let bad: Vec<_> = (0..9).map(|n| read(&format!("i-{n}"), Health::Healthy, "169.254.169.254")).collect();
    let (instances, told) = usable(bad);
    assert_eq!((instances.len(), told.len()), (0, TOLD + 1));
    assert!(told[0].contains("i-0") && told[TOLD].starts_with("4 more"), "{told:?}");
    let full = (0..1_000).map(|n| read(&format!("i-{n}"), Health::Healthy, "10.0.0.1")).collect();
    assert!(usable(full).1[0].contains("never more"));
}

/// A mesh of thousands of tasks is not merged anew because an answer came that says the same.
#[test]
fn the_age_of_an_answer_wakes_nobody() {
    let (out, mut seen) = watch::channel(Seen::default());
    publish(&out, |seen| take(seen, &lookup(), whole(vec![read("a", Health::Healthy, "10.0.0.1")])));
    assert!(seen.has_changed().unwrap());
    let before = seen.borrow_and_update().answers[&lookup()].asked;
    publish(&out, |seen| take(seen, &lookup(), Ok(Said::Same)));
    assert!(!seen.has_changed().unwrap());
    assert!(seen.borrow().answers[&lookup()].asked >= before);
    publish(&out, |seen| Lookups::default().settle(seen, Instant::now()));
    assert!(seen.has_changed().unwrap() && seen.borrow().answers.is_empty() && seen.borrow().begun);
}

/// Nobody answers: the last good answers are nobody's, and the first publication goes out all the same after a while.
#[tokio::test(start_paused = true)]
async fn the_first_publication_waits_and_not_for_ever() {
    let (tell, file) = watch::channel(MeshFile::default());
    let (out, mut seen) = watch::channel(Seen::default());
    let api = Api::new(&crate::aws::at("http://127.0.0.1:9", "eu-west-1").await, Default::default());
    let mut tasks = outrigger_lifecycle::Tasks::new();
    tasks.spawn("cloud map", watch(api, file, ["shop".to_owned()].into(), Kept::default(), out));
    let text = "services: { billing: { ports: [ 80 ], cloud-map: { namespace: shop.internal } } }";
    let mesh = Arc::new(outrigger_model::Mesh::read(text, "mesh.yaml").unwrap());
    tell.send_modify(|file| file.mesh = Some(mesh));
    let began = Instant::now();
    seen.wait_for(|seen| seen.begun).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(seen.borrow().answers[&lookup()].error.is_some());
    tell.send_modify(|file| file.mesh = Some(Arc::default()));
    seen.wait_for(|seen| seen.answers.is_empty()).await.unwrap();
}

fn written(services: &[&str]) -> BTreeMap<ServiceKey, CloudMap> {
    let said =
        |name: &&str| format!("{name}: {{ ports: [ 80 ], cloud-map: {{ namespace: shop.internal }} }}");
    let text = format!("services: {{ {} }}", services.iter().map(said).collect::<Vec<_>>().join(", "));
    outrigger_model::Mesh::read(&text, "mesh.yaml").unwrap().cloud_map(&["shop".to_owned()].into())
}

/// A mesh file that is written anew: the same service is looked up under another name, or with other attributes.
fn renamed(to: &str) -> BTreeMap<ServiceKey, CloudMap> {
    let mut said = written(&["billing"]);
    said.values_mut().for_each(|said| said.service = Some(to.to_owned()));
    said
}

fn known(lookups: &mut Lookups, seen: &mut Seen, said: Result<Said, CallError>) {
    assert!(lookups.answered(&lookup(), &said));
    take(seen, &lookup(), said);
    lookups.kept.know(&lookup(), seen.answers.get(&lookup()));
}

#[test]
fn a_lookup_that_is_written_otherwise_keeps_the_replicas_until_it_is_answered() {
    let (mut lookups, mut seen, now) = (Lookups::default(), Seen::default(), Instant::now());
    lookups.want(&written(&["billing"]), now);
    lookups.settle(&mut seen, now);
    assert!(seen.answers[&lookup()].awaited && !seen.begun);
    known(&mut lookups, &mut seen, whole(vec![read("a", Health::Healthy, "10.0.0.1")]));
    lookups.settle(&mut seen, now);
    assert!(!seen.answers[&lookup()].awaited && seen.begun);

    lookups.want(&renamed("invoices"), now);
    lookups.settle(&mut seen, now);
    let other = Lookup { service: "invoices".into(), ..lookup() };
    let throttled = CallError {
        operation: "servicediscovery:DiscoverInstances",
        what: "slow".into(),
        refused: false,
        denied: false,
    };
    assert!(lookups.answered(&other, &Err(throttled.clone())));
    take(&mut seen, &other, Err(throttled));
    lookups.settle(&mut seen, now + Duration::from_secs(3_600));
    assert_eq!(seen.answers.keys().collect::<Vec<_>>(), [&other]);
    let answer = &seen.answers[&other];
    assert_eq!(answer.instances.as_ref().map(|instances| instances[0].id.as_str()), Some("a"));
    assert!(!answer.awaited && answer.error.is_some());
}

/// The file was without the service for a moment, and the answer to the question of before says: as I told you.
#[test]
fn an_answer_that_says_the_same_as_one_that_was_forgotten_is_none() {
    let (mut lookups, mut seen, now) = (Lookups::default(), Seen::default(), Instant::now());
    lookups.want(&written(&["billing"]), now);
    known(&mut lookups, &mut seen, whole(vec![read("a", Health::Healthy, "10.0.0.1")]));
    lookups.want(&written(&[]), now);
    lookups.settle(&mut seen, now);
    lookups.want(&written(&["billing"]), now);
    lookups.settle(&mut seen, now);
    assert!(!lookups.answered(&lookup(), &Ok(Said::Same)));
    assert!(seen.answers[&lookup()].awaited && lookups.due(&BTreeSet::new(), now).is_some());
    assert!(!lookups.answered(&Lookup { service: "gone".into(), ..lookup() }, &Ok(Said::Same)));
}

/// More lookups than Cloud Map may be asked in five seconds: the last of the alphabet were never asked.
#[test]
fn of_more_lookups_than_can_be_asked_in_time_each_has_its_turn() {
    let names: Vec<String> = (0..200).map(|n| format!("service-{n:03}")).collect();
    let said = written(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut lookups, start) = (Lookups::default(), Instant::now());
    lookups.want(&said, start);
    let mut asked: BTreeMap<Lookup, u32> = BTreeMap::new();
    // Ten calls in a second, for a minute.
    for call in 0..600 {
        let now = start + Duration::from_millis(100 * call);
        let (lookup, turn) = lookups.due(&BTreeSet::new(), now).unwrap();
        let (lookup, turn) = (lookup.clone(), turn.clone().whole(now, None));
        *asked.entry(lookup.clone()).or_default() += 1;
        lookups.turns.insert(lookup, turn);
    }
    assert_eq!((asked.len(), asked.values().min(), asked.values().max()), (200, Some(&3), Some(&3)));
}

/// A controller that starts while Cloud Map is away.
#[tokio::test(start_paused = true)]
async fn what_the_controller_before_was_told_holds_while_cloud_map_is_away() {
    let mut kept = Kept::default();
    let mut before = Seen::default();
    take(&mut before, &lookup(), whole(vec![read("a", Health::Healthy, "10.0.0.1")]));
    kept.know(&lookup(), before.answers.get(&lookup()));
    let file = MeshFile {
        mesh: Some(Arc::new(
            outrigger_model::Mesh::read(
                "services: { billing: { ports: [ 80 ], cloud-map: { namespace: shop.internal } } }",
                "mesh.yaml",
            )
            .unwrap(),
        )),
        ..MeshFile::default()
    };
    let (_tell, file) = watch::channel(file);
    let (out, mut seen) = watch::channel(Seen::default());
    let api = Api::new(&crate::aws::at("http://127.0.0.1:9", "eu-west-1").await, Default::default());
    let mut tasks = outrigger_lifecycle::Tasks::new();
    tasks.spawn("cloud map", watch(api, file, ["shop".to_owned()].into(), kept, out));
    let seen = seen.wait_for(|seen| seen.begun).await.unwrap();
    assert_eq!(ids(&seen), ["a"]);
    assert!(seen.answers[&lookup()].error.is_some());
}
