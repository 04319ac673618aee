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
    };
    take(&mut seen, lookup(), Err(error("away")));
    assert_eq!((ids(&seen).len(), seen.answers[&lookup()].asked), (0, None));
    take(
        &mut seen,
        lookup(),
        whole(vec![read("b", Health::Healthy, "10.0.0.2"), read("a", Health::Healthy, "10.0.0.1")]),
    );
    assert_eq!(
        (ids(&seen), seen.answers[&lookup()].error.clone()),
        (vec!["a".to_owned(), "b".to_owned()], None)
    );
    take(&mut seen, lookup(), Err(error("away")));
    assert_eq!(ids(&seen), ["a", "b"]);
    assert!(seen.answers[&lookup()].error.as_ref().unwrap().contains("away"));
    take(&mut seen, lookup(), Ok(Said::Same));
    assert_eq!((ids(&seen).len(), seen.answers[&lookup()].error.clone()), (2, None));
    take(&mut seen, lookup(), whole(Vec::new()));
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
    publish(&out, |seen| take(seen, lookup(), whole(vec![read("a", Health::Healthy, "10.0.0.1")])));
    assert!(seen.has_changed().unwrap());
    let before = seen.borrow_and_update().answers[&lookup()].asked;
    publish(&out, |seen| take(seen, lookup(), Ok(Said::Same)));
    assert!(!seen.has_changed().unwrap());
    assert!(seen.borrow().answers[&lookup()].asked >= before);
    publish(&out, |seen| forget(seen, &BTreeMap::new(), true));
    assert!(seen.has_changed().unwrap() && seen.borrow().answers.is_empty() && seen.borrow().begun);
}

/// Nobody answers: the last good answers are nobody's, and the first publication goes out all the same after a while.
#[tokio::test(start_paused = true)]
async fn the_first_publication_waits_and_not_for_ever() {
    let (tell, file) = watch::channel(MeshFile::default());
    let (out, mut seen) = watch::channel(Seen::default());
    let api = Api::new(&crate::aws::at("http://127.0.0.1:9", "eu-west-1").await, Default::default());
    let mut tasks = outrigger_lifecycle::Tasks::new();
    tasks.spawn("cloud map", watch(api, file, ["shop".to_owned()].into(), out));
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
