//! Trace context on the way of a request.

use crate::http_mesh::{App, Chain, field};

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
