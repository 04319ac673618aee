//! A stream leaves nothing to the one that its task carries next: no field, no time, no place among those under way.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::time::sleep;

use crate::http_mesh::Chain;
use crate::http_two::{App, Client, whole};
use crate::mesh::{self, within};
use crate::rate::until;

/// What the application is told of every request, whoever asks.
const ALWAYS: [&str; 5] =
    ["x-mine", "traceparent", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// Does what the path says; `/echo` answers with the names of the fields that it got, and the body.
async fn application(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    match head.uri.path() {
        // Who does not read holds the window of all: only until its caller has gone.
        "/silent" => drop(within(poll_fn(|cx| respond.poll_reset(cx))).await),
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/breaks" => {
            let Ok(mut send) = respond.send_response(Response::new(()), false) else { return };
            let _gone = send.send_data("half".into(), false);
            send.send_reset(Reason::CANCEL);
        }
        // The answer is whole while the body is still on its way.
        "/early" => {
            if let Ok(mut send) = respond.send_response(Response::new(()), false) {
                let _gone = send.send_data("enough".into(), true);
            }
            sleep(Duration::from_millis(fastrand::u64(..5))).await;
            drop(body);
        }
        _ => {
            let hints = Response::builder().status(103).header("link", head.headers["x-mine"].clone());
            let _gone = respond.send_informational(hints.body(()).unwrap());
            let names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
            let answer = Response::builder()
                .header("x-names", names.join(" "))
                .header("x-yours", head.headers["x-mine"].clone())
                .header("x-traced", head.headers["traceparent"].clone());
            let Ok(mut send) = respond.send_response(answer.body(()).unwrap(), false) else { return };
            let body = whole(body).await;
            let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), head.headers["x-mine"].clone())]);
            let _gone = send.send_data(body, false).and_then(|()| send.send_trailers(trailers));
        }
    }
}

fn request(path: &str, mine: &str) -> http::request::Builder {
    Request::post(format!("http://echo:7000{path}")).header("x-mine", mine)
}

/// One that ends in some other way than well.
async fn cut_short(client: &Client, n: u64) {
    let path = ["/silent", "/reset", "/breaks", "/early", "/echo"][fastrand::usize(..5)];
    let head = request(path, &format!("cut-{n}"))
        .header("x-left-behind", "1")
        .header("traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
        .header("tracestate", "left=behind")
        .header("grpc-timeout", "1n")
        .header("content-type", ["application/grpc", "text/plain"][fastrand::usize(..2)]);
    let (response, mut send) = client.open(head.body(()).unwrap()).await;
    for _ in 0..fastrand::usize(..4) {
        send.reserve_capacity(9000);
        let _gone = send.send_data(vec![b'x'; 9000].into(), false);
        tokio::task::yield_now().await;
    }
    let patience = Duration::from_millis(fastrand::u64(..8));
    let answer = tokio::time::timeout(patience, response).await;
    match fastrand::u8(..3) {
        0 => send.send_reset(Reason::CANCEL),
        1 => drop((answer, send)),
        _ => {
            let _gone = send.send_data(Bytes::new(), true);
            if let Ok(Ok(answer)) = answer {
                let _cut = tokio::time::timeout(patience, whole(answer.into_body())).await;
            }
        }
    }
}

/// One that is answered, with what is its own.
async fn answered(client: &Client, n: u64, traces: &std::cell::RefCell<BTreeSet<String>>) {
    let mine = format!("good-{n}");
    let body = mine.repeat(fastrand::usize(1..2000));
    let (response, mut send) = client.open(request("/echo", &mine).body(()).unwrap()).await;
    send.send_data(body.clone().into(), true).unwrap();
    let response = within(response).await.unwrap();
    let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), field("x-yours")), (200, mine.clone()));
    let names: BTreeSet<String> = field("x-names").split(' ').map(Into::into).collect();
    let expected: BTreeSet<String> = ALWAYS.into_iter().map(Into::into).collect();
    let more: Vec<_> =
        names.difference(&expected).filter(|name| *name != "x-forwarded-client-cert").collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(traces.borrow_mut().insert(field("x-traced")), "another's trace");
    let mut answer = response.into_body();
    let mut read = Vec::new();
    while let Some(data) = within(answer.data()).await {
        let data = data.unwrap();
        answer.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    assert!(read == body.as_bytes(), "{} bytes of {}", read.len(), body.len());
    assert_eq!(within(answer.trailers()).await.unwrap().unwrap()["x-end"], mine);
}

#[tokio::test]
async fn a_stream_leaves_nothing_to_the_next_on_its_task() {
    let app = App::start(application).await;
    // As many as are under way at once, and few more: a place that is lost is missed before the end.
    let policy = "{ limits: { requests: 24 } }";
    let chain = Chain::start_policed(&[app.address], "", policy).await;
    let bounded = mesh::callee(app.address).replace("protocol: tcp", "protocol: detect");
    let bounded = format!("{bounded}  capacity: {{ requests: 24, connections: 24 }}\n");
    chain.callees[0].runtime.apply(mesh::parse(&bounded)).unwrap();
    for at in [chain.caller.at("out"), chain.callees[0].at("plain")] {
        let traces = std::cell::RefCell::default();
        for round in 0..40 {
            let client = Client::with_room(at).await;
            let streams = (0..16_u64).map(|n| {
                let (client, traces, n) = (&client, &traces, round * 16 + n);
                async move {
                    match n % 2 {
                        0 => cut_short(client, n).await,
                        _ => answered(client, n, traces).await,
                    }
                }
            });
            within(futures_util::future::join_all(streams)).await;
            drop(client);
            until(&chain.callees[0], "outrigger_replica_under_way{bound=\"requests\"} 0\n").await;
        }
    }
}
