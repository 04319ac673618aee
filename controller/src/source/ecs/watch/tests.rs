use serde_json::json;

use super::*;
use crate::source::ecs::record::{Definition, Stage};
use crate::source::ecs::samples::{CLUSTER, definition, service, task};
use crate::source::ecs::{book, list};

/// A watcher that has not asked anything yet; nobody is at its endpoint.
async fn watcher(with_queue: bool) -> (Watch, watch::Receiver<Seen>) {
    let api = Api::new(&crate::aws::at("http://127.0.0.1:9", "eu-west-1").await);
    let (out, seen) = watch::channel(Seen::default());
    let queue = with_queue.then_some(None);
    let now = Instant::now();
    let watch = Watch {
        about: about(&api, &[CLUSTER.to_owned()]),
        api,
        names: vec!["shop".into()],
        out,
        clusters: vec![CLUSTER.into()],
        tracker: Tracker::default(),
        book: Book::default(),
        asking: BTreeSet::new(),
        queue,
        failures: 0,
        begun: now,
        next: now,
        unpublished: None,
    };
    (watch, seen)
}

fn event(n: u32, definition: &str, status: &str, version: i64) -> String {
    let task = task(n);
    json!({
        "detail-type": "ECS Task State Change",
        "detail": {
            "taskArn": task.arn,
            "clusterArn": CLUSTER,
            "taskDefinitionArn": definition,
            "group": "service:cart",
            "lastStatus": status,
            "desiredStatus": if status == "RUNNING" { "RUNNING" } else { "STOPPED" },
            "version": version,
        }
    })
    .to_string()
}

fn told(tasks: Vec<Task>) -> Result<Answer, ListError> {
    let tasks = list::Tasks { told: tasks, absent: BTreeSet::new() };
    Ok(Answer::Tasks { clusters: vec![tasks], services: [name()].into() })
}

fn name() -> book::Name {
    (CLUSTER.to_owned(), "cart".to_owned())
}

fn rest(definition: Definition) -> Found {
    Found {
        definitions: vec![(definition.arn.clone(), Some(definition))],
        asked: [name()].into(),
        services: vec![service()],
    }
}

