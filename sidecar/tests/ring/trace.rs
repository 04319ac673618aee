//! Trace context on the way of a request.

use tokio::sync::mpsc;

use crate::http_mesh::{App, Chain, field};
use crate::http_two;
use crate::mesh::within;
use crate::routes::Versions;

/// By itself, or instead of one that is none; one that there is goes on.
#[tokio::test]
async fn a_request_without_a_trace_begins_one() {
    let app = App::mirror().await;
    let chain = Chain::start(&[app.address]).await;
    let mut ids = Vec::new();
    for mut client in [chain.connect().await, chain.connect_plain().await] {
        for fields in ["", "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n"] {
            let (_, seen) = client.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
            let parent = field(&seen, "traceparent").expect("one").to_owned();
            assert_eq!(seen.matches("traceparent").count(), 1, "{seen}");
            let parts: Vec<_> = parent.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{parent}");
            assert_eq!((parts[0], parts[3], field(&seen, "tracestate")), ("00", "01", None), "{seen}");
            ids.push(parts[1].to_owned());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
    let seen = chain
        .connect()
        .await
        .ask(&format!(
            "GET / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-{}-00f067aa0ba902b7-00\r\ntracestate: a=1\r\n\r\n",
            ids[0]
        ))
        .await
        .1;
    let expected = format!("00-{}-00f067aa0ba902b7-00", ids[0]);
    assert_eq!((field(&seen, "traceparent"), field(&seen, "tracestate")), (Some(&*expected), Some("a=1")));
}

/// Whoever begins it: what is sent again by policy is the same request.
#[tokio::test]
async fn all_attempts_of_a_request_are_in_one_trace() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let app = App::start(move |mut raw| {
        let heard = heard.clone();
        async move {
            for status in ["503 Service Unavailable", "200 OK"] {
                let head = raw.head().await;
                heard.send(field(&head, "traceparent").expect("one").to_owned()).unwrap();
                raw.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
            }
        }
    })
    .await;
    let policy = "{ retries: { attempts: 1, backoff_least_ms: 1, budget_least: 100 } }";
    let chain = Chain::start_policed(&[app.address], "", policy).await;
    let (head, _) = chain.connect().await.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (first, second) = (within(hears.recv()).await.unwrap(), within(hears.recv()).await.unwrap());
    assert_eq!(first, second);
}

/// Over HTTP/2 from end to end, and over a connection that goes straight to the application.
#[tokio::test]
async fn a_call_without_a_trace_begins_one() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let app = http_two::App::start(move |request, mut respond| {
        let heard = heard.clone();
        async move {
            heard.send(request.headers().get_all("traceparent").iter().cloned().collect::<Vec<_>>()).unwrap();
            drop(respond.send_response(http::Response::new(()), true));
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    for address in [chain.caller.at("out"), chain.callees[0].at("plain")] {
        http_two::Client::connect(address).await.call(http_two::grpc(), "").await.unwrap();
        let seen = within(hears.recv()).await.unwrap();
        assert_eq!(seen.iter().map(|value| value.len()).collect::<Vec<_>>(), [55], "{seen:?}");
    }
}

/// A route finds the new trace where it looks for one, and what it says instead is what arrives.
#[tokio::test]
async fn a_route_that_speaks_of_traces_is_asked_with_one() {
    let said = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let routes = format!(
        "{{ name: new, matches: [ {{ headers: {{ traceparent: !regex '^.*-01$' }} }} ],
            request_headers: {{ set: {{ traceparent: {said} }} }}, backends: [ {{ cluster: echo.shop:7000/v2 }} ] }}"
    );
    let mesh = Versions::start(&routes).await;
    let (_, seen) = mesh.connect().await.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(seen.starts_with("v2\n"), "{seen}");
    assert_eq!((field(&seen, "traceparent"), seen.matches("traceparent").count()), (Some(said), 1));
}
