//! More requests than an application takes streams: they wait for one another, and none is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use outrigger_lifecycle::Tasks;
use tokio::net::TcpListener;

use crate::http_mesh::Chain;
use crate::http_two::{Client, grpc, whole};
use crate::mesh::within;

/// An application that takes `most` streams on a connection, and answers each a little later.
async fn narrow(tasks: &mut Tasks, most: u32) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
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
                        tokio::time::sleep(Duration::from_millis(2)).await;
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
    let (address, asked) = narrow(&mut tasks, 1).await;
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
    let (address, _) = narrow(&mut tasks, 1).await;
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
