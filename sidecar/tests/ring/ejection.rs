//! Replicas that fail more often than the others, what the controller is told of ejections, and weights. Applications
//! count what they were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_wire::control::Ejection;

use crate::http_mesh::{App, Chain, Raw};
use crate::mesh::within;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";

/// Answers request n, over all connections, well or badly.
async fn app(is_good: impl Fn(usize) -> bool + Copy + Send + 'static) -> (App, Arc<AtomicUsize>) {
    let counter = Arc::new(AtomicUsize::new(0));
    let count = counter.clone();
    let app = App::start(move |mut raw: Raw| {
        let count = count.clone();
        async move {
            while raw.maybe_head().await.is_some() {
                raw.send(if is_good(count.fetch_add(1, Ordering::SeqCst)) { GOOD } else { BAD }).await;
            }
        }
    })
    .await;
    (app, counter)
}

fn told(chain: &Chain) -> Vec<Ejection> {
    chain.caller.reporter.report().ejections
}

#[tokio::test]
async fn one_that_fails_more_often_than_the_others_is_ejected_and_told_of() {
    let (bad, asked) = app(|n| n % 2 == 0).await;
    let (good, _) = app(|_| true).await;
    let rate = "{ requests: 20, interval_ms: 100 }";
    let policy = format!("{{ outlier: {{ consecutive_errors: 3, eject_ms: 60000, success_rate: {rate} }} }}");
    let chain = Chain::start_policed(&[bad.address, good.address], "", &policy).await;
    let mut client = chain.connect().await;
    within(async {
        while told(&chain).is_empty() {
            for _ in 0..100 {
                client.ask(GET).await;
            }
        }
    })
    .await;
    let [ejection] = &told(&chain)[..] else { panic!("{:?}", told(&chain)) };
    assert_eq!((ejection.service.as_str(), ejection.port), ("echo.shop", 7000));
    assert_eq!((ejection.endpoint.as_str(), ejection.errors), ("shop-echo-1", 0));
    assert!((40..=60).contains(&ejection.percent) && ejection.others == 100, "{ejection:?}");
    assert!((59_900..=60_000).contains(&(ejection.until_ms - ejection.since_ms)), "{ejection:?}");
    let before = asked.load(Ordering::SeqCst);
    for _ in 0..50 {
        assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(asked.load(Ordering::SeqCst), before, "it gets nothing more");
}

#[tokio::test]
async fn where_all_fail_alike_none_is_ejected() {
    let (one, first) = app(|n| n % 2 == 0).await;
    let (two, second) = app(|n| n % 2 == 0).await;
    let policy = "{ outlier: { consecutive_errors: 0, success_rate: { requests: 20, interval_ms: 50 } } }";
    let chain = Chain::start_policed(&[one.address, two.address], "", policy).await;
    let mut client = chain.connect().await;
    // Several looks at enough requests.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            client.ask(GET).await;
        }
        assert_eq!(told(&chain), []);
    }
    let asked = [&first, &second].map(|asked| asked.load(Ordering::SeqCst));
    assert!(asked.iter().all(|asked| *asked > 80), "{asked:?}");
}

#[tokio::test]
async fn the_controller_is_told_when_an_ejection_begins_and_when_it_ends() {
    let (bad, _) = app(|n| n >= 2).await;
    let (good, _) = app(|_| true).await;
    let policy = "{ outlier: { consecutive_errors: 2, eject_ms: 1000 } }";
    let chain = Chain::start_policed(&[bad.address, good.address], "", policy).await;
    let mut reporter = chain.caller.reporter.clone();
    let mut client = chain.connect().await;
    for _ in 0..20 {
        client.ask(GET).await;
    }
    let mut seen = Vec::new();
    within(async {
        while seen.len() < 2 {
            reporter.changed().await;
            let names: Vec<_> = reporter
                .report()
                .ejections
                .into_iter()
                .map(|e| (e.endpoint, e.errors, e.overruled))
                .collect();
            if seen.last() != Some(&names) && (!names.is_empty() || !seen.is_empty()) {
                seen.push(names);
            }
        }
    })
    .await;
    assert_eq!(seen, [vec![("shop-echo-1".to_owned(), 2, false)], vec![]]);
}

/// A weight that changes while it runs counts from then on; 0 takes nothing but what calls it by its own name.
#[tokio::test]
async fn replicas_get_as_much_as_they_weigh() {
    let apps = [app(|_| true).await, app(|_| true).await];
    let addresses = apps.each_ref().map(|(app, _)| app.address);
    let chain = Chain::start_policed(&addresses, "", "{}\n    balance: round-robin").await;
    let runs = || chain.caller.runtime.configured().borrow().as_ref().unwrap().config.clone();
    let mut client = chain.connect().await;
    for (weight, low, high) in [(300, 73, 77), (0, 0, 0), (100, 50, 50)] {
        let mut config = runs();
        config.clusters.get_mut("echo.shop:7000").unwrap().endpoints[0].weight = weight;
        chain.caller.runtime.apply(config).unwrap();
        let before = apps[0].1.load(Ordering::SeqCst);
        for _ in 0..100 {
            assert!(client.ask(GET).await.0.starts_with("HTTP/1.1 200 "));
        }
        let got = apps[0].1.load(Ordering::SeqCst) - before;
        assert!((low..=high).contains(&got), "weight {weight}: {got} of 100");
    }
}
