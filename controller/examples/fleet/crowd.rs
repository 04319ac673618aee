//! Fake sidecars: each holds a control stream of its own, answers every change at once, and reports when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_lifecycle::Tasks;
use outrigger_wire::control::{Ack, Delta, Down, Edge, Hello, Report, Up, down, rpc, up};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// How often a sidecar reports.
const ROUND: Duration = Duration::from_secs(5);

/// What the sidecars have got since the mark.
#[derive(Default)]
struct Count {
    /// Changes of all of them.
    deltas: AtomicUsize,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    /// By number of the sidecar: it has one already.
    got: Vec<bool>,
    left: usize,
    begun: Option<Instant>,
    done: Option<oneshot::Sender<Duration>>,
}

/// Does what the lines that come over a socket say, and answers each with a line.
pub async fn run(socket: &str, orders: &str) {
    let orders = UnixStream::connect(orders).await.expect("they are given");
    let (orders, mut answers) = orders.into_split();
    let mut orders = BufReader::new(orders).lines();
    let mut crowd = Crowd::default();
    while let Ok(Some(order)) = orders.next_line().await {
        let answer = crowd.obey(socket, &order).await;
        answers.write_all(format!("{answer}\n").as_bytes()).await.expect("it is read");
    }
}

/// All sidecars.
#[derive(Default)]
struct Crowd {
    lines: Vec<UnboundedSender<Up>>,
    count: Arc<Count>,
    done: Option<oneshot::Receiver<Duration>>,
    reports: u64,
    tasks: Tasks,
}

impl Crowd {
    async fn obey(&mut self, socket: &str, order: &str) -> String {
        let words: Vec<&str> = order.split(' ').collect();
        match words.as_slice() {
            ["open"] => {
                let (up, down) = open(socket).await;
                let (number, answers, count) = (self.lines.len(), up.clone(), self.count.clone());
                self.tasks.spawn("sidecar", async move { answer(number, down, answers, &count).await });
                self.lines.push(up);
            }
            ["mark", sidecars] => {
                let (tell, told) = oneshot::channel();
                self.count.mark(sidecars.parse().expect("a number"), self.lines.len(), tell);
                self.done = Some(told);
            }
            ["report"] => {
                self.reports += 1;
                self.lines.iter().for_each(|line| report(line, self.reports));
            }
            ["round"] => self.round().await,
            ["all"] => {
                let took = self.done.take().expect("after a mark").await.expect("it is told");
                return format!("{:.0}", took.as_secs_f64() * 1e3);
            }
            ["deltas"] => return self.count.deltas.load(Ordering::Relaxed).to_string(),
            other => unreachable!("{other:?}"),
        }
        "done".into()
    }

    /// Each reports once, one after the other.
    async fn round(&mut self) {
        self.reports += 1;
        let begun = Instant::now();
        let all = u32::try_from(self.lines.len()).expect("thousands");
        for (number, line) in (1..).zip(&self.lines) {
            sleep_until(begun + ROUND * number / all).await;
            report(line, self.reports);
        }
    }
}

async fn open(socket: &str) -> (UnboundedSender<Up>, Streaming<Down>) {
    let endpoint = Endpoint::try_from(format!("unix://{socket}")).expect("a path");
    let (up, messages) = unbounded_channel();
    let hello = Hello { sidecar_version: "1".into(), ..Hello::default() };
    say(&up, up::Kind::Hello(hello));
    let channel = endpoint.connect().await.expect("the controller listens");
    let down = rpc::open(channel, UnboundedReceiverStream::new(messages), None).await;
    (up, down.expect("it is let in"))
}

fn say(up: &UnboundedSender<Up>, kind: up::Kind) {
    up.send(Up { kind: Some(kind) }).expect("the stream is open");
}

/// Everything as before, but for what was counted.
fn report(line: &UnboundedSender<Up>, number: u64) {
    let edge = |peer: u64| Edge {
        peer: format!("service-{peer:03}.shop"),
        port: 8080,
        mtls: true,
        protocol: "http".into(),
        requests: number * 100,
        ..Edge::default()
    };
    let edges = (0..5).map(edge).collect();
    let (listening, wildcard) = (vec![8080], vec![8080]);
    say(
        line,
        up::Kind::Report(Report {
            ready: true,
            listening,
            wildcard,
            settled: true,
            edges,
            ..Report::default()
        }),
    );
}

async fn answer(number: usize, mut down: Streaming<Down>, up: UnboundedSender<Up>, count: &Count) {
    while let Ok(Some(message)) = down.message().await {
        if let Some(down::Kind::Delta(Delta { nonce, version, .. })) = message.kind {
            say(&up, up::Kind::Ack(Ack { nonce, version }));
            count.got(number);
        }
    }
}

impl Count {
    fn mark(&self, sidecars: usize, all: usize, done: oneshot::Sender<Duration>) {
        self.deltas.store(0, Ordering::Relaxed);
        let left =
            Left { got: vec![false; all], left: sidecars, begun: Some(Instant::now()), done: Some(done) };
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }

    fn got(&self, number: usize) {
        self.deltas.fetch_add(1, Ordering::Relaxed);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.got.get_mut(number).is_some_and(|got| !std::mem::replace(got, true)) {
            left.left = left.left.wrapping_sub(1);
            if left.left == 0
                && let (Some(done), Some(begun)) = (left.done.take(), left.begun)
            {
                done.send(begun.elapsed()).expect("it is waited for");
            }
        }
    }
}
