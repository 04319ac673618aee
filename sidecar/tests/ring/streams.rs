//! More requests than an application takes streams: they wait for one another, and none is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use outrigger_lifecycle::Tasks;
use tokio::net::TcpListener;

use crate::http_mesh::Chain;
use crate::http_two::{Client, grpc, whole};
use crate::mesh::{Ca, within};

const SOON: Duration = Duration::from_millis(2);

/// An application that takes `most` streams on a connection, and answers each after so long.
async fn narrow(tasks: &mut Tasks, most: u32, after: Duration) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tasks.spawn("application", async move {
        let mut connections = Tasks::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let count = count.clone();
            connections.spawn("connection", async move {
                let mut streams = Tasks::new();
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.max_concurrent_streams(most).handshake(tcp).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    streams.spawn("stream", async move {
                        let body = whole(request.into_body()).await;
                        tokio::time::sleep(after).await;
                        if let Ok(mut send) = respond.send_response(Response::new(()), false) {
                            let _gone = send.send_data(body, true);
                        }
                    });
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn requests_that_wait_for_a_stream_all_get_one() {
    let mut tasks = Tasks::new();
    let (address, asked) = narrow(&mut tasks, 1, SOON).await;
    let chain = Chain::start(&[address]).await;
    let client = Arc::new(Client::connect(chain.caller.at("out")).await);
    let calls = (0..100).map(|_| client.call(grpc(), "hello"));
    let answers = within(futures_util::future::join_all(calls)).await;
    let good = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200));
    assert_eq!((good.count(), asked.load(Ordering::SeqCst)), (100, 100));
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_stream_takes_nobodys_turn() {
    let mut tasks = Tasks::new();
    let (address, _) = narrow(&mut tasks, 1, SOON).await;
    let chain = Chain::start(&[address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let calls = (0..120_u64).map(|n| {
        let patience = if n % 2 == 0 { Duration::from_millis(n / 4) } else { Duration::from_secs(20) };
        tokio::time::timeout(patience, client.call(grpc(), "hello"))
    });
    let answers = within(futures_util::future::join_all(calls)).await;
    let answered =
        |answer: &Result<Result<Response<_>, _>, _>| matches!(answer, Ok(Ok(good)) if good.status() == 200);
    assert!(answers.iter().skip(1).step_by(2).all(answered), "one that waited got no answer");
}

/// Eight connections are opened to one destination, and no more.
#[tokio::test]
async fn who_gets_no_stream_in_its_time_is_told_so() {
    let mut tasks = Tasks::new();
    let (address, asked) = narrow(&mut tasks, 1, Duration::from_secs(60)).await;
    let timeout = "http2, timeouts: { request_ms: 300 }";
    let caller = crate::outside::caller(&Ca::new(), &[address], None, (timeout, "")).await;
    let client = Client::connect(caller.at("out")).await;
    // Calls of gRPC have no limit but their own.
    let mut calls = Vec::new();
    for number in 1..=8 {
        let (response, mut send) = client.open(grpc()).await;
        send.send_data("hello".into(), true).unwrap();
        calls.push((response, send));
        within(async {
            while asked.load(Ordering::SeqCst) < number {
                tokio::time::sleep(SOON).await;
            }
        })
        .await;
    }
    let begun = Instant::now();
    let get = Request::get("http://echo:7000/").body(()).unwrap();
    let answer = client.call(get, "").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["outrigger-error"]),
        (503, &"overloaded".parse().unwrap())
    );
    assert!((300..9000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    // One that leaves makes room.
    drop(calls.pop());
    let get = Request::get("http://echo:7000/").body(()).unwrap();
    assert_eq!(client.call(get, "").await.unwrap().status(), 504, "it was asked, and is slow");
    assert_eq!(asked.load(Ordering::SeqCst), 9);
}
