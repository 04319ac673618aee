//! Routes, and what they do, for clients of HTTP/2 and gRPC.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::sync::{mpsc, watch};

use crate::http_two::{App, Client, whole};
use crate::mesh::within;
use crate::routes::Versions;

fn call(method: &str) -> Request<()> {
    Request::post(format!("http://echo:7000{method}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("x-debug", "1")
        .body(())
        .unwrap()
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Answers with its name, what it was asked, and trailers.
async fn named(name: &'static str) -> App {
    App::start(move |request, respond| async move {
        let asked = request.headers().clone();
        let path = request.uri().to_string();
        let body = whole(request.into_body()).await;
        let said = [
            ("by", name),
            ("asked", path.as_str()),
            ("team", asked.get("x-team").map_or("", |team| team.to_str().unwrap())),
            ("debug", asked.get("x-debug").map_or("", |debug| debug.to_str().unwrap())),
            ("server", "app"),
        ];
        answer(respond, &said, body, &[("grpc-status", "0"), ("x-checksum", "7")]);
    })
    .await
}

fn answer(
    mut respond: SendResponse<Bytes>,
    said: &[(&'static str, &str)],
    body: Bytes,
    trailers: &[(&'static str, &str)],
) {
    let mut response = Response::new(());
    *response.headers_mut() = fields(said);
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let Ok(mut send) = respond.send_response(response, false) else { return };
    let _client_gone = send.send_data(body, false).and_then(|()| send.send_trailers(fields(trailers)));
}

async fn before(apps: &[App; 2], routes: &str) -> (Versions, Client) {
    let mesh = Versions::before([apps[0].address, apps[1].address], routes).await;
    let client = Client::connect(mesh.caller.at("out")).await;
    (mesh, client)
}

fn said(response: &Response<RecvStream>, name: &str) -> String {
    response.headers().get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn calls_go_by_service_and_method_and_keep_their_trailers() {
    let apps = [named("v1").await, named("v2").await];
    let routes = "
        { name: rest, backends: [ { cluster: echo.shop:7000/v1 }, { cluster: echo.shop:7000/v2 } ] },
        { name: service, matches: [ { path: !prefix /shop.Cart, grpc: true } ], backends: [ { cluster: echo.shop:7000/v1 } ],
          request_headers: { set: { x-team: shop }, remove: [ x-debug ] }, response_headers: { set: { x-way: service }, remove: [ server ] } },
        { name: method, matches: [ { path: !exact /shop.Cart/Add, grpc: true } ], backends: [ { cluster: echo.shop:7000/v2 } ] },
        { name: anywhere, matches: [ { path: !call Watch, grpc: true } ], backends: [ { cluster: echo.shop:7000/v2 } ],
          rewrite: { host: cart.internal } }";
    let (_mesh, client) = before(&apps, routes).await;
    for (method, by, asked) in [
        ("/shop.Cart/Add", "v2", "http://echo:7000/shop.Cart/Add"),
        ("/shop.Cart/Get", "v1", "http://echo:7000/shop.Cart/Get"),
        ("/shop.Stock/Watch", "v2", "http://cart.internal/shop.Stock/Watch"),
    ] {
        let response = within(client.call(call(method), "hello")).await.unwrap();
        assert_eq!((said(&response, "by"), said(&response, "asked")), (by.to_owned(), asked.to_owned()));
        let edited = method == "/shop.Cart/Get";
        let found = ["team", "debug", "x-way", "server"].map(|name| said(&response, name));
        assert_eq!(
            found,
            if edited { ["shop", "", "service", ""] } else { ["", "1", "", "app"] },
            "{method}"
        );
        let mut body = response.into_body();
        assert_eq!(within(body.data()).await.unwrap().unwrap(), "hello");
        assert_eq!(
            within(body.trailers()).await.unwrap(),
            Some(fields(&[("grpc-status", "0"), ("x-checksum", "7")]))
        );
    }
    let mut seen = BTreeMap::new();
    for _ in 0..64 {
        let response = within(client.call(call("/other.Thing/Do"), "x")).await.unwrap();
        *seen.entry(said(&response, "by")).or_insert(0) += 1;
    }
    // 32 wanted; six standard deviations (4) to either side.
    assert!(seen.len() == 2 && seen.values().all(|times| (8..=56).contains(times)), "{seen:?}");
}

#[tokio::test]
async fn a_call_that_no_route_takes_or_that_is_late_gets_a_status_of_grpc() {
    let silent = || {
        App::start(|_request, respond| async move {
            std::future::pending::<()>().await;
            drop(respond);
        })
    };
    let apps = [silent().await, named("v2").await];
    let routes = "
        { name: slow, matches: [ { path: !exact /a.B/Slow, grpc: true } ], backends: [ { cluster: echo.shop:7000/v1 } ], request_ms: 100 },
        { name: broken, matches: [ { path: !exact /a.B/Broken, grpc: true } ], fault: { abort: 503, share: 1000000 } },
        { name: good, matches: [ { path: !exact /a.B/Good, grpc: true } ], backends: [ { cluster: echo.shop:7000/v2 } ], request_ms: 10000 }";
    let (_mesh, client) = before(&apps, routes).await;
    for (method, status) in [("Slow", "4"), ("Broken", "14"), ("None", "12"), ("Good", "")] {
        let response = within(client.call(call(&format!("/a.B/{method}")), "x")).await.unwrap();
        assert_eq!(response.status(), 200, "{method}");
        assert_eq!(said(&response, "grpc-status"), status, "{method}");
        assert_eq!(response.body().is_end_stream(), method != "Good", "headers alone are the answer");
    }
}

#[tokio::test]
async fn an_answer_of_headers_alone_stays_one() {
    let alone = App::start(|_request, mut respond| async move {
        let mut response = Response::new(());
        let said = [
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "no%20such%20cart"),
            ("server", "app"),
        ];
        *response.headers_mut() = fields(&said);
        let _client_gone = respond.send_response(response, true);
    });
    let apps = [alone.await, named("v2").await];
    let routes = "{ name: all, backends: [ { cluster: echo.shop:7000/v1 } ], response_headers: { remove: [ server ] } }";
    let (_mesh, client) = before(&apps, routes).await;
    let response = within(client.call(call("/a.B/C"), "x")).await.unwrap();
    assert!(response.body().is_end_stream());
    let found = ["grpc-status", "grpc-message", "server"].map(|name| said(&response, name));
    assert_eq!(found, ["5", "no%20such%20cart", ""]);
}

#[tokio::test]
async fn a_call_that_was_unavailable_is_repeated_with_its_whole_body() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let moody = App::start(move |request, mut respond| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let body = whole(request.into_body()).await;
            if first {
                let mut response = Response::new(());
                *response.headers_mut() =
                    fields(&[("content-type", "application/grpc"), ("grpc-status", "14")]);
                let _client_gone = respond.send_response(response, true);
                return;
            }
            answer(respond, &[("by", "v1")], body, &[("grpc-status", "0")]);
        }
    })
    .await;
    let apps = [moody, named("v2").await];
    let routes = "{ name: all, backends: [ { cluster: echo.shop:7000/v1 } ] }";
    let policy = "{ retries: { attempts: 2, on: [ unavailable ], methods: [ POST ], backoff_least_ms: 1, budget_least: 100 } }";
    let mesh = Versions::policed([apps[0].address, apps[1].address], routes, policy).await;
    let client = Client::connect(mesh.caller.at("out")).await;
    let text = "0123456789".repeat(3000);
    let response = within(client.call(call("/a.B/C"), &text)).await.unwrap();
    assert_eq!((said(&response, "grpc-status"), said(&response, "by")), (String::new(), "v1".to_owned()));
    assert_eq!(whole(response.into_body()).await, text);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_copy_has_body_and_trailers_of_the_call() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let copied = App::start(move |request, respond| {
        let tell = tell.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let mut text = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                text.extend_from_slice(&data);
            }
            let trailers = body.trailers().await.unwrap();
            tell.send((head.headers, text, trailers)).unwrap();
            answer(respond, &[("by", "v2")], Bytes::new(), &[("grpc-status", "13")]);
        }
    });
    let apps = [named("v1").await, copied.await];
    let routes = "{ name: all, backends: [ { cluster: echo.shop:7000/v1 } ], mirror: { cluster: echo.shop:7000/v2, share: 1000000 } }";
    let (_mesh, client) = before(&apps, routes).await;
    let (response, mut send) = client.open(call("/a.B/C")).await;
    send.send_data("hello".into(), false).unwrap();
    send.send_trailers(fields(&[("x-last", "1")])).unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(said(&response, "by"), "v1");
    let (head, text, trailers) = within(told.recv()).await.unwrap();
    assert_eq!((head["x-outrigger-mirror"].as_bytes(), text.as_slice()), (&b"1"[..], &b"hello"[..]));
    assert_eq!(trailers, Some(fields(&[("x-last", "1")])));
    let mut body = response.into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "hello");
    assert_eq!(
        within(body.trailers()).await.unwrap().unwrap()["grpc-status"],
        "0",
        "the copy's status is nobody's"
    );
}

/// Nothing moves for so long: it waits.
const STILL: Duration = Duration::from_millis(400);
/// What may lie between a sender and a receiver that takes nothing: windows and buffers of two sidecars, 128 KiB each, and
/// those of the two ends.
const BETWEEN: u64 = 1 << 20;

/// Waits until the number grows no more.
async fn still(number: &mut watch::Receiver<u64>) -> u64 {
    within(async { while tokio::time::timeout(STILL, number.changed()).await.is_ok() {} }).await;
    *number.borrow_and_update()
}

/// Sends as fast as it may, until `all` bytes went or the other side is gone.
async fn pour(mut send: h2::SendStream<Bytes>, all: u64, sent: watch::Sender<u64>) {
    let mut left = all;
    while left > 0 {
        send.reserve_capacity(16 * 1024);
        let Some(Ok(size)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
        let size = size.min(usize::try_from(left).unwrap());
        left -= size as u64;
        if send.send_data(vec![b'x'; size].into(), left == 0).is_err() {
            return;
        }
        sent.send_modify(|sent| *sent += size as u64);
    }
}

#[tokio::test]
async fn a_slow_reader_makes_the_writer_wait_both_ways_and_its_neighbours_run_on() {
    const ALL: u64 = 8 << 20;
    let (sent, mut of_application) = watch::channel(0);
    let (say, go) = watch::channel(false);
    let app = App::start(move |request, mut respond| {
        let (sent, mut go) = (sent.clone(), go.clone());
        async move {
            let path = request.uri().path().to_owned();
            let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            match path.as_str() {
                "/a.B/Download" => {
                    let send = respond.send_response(response, false).unwrap();
                    pour(send, ALL, sent).await;
                }
                // Reads once it is told to.
                "/a.B/Upload" => {
                    let send = respond.send_response(response, false).unwrap();
                    let mut body = request.into_body();
                    let mut read = 0;
                    go.wait_for(|go| *go).await.unwrap();
                    while let Some(Ok(data)) = body.data().await {
                        body.flow_control().release_capacity(data.len()).unwrap();
                        read += data.len() as u64;
                    }
                    let mut send = send;
                    let _client_gone = send.send_data(read.to_string().into(), true);
                }
                _ => answer(respond, &[], "here".into(), &[("grpc-status", "0")]),
            }
        }
    })
    .await;
    let apps = [app, named("v2").await];
    let (mesh, _) = before(&apps, "{ name: all, backends: [ { cluster: echo.shop:7000/v1 } ] }").await;
    let client = Client::with_room(mesh.caller.at("out")).await;
    let (response, send) = client.open(call("/a.B/Download")).await;
    let mut download = within(response).await.unwrap().into_body();
    let waiting = still(&mut of_application).await;
    assert!(waiting > 0 && waiting <= BETWEEN, "{waiting} bytes were taken from the application");

    let (up, mut of_client) = watch::channel(0);
    let (uploaded, upload) = client.open(call("/a.B/Upload")).await;
    let mut tasks = outrigger_lifecycle::Tasks::new();
    tasks.spawn("upload", pour(upload, ALL, up));
    let waiting = still(&mut of_client).await;
    assert!(waiting > 0 && waiting <= BETWEEN, "{waiting} bytes were taken from the client");

    let response = within(client.call(call("/a.B/Quick"), "x")).await.unwrap();
    assert_eq!(whole(response.into_body()).await, "here", "others are not held up");
    let mut read = 0;
    while let Some(data) = within(download.data()).await {
        let size = data.unwrap().len();
        download.flow_control().release_capacity(size).unwrap();
        read += size as u64;
    }
    assert_eq!(read, ALL);
    say.send_replace(true);
    assert_eq!(whole(within(uploaded).await.unwrap().into_body()).await, ALL.to_string());
    drop(send);
}
