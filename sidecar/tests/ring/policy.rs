//! What a caller does about endpoints that fail: ejection, retries, limits. Applications count what they were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::http_two as grpc;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";
pub(crate) const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 503 Service Unavailable\r\n\
                     content-length: 3\r\n\r\nbad";
/// Sends what failed again at once, as often as may be, with plenty of budget.
const RETRIES: &str = "{ retries: { attempts: 2, backoff_least_ms: 1, budget_least: 100 } }";

/// Answers request n (from 0, over all connections) with `answer(n)`, or breaks the connection off for an empty one.
async fn app(answer: impl Fn(usize) -> &'static str + Copy + Send + 'static) -> (App, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let app = App::start(move |mut raw: Raw| {
        let count = count.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                raw.exactly(length).await;
                match answer(count.fetch_add(1, Ordering::SeqCst)) {
                    "" => return,
                    "silence" => std::future::pending::<()>().await,
                    said => raw.send(said).await,
                }
            }
        }
    })
    .await;
    (app, counter)
}

fn first_bad(n: usize) -> &'static str {
    if n == 0 { BAD } else { GOOD }
}

async fn status(client: &mut Raw, request: &str) -> String {
    let (head, _) = client.ask(request).await;
    head[9..12].to_owned()
}

fn metric(metrics: &str, line: &str) {
    assert!(metrics.contains(line), "{line}\n{metrics}");
}

