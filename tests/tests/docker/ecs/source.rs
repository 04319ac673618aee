//! The controller's ECS source on the simulator: what it sees of tasks, when, and what it does when answers fail.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use outrigger_controller::aws;
use outrigger_controller::source::ecs::calls::Calls;
use outrigger_controller::source::ecs::client::Api;
use outrigger_controller::source::ecs::queue::Queue;
use outrigger_controller::source::ecs::record::{Seen, Stage, Task};
use outrigger_controller::source::ecs::watch::watch;
use outrigger_tests::ecs::{Simulator, meshed, service};
use serde_json::{Value, json};
use tokio::runtime;
use tokio::sync::{oneshot, watch as channel};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
/// From a change in ECS to the view, by events.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The source, watching the simulator's cluster `default`.
struct Watching {
    seen: channel::Receiver<Seen>,
    calls: Calls,
    /// It ends with the value.
    _stop: oneshot::Sender<()>,
}

impl Watching {
    /// On a thread of its own: the simulator is asked with calls that block.
    async fn start(ecs: &Simulator, with_queue: bool) -> Self {
        Self::start_on(ecs, with_queue, &["default"]).await
    }

    async fn start_on(ecs: &Simulator, with_queue: bool, clusters: &[&str]) -> Self {
        let clusters = clusters.iter().map(|&name| name.to_owned()).collect();
        let said = |key: &str| ecs.addresses()[key].as_str().expect("the first line has it").to_owned();
        let (url, region, queue) = (ecs.url().to_owned(), said("region"), with_queue.then(|| said("queue")));
        let (tell, seen) = channel::channel(Seen::default());
        let (_stop, stop) = oneshot::channel();
        let (tell_calls, calls) = oneshot::channel();
        let watching = async move {
            let config = aws::at(&url, &region).await;
            let api = Api::new(&config);
            let queue = queue.map(|url| Queue::new(&config, &url, api.calls.clone()));
            tell_calls.send(api.calls.clone()).expect("the test waits for it");
            tokio::select! {
                () = watch(api, clusters, queue, tell) => {}
                _ = stop => {}
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        thread::spawn(move || runtime.block_on(watching));
        Self { seen, calls: calls.await.expect("it starts"), _stop }
    }

    async fn until(&mut self, limit: Duration, is: impl Fn(&Seen) -> bool) -> Seen {
        let found =
            timeout(limit, self.seen.wait_for(|seen| is(seen))).await.map(|found| found.map(|s| s.clone()));
        match found {
            Ok(found) => found.expect("the source watches on"),
            Err(_) => panic!("not within {limit:?}: {:#?}", *self.seen.borrow()),
        }
    }
}

/// A simulator with `cart`, whose tasks run.
fn cart(count: u32) -> Simulator {
    let ecs = Simulator::start();
    ecs.post("pace", json!({ "seconds": 0.05 }));
    ecs.post("definition", meshed("cart"));
    ecs.post("service", service("cart", count));
    let count = usize::try_from(count).expect("a few");
    ecs.until("task", LIMIT, |tasks| (running(tasks).len() == count).then_some(()));
    ecs
}

/// ARNs of tasks that the simulator has running, and wants to.
fn running(tasks: &[Value]) -> BTreeSet<String> {
    let runs =
        tasks.iter().filter(|task| task["lastStatus"] == "RUNNING" && task["desiredStatus"] == "RUNNING");
    runs.filter_map(|task| task["taskArn"].as_str().map(str::to_owned)).collect()
}

fn runs(task: &Task) -> bool {
    task.last_status == Stage::Running && !task.is_stopping()
}

/// Those that the source would send traffic to.
fn serving(seen: &Seen) -> BTreeSet<String> {
    seen.tasks.values().filter(|task| runs(task)).map(|task| task.arn.clone()).collect()
}

#[tokio::test]
#[ignore = "needs the simulator of ECS"]
async fn a_deployment_is_followed_by_events_within_a_second() {
    let ecs = cart(4);
    let mut source = Watching::start(&ecs, true).await;
    let seen = source.until(LIMIT, |seen| seen.current && serving(seen).len() == 4).await;
    let stopped = serving(&seen).first().cloned().expect("four");
    ecs.post("stop", json!({ "task": stopped }));
    source.until(AT_ONCE, |seen| !serving(seen).contains(&stopped)).await;

    // A new revision: its definition is asked for before a task of it is told of.
    ecs.post("definition", meshed("cart"));
    ecs.post("update", json!({ "service": "cart", "taskDefinition": "cart" }));
    let began = Instant::now();
    let new = |tasks: &[Value]| {
        let new = |task: &&Value| task["taskDefinitionArn"].as_str().is_some_and(|arn| arn.ends_with(":2"));
        let new: Vec<Value> = tasks.iter().filter(new).cloned().collect();
        let all = running(tasks);
        (running(&new).len() == 4 && all.len() == 4).then_some(all)
    };
    let all = ecs.until("task", LIMIT, new);
    let took = began.elapsed();
    let seen = source.until(AT_ONCE, |seen| serving(seen) == all).await;
    assert!(seen.tasks.values().all(|task| seen.definitions.contains_key(&task.definition)));
    assert!(took < Duration::from_secs(50), "only events can have told of it: {took:?}");
    assert!(source.calls.events()["taken"] > 8, "{:?}", source.calls.events());
    ecs.assert_no_faults();
}

#[tokio::test]
#[ignore = "needs the simulator of ECS"]
async fn several_clusters_are_one_view_and_no_other_is_in_it() {
    let ecs = cart(2);
    let serve = |cluster: &str, count: u32| {
        let mut order = service("cart", count);
        order["cluster"] = cluster.into();
        ecs.post("cluster", json!({ "name": cluster }));
        ecs.post("service", order);
    };
    let of = |cluster: &str| {
        let part = format!(":task/{cluster}/");
        let tasks = running(&ecs.records("task"));
        tasks.into_iter().filter(|arn| arn.contains(&part)).collect::<BTreeSet<_>>()
    };
    let known = |_: &[Value]| (of("default").len() + of("shop").len() == 5).then_some(());
    serve("shop", 3);
    serve("foreign", 1);
    ecs.until("task", LIMIT, known);
    let arn = ecs
        .records("task")
        .iter()
        .find_map(|task| task["clusterArn"].as_str().filter(|arn| arn.ends_with("/shop")).map(str::to_owned));
    let mut source = Watching::start_on(&ecs, true, &["default", &arn.expect("it has tasks")]).await;
    let both = &of("default") | &of("shop");
    let seen = source.until(LIMIT, |seen| seen.current).await;
    assert_eq!((serving(&seen), seen.tasks.len()), (both, 5), "nothing of the one nobody named");

    // What events tell of either counts; of the third, nothing.
    ecs.post("update", json!({ "cluster": "foreign", "service": "cart", "desiredCount": 2 }));
    ecs.post("update", json!({ "cluster": "shop", "service": "cart", "desiredCount": 4 }));
    ecs.until("task", LIMIT, |_| (of("shop").len() == 4 && of("foreign").len() == 2).then_some(()));
    let both = &of("default") | &of("shop");
    source.until(AT_ONCE, |seen| serving(seen) == both).await;
    ecs.assert_no_faults();
}

#[tokio::test]
#[ignore = "needs the simulator of ECS"]
async fn events_doubled_out_of_order_and_unreadable_end_in_the_same_view() {
    let ecs = cart(3);
    let mut source = Watching::start(&ecs, true).await;
    source.until(LIMIT, |seen| seen.current && serving(seen).len() == 3).await;
    ecs.post("events", json!({ "kind": "duplicate", "count": 20 }));
    ecs.post("events", json!({ "kind": "reorder", "count": 6 }));
    ecs.post("event", json!({ "detail-type": "ECS Task State Change", "detail": { "version": "?" } }));
    ecs.post("event", json!({ "no": "envelope" }));
    ecs.post("update", json!({ "service": "cart", "desiredCount": 6 }));
    let all = ecs.until("task", LIMIT, |tasks| Some(running(tasks)).filter(|all| all.len() == 6));
    ecs.post("events", json!({ "clear": true }));
    let seen = source.until(LIMIT, |seen| serving(seen) == all).await;
    assert!(seen.current);
    let events = source.calls.events();
    assert_eq!(events["unreadable"], 2, "{events:?}");
    ecs.assert_no_faults();
}

#[tokio::test]
#[ignore = "needs the simulator of ECS"]
async fn throttled_partial_and_cut_answers_lose_no_endpoint() {
    let ecs = cart(12);
    let mut source = Watching::start(&ecs, false).await;
    let before = source.until(LIMIT, |seen| seen.current && serving(seen).len() == 12).await;
    let trouble = |kind: &str, more: Value| {
        let mut order = json!({ "kind": kind, "operation": "DescribeTasks" });
        order.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        ecs.post("trouble", order);
    };

    trouble("throttle", json!({ "count": 2 }));
    trouble("cut", json!({ "count": 1 }));
    let listed = before.listed;
    let after = source.until(LIMIT, |seen| seen.listed != listed).await;
    let operations = source.calls.operations();
    let described = operations["ecs:DescribeTasks"];
    assert!(after.current && described.throttled > 0 && described.failed > 0, "tried again: {operations:?}");
    assert_eq!(serving(&after), serving(&before));

    trouble("partial", json!({}));
    let stale = source.until(LIMIT, |seen| !seen.current).await;
    assert_eq!(serving(&stale), serving(&before), "the last good view stays");
    let error = stale.error.expect("it says why");
    assert!(error.contains("of 12 tasks") && error.contains("MISSING"), "{error}");
    ecs.post("trouble", json!({ "clear": true }));
    let again = source.until(LIMIT, |seen| seen.current).await;
    assert_eq!((serving(&again), again.error), (serving(&before), None));

    trouble("error", json!({ "code": "AccessDeniedException", "message": "not authorized", "status": 400 }));
    let denied = source.until(LIMIT, |seen| !seen.current).await;
    let error = denied.error.as_deref().unwrap_or_default();
    assert!(error.contains("allow ecs:DescribeTasks to the controller's role"), "{error}");
    assert_eq!(serving(&denied), serving(&before));
}
