//! Server-sent events: an answer that never ends is passed on as it comes.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::http_mesh::{App, Chain, Raw};

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let next = Arc::new(Notify::new());
    let heard = next.clone();
    let app = App::start(move |mut raw| {
        let heard = heard.clone();
        async move {
            let chunked = raw.head().await.contains("GET /chunked ");
            let coding = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
            raw.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{coding}\r\n")).await;
            for number in 1..=3 {
                heard.notified().await;
                let event = format!("data: {number}\n\n");
                let size = event.len();
                raw.send(if chunked { format!("{size:x}\r\n{event}\r\n") } else { event }).await;
            }
            heard.notified().await;
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let ways = [chain.caller.at("out"), chain.callees[0].at("plain")];
    for (at, target) in ways.into_iter().flat_map(|at| [(at, "/chunked"), (at, "/open")]) {
        let mut client = Raw::connect(at).await;
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "), "the head alone");
        for number in 1..=3 {
            next.notify_one();
            client.until(&format!("data: {number}\n\n")).await;
        }
        next.notify_one();
    }
}