fn whole(watch: &mut Watch, tasks: Vec<Task>) {
    assert!(matches!(watch.answered(told(tasks)), Some(Question::Rest { .. })));
    assert!(watch.answered(Ok(Answer::Rest(rest(definition())))).is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_first_whole_answer_is_complete() {
    let (mut watch, mut seen) = watcher(true).await;
    let look = watch.polled(Ok(vec![event(1, &definition().arn, "RUNNING", 4)]));
    assert!(look.is_some(), "its definition is asked for");
    let Some(Question::Rest { definitions, services }) = watch.answered(told(vec![task(1), task(2)])) else {
        panic!("the rest is asked for")
    };
    assert_eq!((definitions, services), ([definition().arn].into(), [name()].into()));
    assert!(!seen.has_changed().unwrap());
    assert!(watch.answered(Ok(Answer::Rest(rest(definition())))).is_none());
    let seen = seen.borrow_and_update();
    assert!(seen.current && seen.tasks.len() == 2 && seen.definitions.len() == 1 && seen.services.len() == 1);
    assert_eq!(seen.about, "ECS in eu-west-1, cluster shop");
    assert_eq!(watch.next, watch.begun + WITH_QUEUE);
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_new_revision_is_told_of_with_its_definition() {
    let (mut watch, seen) = watcher(true).await;
    whole(&mut watch, vec![task(1)]);
    let next = Definition { arn: "arn:new:4".into(), revision: 4, ..definition() };
    assert!(watch.polled(Ok(vec![event(2, "arn:new:4", "RUNNING", 4)])).is_some());
    assert!(watch.polled(Ok(vec![event(3, "arn:new:4", "RUNNING", 4)])).is_none(), "it is being asked for");
    assert_eq!(seen.borrow().tasks.len(), 1);
    watch.looked(&[Need::Definition("arn:new:4".into())].into(), Ok(rest(next)));
    assert_eq!((seen.borrow().tasks.len(), seen.borrow().definitions.len()), (3, 2));
    watch.polled(Ok(vec![event(1, &definition().arn, "DEACTIVATING", 5)]));
    let stopping = seen.borrow().tasks[&task(1).workload()].clone();
    assert!(stopping.is_stopping() && stopping.last_status == Stage::Deactivating);
}

#[tokio::test(start_paused = true)]
async fn events_of_other_clusters_are_none_of_ours() {
    let (mut watch, seen) = watcher(true).await;
    whole(&mut watch, vec![task(1)]);
    let foreign =
        event(2, "arn:new:4", "RUNNING", 4).replace(CLUSTER, "arn:aws:ecs:eu-west-1:1:cluster/other");
    assert!(watch.polled(Ok(vec![foreign])).is_none());
    assert_eq!((seen.borrow().tasks.len(), watch.api.calls.events()["other"]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_leaves_the_last_view_which_events_still_change() {
    let (mut watch, seen) = watcher(true).await;
    whole(&mut watch, vec![task(1), task(2)]);
    let error = ListError::Endless("ecs:ListTasks");
    assert!(watch.answered(Err(error.clone())).is_none());
    assert!(!seen.borrow().current && seen.borrow().tasks.len() == 2);
    assert_eq!(seen.borrow().error.as_deref(), Some(error.to_string().as_str()));
    assert_eq!(watch.next, Instant::now() + AGAIN, "soon, and not at once");
    watch.polled(Ok(vec![event(1, &definition().arn, "STOPPED", 9)]));
    assert!(!seen.borrow().current && seen.borrow().tasks.len() == 1);
    whole(&mut watch, vec![task(2)]);
    assert!(seen.borrow().current && seen.borrow().error.is_none());
}

#[tokio::test(start_paused = true)]
async fn while_the_queue_is_away_the_api_is_asked_more_often_and_at_once_when_it_is_back() {
    let (mut watch, seen) = watcher(true).await;
    whole(&mut watch, vec![task(1)]);
    let error = CallError {
        operation: "sqs:ReceiveMessage",
        what: "no such queue".into(),
        refused: true,
        denied: false,
    };
    watch.polled(Err(error.clone()));
    assert_eq!(seen.borrow().queue, Some(error.to_string()));
    assert!(seen.borrow().current && watch.next <= Instant::now() + WITHOUT);
    whole(&mut watch, vec![task(1)]);
    assert_eq!(watch.next, watch.begun + WITHOUT);
    watch.polled(Ok(Vec::new()));
    assert_eq!((seen.borrow().queue.clone(), watch.next), (None, Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_takes_long_is_asked_for_less_often() {
    let (mut watch, _seen) = watcher(false).await;
    tokio::time::advance(Duration::from_secs(12)).await;
    whole(&mut watch, vec![task(1)]);
    assert_eq!(watch.next, watch.begun + Duration::from_secs(24));
}

#[tokio::test(start_paused = true)]
async fn what_full_answers_of_the_queue_tell_is_published_together() {
    let (mut watch, mut seen) = watcher(true).await;
    whole(&mut watch, vec![task(1)]);
    seen.mark_unchanged();
    let full =
        |first: u32| (first..).take(BATCH).map(|n| event(n, &definition().arn, "RUNNING", 4)).collect();
    watch.polled(Ok(full(10)));
    watch.polled(Ok(full(20)));
    assert!(!seen.has_changed().unwrap(), "there is more to come");
    let by = watch.unpublished.expect("it is not forgotten");
    assert_eq!(by, Instant::now() + TOGETHER);
    watch.polled(Ok(Vec::new()));
    assert!(seen.has_changed().unwrap(), "nothing more waits");
    assert_eq!((seen.borrow().tasks.len(), watch.unpublished), (1 + 2 * BATCH, None));
}

/// Tasks of a revision that ECS did not know of a moment after it was made were no part of the mesh for a minute.
#[tokio::test(start_paused = true)]
async fn a_definition_that_is_not_known_yet_is_asked_for_again_soon() {
    let (mut watch, _seen) = watcher(true).await;
    whole(&mut watch, vec![task(1)]);
    assert_eq!(watch.next, watch.begun + WITH_QUEUE);
    let new = "arn:aws:ecs:eu-west-1:111122223333:task-definition/cart:9".to_owned();
    let none = Found { definitions: vec![(new.clone(), None)], ..Found::default() };
    watch.looked(&[Need::Definition(new)].into(), Ok(none));
    assert_eq!(watch.next, Instant::now() + WITHOUT);
}
