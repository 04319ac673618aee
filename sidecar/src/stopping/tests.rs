use std::sync::{Arc, Mutex};

use outrigger_lifecycle::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;

const DEADLINE: Duration = Duration::from_secs(28);

/// A metadata endpoint; what it answers to `/task` can be changed. None: 429.
struct Endpoint {
    address: String,
    task: Arc<Mutex<Option<String>>>,
    _tasks: Tasks,
}

impl Endpoint {
    async fn start(task: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v4/abc", listener.local_addr().unwrap());
        let task = Arc::new(Mutex::new(Some(task.to_owned())));
        let (mut tasks, said) = (Tasks::new(), task.clone());
        tasks.spawn("endpoint", async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await.unwrap());
                }
                let own = r#"{ "DockerId": "own", "Name": "sidecar", "StartedAt": "2026-11-23T10:00:02Z" }"#;
                let answer = match head.starts_with(b"GET /v4/abc/task ") {
                    true => said.lock().unwrap().clone(),
                    false => Some(own.to_owned()),
                };
                let (status, body) =
                    answer.map_or(("429 Too Many Requests", String::new()), |body| ("200 OK", body));
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _gone = tcp.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, task, _tasks: tasks }
    }

    fn place(&self) -> task::Endpoint {
        task::Endpoint::new(&self.address).unwrap()
    }

    fn say(&self, task: Option<&str>) {
        *self.task.lock().unwrap() = task.map(str::to_owned);
    }
}

/// As EC2 and Fargate write it, shortened.
fn task(desired: &str, application: &str) -> String {
    format!(
        r#"{{ "Cluster": "shop", "DesiredStatus": "{desired}", "KnownStatus": "RUNNING",
        "Limits": {{ "CPU": 0.25 }}, "Containers": [
        {{ "DockerId": "own", "Name": "sidecar", "KnownStatus": "RUNNING", "StartedAt": "2026-11-23T10:00:02Z", "Type": "NORMAL" }},
        {{ "DockerId": "pause", "Name": "~internal~ecs~pause", "KnownStatus": "RESOURCES_PROVISIONED", "Type": "CNI_PAUSE" }},
        {{ "DockerId": "app", "Name": "app", "KnownStatus": "{application}", "StartedAt": "2026-11-23T10:00:05.5Z",
           "Type": "NORMAL" }} ] }}"#
    )
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("done in time")
}

#[tokio::test]
async fn it_leaves_when_the_task_is_to_stop_and_ends_after_the_application() {
    let endpoint = Endpoint::start(&task("RUNNING", "RUNNING")).await;
    let leaving = watch::Sender::new(false);
    let mut left = leaving.subscribe();
    let end = Task::at(endpoint.place()).end(std::future::pending(), leaving, DEADLINE);
    let story = async {
        endpoint.say(Some(&task("STOPPED", "RUNNING")));
        left.wait_for(|left| *left).await.unwrap();
        endpoint.say(Some(&task("STOPPED", "STOPPED")));
    };
    let (left, ()) = within(async { tokio::join!(end, story) }).await;
    assert_eq!(left, DEADLINE);
}

#[tokio::test]
async fn a_batch_task_ends_with_its_application() {
    let endpoint = Endpoint::start(&task("RUNNING", "STOPPED")).await;
    let leaving = watch::Sender::new(false);
    let left =
        within(Task::at(endpoint.place()).end(std::future::pending(), leaving.clone(), DEADLINE)).await;
    assert_eq!((left, *leaving.borrow()), (DEADLINE, false));
}

/// Where nothing makes ECS stop the application first, both are told at once.
#[tokio::test]
async fn told_before_the_application_it_serves_on_but_not_for_ever() {
    let endpoint = Endpoint::start(&task("RUNNING", "RUNNING")).await;
    let (tell, told) = oneshot::channel::<()>();
    tell.send(()).unwrap();
    let told = async { told.await.unwrap() };
    let leaving = watch::Sender::new(false);
    let deadline = Duration::from_millis(1500);
    let begun = Instant::now();
    let left = within(Task::at(endpoint.place()).end(told, leaving.clone(), deadline)).await;
    assert_eq!((left, *leaving.borrow()), (Duration::ZERO, true));
    assert!(begun.elapsed() >= deadline, "{:?}", begun.elapsed());
}

/// Nobody says whether the application runs: it drains as it does everywhere.
#[tokio::test]
async fn without_an_answer_it_serves_until_it_is_told() {
    let endpoint = Endpoint::start(&task("RUNNING", "STOPPED")).await;
    endpoint.say(None);
    let (tell, told) = oneshot::channel::<()>();
    let end =
        Task::at(endpoint.place()).end(async { told.await.unwrap() }, watch::Sender::new(false), DEADLINE);
    let mut end = pin!(end);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut end).await;
    assert!(early.is_err());
    tell.send(()).unwrap();
    let left = within(end).await;
    assert!(left <= DEADLINE && left > DEADLINE - Duration::from_secs(10), "{left:?}");
}