#[tokio::test]
async fn an_endpoint_that_fails_in_a_row_is_ejected() {
    let (bad, asked) = app(|_| BAD).await;
    let (good, _) = app(|_| GOOD).await;
    let policy = "{ outlier: { consecutive_errors: 3, eject_ms: 60000 } }";
    let chain = Chain::start_policed(&[bad.address, good.address], "", policy).await;
    let mut client = chain.connect().await;
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(status(&mut client, GET).await == "503");
    }
    assert_eq!((failed, asked.load(Ordering::SeqCst)), (3, 3));
    let metrics = chain.caller.get("/metrics").await;
    metric(&metrics, r#"outrigger_ejections_total{cluster="echo.shop:7000"} 1"#);
    metric(&metrics, r#"outrigger_endpoint_ejected{cluster="echo.shop:7000",endpoint="shop-echo-1"} 1"#);
    metric(&metrics, r#"outrigger_endpoint_ejected{cluster="echo.shop:7000",endpoint="shop-echo-2"} 0"#);
}

#[tokio::test]
async fn an_ejected_endpoint_comes_back() {
    let (app_one, asked) = app(|n| if n < 2 { BAD } else { GOOD }).await;
    let (app_two, _) = app(|_| GOOD).await;
    let policy = "{ outlier: { consecutive_errors: 2, eject_ms: 50 } }";
    let chain = Chain::start_policed(&[app_one.address, app_two.address], "", policy).await;
    let mut client = chain.connect().await;
    let back = async {
        while asked.load(Ordering::SeqCst) < 10 {
            status(&mut client, GET).await;
        }
    };
    crate::mesh::within(back).await;
    metric(&chain.caller.get("/metrics").await, r#"outrigger_ejections_total{cluster="echo.shop:7000"} 1"#);
}

#[tokio::test]
async fn what_may_be_repeated_is_and_what_may_not_is_not() {
    let put = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    for (request, expected, times) in [(GET, "200", 2), (put, "200", 2), (post, "503", 1)] {
        let (app, asked) = app(first_bad).await;
        let chain = Chain::start_policed(&[app.address], "", RETRIES).await;
        let mut client = chain.connect().await;
        assert_eq!(status(&mut client, request).await, expected, "{request}");
        assert_eq!(asked.load(Ordering::SeqCst), times, "{request}");
        assert_eq!(status(&mut client, request).await, "200", "{request}");
        let metrics = chain.caller.get("/metrics").await;
        let line = r#"outrigger_retries_total{cluster="echo.shop:7000",outcome="recovered"} 1"#;
        assert_eq!(metrics.contains(line), times == 2, "{metrics}");
    }
}

#[tokio::test]
async fn a_post_is_repeated_where_the_policy_names_it() {
    let (app, asked) = app(first_bad).await;
    let policy = RETRIES.replace("attempts: 2", "attempts: 2, methods: [ POST ]");
    let chain = Chain::start_policed(&[app.address], "", &policy).await;
    let mut client = chain.connect().await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(status(&mut client, post).await, "200");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_a_reason() {
    let (app, asked) = app(|n| if n < 2 { "" } else { GOOD }).await;
    let chain = Chain::start_policed(&[app.address], "", RETRIES).await;
    assert_eq!(status(&mut chain.connect().await, GET).await, "200");
    assert!(asked.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn after_an_informational_response_nothing_is_repeated() {
    let (app, asked) = app(|_| EARLY).await;
    let chain = Chain::start_policed(&[app.address], "", RETRIES).await;
    let mut client = chain.connect().await;
    client.send(GET).await;
    assert!(client.head().await.starts_with("HTTP/1.1 103 "));
    assert!(client.answer().await.0.starts_with("HTTP/1.1 503 "));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_is_too_large_to_keep_is_sent_once() {
    let (app, asked) = app(first_bad).await;
    let chain = Chain::start_policed(&[app.address], "", RETRIES).await;
    let mut client = chain.connect().await;
    let size = 100 * 1024;
    let put = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n{}", "x".repeat(size));
    assert_eq!(status(&mut client, &put).await, "503");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_try_may_take_a_part_of_the_whole_time() {
    let (app, asked) = app(|n| if n == 0 { "silence" } else { GOOD }).await;
    let policy = RETRIES.replace("attempts: 2", "attempts: 1, per_try_timeout_ms: 100");
    let chain = Chain::start_policed(&[app.address], ", timeouts: { request_ms: 60000 }", &policy).await;
    assert_eq!(status(&mut chain.connect().await, GET).await, "200");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_whole_time_covers_all_tries() {
    let (app, _) = app(|_| "silence").await;
    let policy = RETRIES.replace("attempts: 2", "attempts: 10, per_try_timeout_ms: 200");
    let chain = Chain::start_policed(&[app.address], ", timeouts: { request_ms: 500 }", &policy).await;
    let begun = std::time::Instant::now();
    assert_eq!(status(&mut chain.connect().await, GET).await, "504");
    let took = begun.elapsed().as_millis();
    assert!((500..5000).contains(&took), "{took} ms, not 10 tries of 200");
    let metrics = chain.caller.get("/metrics").await;
    let sent = metrics.lines().find_map(|line| line.split_once(r#"outcome="sent"} "#)).unwrap().1;
    assert!((1..10).contains(&sent.parse::<u32>().unwrap()), "{metrics}");
}

/// Every request fails: the application gets a fifth more than was asked, and what a rest saves up.
#[tokio::test]
async fn a_storm_is_not_amplified_beyond_the_budget() {
    let (app, asked) = app(|_| BAD).await;
    let policy = "{ retries: { attempts: 5, backoff_least_ms: 1, backoff_most_ms: 1, budget_least: 0 } }";
    let chain = Chain::start_policed(&[app.address], "", policy).await;
    let mut client = chain.connect().await;
    for _ in 0..200 {
        assert_eq!(status(&mut client, GET).await, "503");
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!((230..=240).contains(&asked), "{asked}");
    metric(&chain.caller.get("/metrics").await, r#"outcome="out-of-budget""#);
}

/// An application that answers when it is let.
pub(crate) async fn gated() -> (App, Arc<Semaphore>, Arc<Semaphore>) {
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (open, seen) = (gate.clone(), entered.clone());
    let app = App::start(move |mut raw: Raw| {
        let (gate, entered) = (gate.clone(), entered.clone());
        async move {
            while raw.maybe_head().await.is_some() {
                entered.add_permits(1);
                gate.acquire().await.unwrap().forget();
                raw.send(GOOD).await;
            }
        }
    })
    .await;
    (app, open, seen)
}

#[tokio::test]
async fn over_a_limit_requests_are_refused_at_once() {
    let (app, open, seen) = gated().await;
    let chain = Chain::start_policed(&[app.address], "", "{ limits: { requests: 1 } }").await;
    let (mut first, mut second) = (chain.connect().await, chain.connect().await);
    first.send(GET).await;
    crate::mesh::within(seen.acquire()).await.unwrap().forget();
    let (head, _) = second.ask(GET).await;
    assert!(
        head.starts_with("HTTP/1.1 503 ") && field(&head, "outrigger-error") == Some("overloaded"),
        "{head}"
    );
    open.add_permits(2);
    assert!(first.answer().await.0.starts_with("HTTP/1.1 200 "));
    // On the same connection: by then the first is counted out, whichever thread is slow.
    assert_eq!(status(&mut first, GET).await, "200");
    let line = r#"outrigger_overloads_total{cluster="echo.shop:7000",bound="requests"} 1"#;
    metric(&chain.caller.get("/metrics").await, line);
}

/// Answers with its own name.
async fn named(name: &'static str) -> App {
    App::start(move |mut raw: Raw| async move {
        while raw.maybe_head().await.is_some() {
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len())).await;
        }
    })
    .await
}

#[tokio::test]
async fn requests_with_the_same_cookie_stay_together() {
    let apps = [named("a").await, named("b").await, named("c").await];
    let addresses = apps.each_ref().map(|app| app.address);
    let policy = "{}\n    balance: hash\n    hash_on: { cookie: cart }";
    let chain = Chain::start_policed(&addresses, "", policy).await;
    let mut client = chain.connect().await;
    let mut seen = std::collections::BTreeSet::new();
    for cart in 0..30 {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: lang=de; cart={cart}\r\n\r\n");
        let (_, place) = client.ask(&request).await;
        let again = chain.connect().await.ask(&request.replace("lang=de; ", "")).await.1;
        assert_eq!(place, again, "{cart}");
        seen.insert(place);
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_caller_keeps_to_one_replica_and_goes_on_when_that_is_gone() {
    let apps = [named("a").await, named("b").await];
    let addresses = apps.each_ref().map(|app| app.address);
    let chain = Chain::start_policed(&addresses, "", "{}\n    balance: hash").await;
    let mut client = chain.connect().await;
    let (_, first) = client.ask(GET).await;
    for _ in 0..10 {
        assert_eq!(client.ask(GET).await.1, first);
    }
    let [a, b] = apps;
    drop(if first == "a" { a } else { b });
    let other = if first == "a" { "b" } else { "a" };
    assert_eq!(chain.connect().await.ask(GET).await.1, other);
}

#[tokio::test]
async fn every_way_of_balancing_carries_requests() {
    let apps = [named("a").await, named("b").await];
    let addresses = apps.each_ref().map(|app| app.address);
    for balance in ["least-request", "peak-ewma", "round-robin", "random"] {
        let policy = format!("{{}}\n    balance: {balance}\n    slow_start_ms: 1000");
        let chain = Chain::start_policed(&addresses, "", &policy).await;
        let mut client = chain.connect().await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40 {
            seen.insert(client.ask(GET).await.1);
        }
        assert!(seen.len() == 2 || balance == "peak-ewma", "{balance}");
    }
}

#[tokio::test]
async fn the_time_that_is_left_travels_and_what_has_none_is_not_sent() {
    let mirror = App::mirror().await;
    let words = ", timeouts: { request_ms: 10000, pass_on: true }";
    let chain = Chain::start_with(&[mirror.address], words).await;
    let mut client = chain.connect().await;
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let (before, (_, seen), after) = (now(), client.ask(GET).await, now());
    let at: u128 = field(&seen, "outrigger-deadline").unwrap().parse().unwrap();
    assert!((before..=after).contains(&(at - 10_000)), "{at}");
    // The application passes on what it was given.
    let near = (now() + 5000).to_string();
    let request = GET.replace("\r\n\r\n", &format!("\r\noutrigger-deadline: {near}\r\n\r\n"));
    let (_, seen) = client.ask(&request).await;
    assert_eq!(field(&seen, "outrigger-deadline"), Some(near.as_str()));
    let (head, _) = client.ask(&request.replace(&near, "1000")).await;
    assert!(
        head.starts_with("HTTP/1.1 504 ") && field(&head, "outrigger-error") == Some("no-time-left"),
        "{head}"
    );
    assert_eq!(status(&mut client, GET).await, "200", "the connection lives on");
}

#[tokio::test]
async fn nobody_is_told_a_deadline_unasked() {
    let mirror = App::mirror().await;
    let chain = Chain::start_with(&[mirror.address], "").await;
    let (_, seen) = chain.connect().await.ask(GET).await;
    assert_eq!(field(&seen, "outrigger-deadline"), None);
}

/// The first call is answered with UNAVAILABLE, before or after a response has begun.
async fn unavailable_once(early: bool) -> (grpc::App, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let app = grpc::App::start(move |_, mut respond| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let response = http::Response::builder().header("content-type", "application/grpc");
            let status = if first { "14" } else { "0" };
            if early || !first {
                let response = response.header("grpc-status", status).body(()).unwrap();
                let _gone = respond.send_response(response, true);
            } else {
                let Ok(mut send) = respond.send_response(response.body(()).unwrap(), false) else { return };
                let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
                let _gone = send.send_trailers(trailers.into_iter().collect());
            }
        }
    })
    .await;
    (app, counter)
}

#[tokio::test]
async fn a_call_that_was_unavailable_is_repeated_while_nothing_of_the_answer_went_out() {
    let policy = RETRIES.replace("attempts: 2", "attempts: 2, methods: [ POST ]");
    for (early, times) in [(true, 2), (false, 1)] {
        let (app, asked) = unavailable_once(early).await;
        let chain = Chain::start_policed(&[app.address], "", &policy).await;
        let client = grpc::Client::connect(chain.caller.at("out")).await;
        let response = client.call(grpc::grpc(), "hello").await.unwrap();
        let status = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
        assert_eq!(status, early.then(|| "0".to_owned()));
        assert_eq!(asked.load(Ordering::SeqCst), times);
    }
}

/// Requests stay in the caller's zone, and leave it when nobody there takes them.
#[tokio::test]
async fn requests_stay_in_the_zone_as_long_as_they_can() {
    let (near, far) = (named("n").await, named("f").await);
    let chain = Chain::start(&[near.address, far.address]).await;
    let mut config = chain.caller.runtime.configured().borrow().as_ref().unwrap().config.clone();
    config.proxy.zone = Some("a".into());
    let cluster = config.clusters.get_mut("echo.shop:7000").unwrap();
    for (endpoint, zone) in cluster.endpoints.iter_mut().zip(["a", "b"]) {
        endpoint.zone = Some(zone.into());
    }
    chain.caller.runtime.apply(config).unwrap();
    let mut client = chain.connect().await;
    for _ in 0..40 {
        assert_eq!(client.ask(GET).await.1, "n");
    }
    let Chain { caller: _caller, mut callees } = chain;
    callees.remove(0).stop().await;
    for _ in 0..40 {
        assert_eq!(client.ask(GET).await.1, "f");
    }
}
