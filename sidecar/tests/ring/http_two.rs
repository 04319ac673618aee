//! HTTP/2 with prior knowledge from end to end: gRPC as the sidecars see it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use outrigger_lifecycle::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::http_mesh::Chain;
use crate::mesh::{nobody, within};

type Respond = SendResponse<Bytes>;

/// An application that speaks HTTP/2 only: a script for each stream.
pub struct App {
    pub address: SocketAddr,
    _tasks: Tasks,
}

impl App {
    pub async fn start<F>(script: impl Fn(Request<RecvStream>, Respond) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("application", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let script = script.clone();
                connections.spawn("connection", async move {
                    let mut streams = Tasks::new();
                    let mut connection = h2::server::handshake(tcp).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        streams.spawn("stream", script(request, respond));
                    }
                });
            }
        });
        Self { address, _tasks: tasks }
    }

    /// One that answers each body with itself, and trailers.
    pub async fn echo() -> Self {
        Self::start(|request, mut respond| async move {
            let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let Ok(mut send) = respond.send_response(response, false) else { return };
            let body = whole(request.into_body()).await;
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            let _client_gone = send.send_data(body, false).and_then(|()| send.send_trailers(trailers));
        })
        .await
    }
}

pub async fn whole(mut recv: RecvStream) -> Bytes {
    let mut body = Vec::new();
    while let Some(Ok(data)) = within(recv.data()).await {
        recv.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    body.into()
}

pub struct Client {
    send: SendRequest<Bytes>,
    _tasks: Tasks,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// One stream that is not read leaves room for others.
    pub async fn with_room(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        Self::shaken(tcp, h2::client::Builder::new().initial_connection_window_size(1 << 20)).await
    }

    pub async fn over(tcp: TcpStream) -> Self {
        Self::shaken(tcp, &h2::client::Builder::new()).await
    }

    async fn shaken(tcp: TcpStream, builder: &h2::client::Builder) -> Self {
        let (send, connection) = builder.handshake(tcp).await.unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("connection", async move { drop(connection.await) });
        Self { send, _tasks: tasks }
    }

    /// Sends a head; its body is to come.
    pub async fn open(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        within(self.send.clone().ready()).await.unwrap().send_request(request, false).unwrap()
    }

    /// Waits until the other side has said that it takes an extended CONNECT.
    pub async fn extended_connect(&self) {
        within(async {
            while !self.send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub async fn call(&self, request: Request<()>, body: &str) -> Result<Response<RecvStream>, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::from(body.to_owned()), true)?;
        }
        within(response).await
    }
}

pub fn grpc() -> Request<()> {
    Request::post("http://echo:7000/a.B/C")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_call_with_trailers() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let app = App::start(move |request, mut respond| {
        let heard = heard.clone();
        async move {
            heard.send(request.headers().clone()).unwrap();
            assert_eq!(request.uri().to_string(), "http://echo:7000/a.B/C");
            assert_eq!(whole(request.into_body()).await, "hello");
            let response =
                Response::builder().header("set-cookie", "b").header("set-cookie", "a").body(()).unwrap();
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data("hi".into(), false).unwrap();
            send.send_trailers(HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                "5".parse().unwrap(),
            )]))
            .unwrap();
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let response = client.call(grpc(), "hello").await.unwrap();
    let cookies: Vec<_> =
        response.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    assert_eq!((response.status(), cookies), (StatusCode::OK, vec!["b", "a"]));
    let mut body = response.into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "hi");
    assert_eq!(within(body.trailers()).await.unwrap().unwrap()["grpc-status"], "5");
    let seen = hears.recv().await.unwrap();
    assert_eq!(seen["te"], "trailers");
    assert_eq!(seen["x-forwarded-client-cert"], "URI=spiffe://test.internal/shop/web");
    assert_eq!(seen["x-forwarded-host"], "echo:7000");
}

#[tokio::test]
async fn many_streams_share_one_connection() {
    let app = App::echo().await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let calls = (0..300).map(|n| {
        let client = &client;
        async move {
            let response = client.call(grpc(), &"x".repeat(n + 1)).await.unwrap();
            assert_eq!(whole(response.into_body()).await.len(), n + 1);
        }
    });
    within(futures_util::future::join_all(calls)).await;
}

#[tokio::test]
async fn trailers_alone_are_a_response() {
    let app = App::start(|_, mut respond| async move {
        let response = Response::builder().header("grpc-status", "7").body(()).unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let response = client.call(grpc(), "hello").await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "7");
    assert!(response.into_body().is_end_stream());
}

#[tokio::test]
async fn hints_arrive_before_the_response() {
    let app = App::start(|_, mut respond| async move {
        let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
        respond.send_informational(hints).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let (mut response, _) = send.send_request(grpc(), true).unwrap();
    let hints = within(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a>".parse().unwrap()));
    assert_eq!(within(response).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn resets_pass_both_ways() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let app = App::start(move |request, mut respond| {
        let heard = heard.clone();
        async move {
            if request.uri().path() == "/mine" {
                respond.send_reset(Reason::ENHANCE_YOUR_CALM);
            } else {
                heard.send(None).unwrap();
                heard.send(poll_fn(|cx| respond.poll_reset(cx)).await.ok()).unwrap();
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let mine = Request::get("http://echo/mine").body(()).unwrap();
    let error = client.call(mine, "").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));

    let mut send = client.send.clone().ready().await.unwrap();
    let (_response, mut stream) = send.send_request(grpc(), false).unwrap();
    assert_eq!(within(hears.recv()).await, Some(None));
    stream.send_reset(Reason::CANCEL);
    assert_eq!(within(hears.recv()).await, Some(Some(Reason::CANCEL)));
}

#[tokio::test]
async fn a_stream_that_is_not_read_stops_its_sender_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let app = App::start(move |request, mut respond| {
        let sent = counter.clone();
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() == "/small" {
                return send.send_data("ok".into(), true).unwrap();
            }
            loop {
                send.reserve_capacity(16 * 1024);
                let Some(Ok(size)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                sent.fetch_add(size, Ordering::Relaxed);
                send.send_data(vec![b'x'; size].into(), false).unwrap();
            }
        }
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let endless = Request::get("http://echo/endless").body(()).unwrap();
    let _unread = client.call(endless, "").await.unwrap();
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!((1..2 << 20).contains(&before), "{before} bytes");
    // The client's own connection window is full: another connection, the same links behind it.
    let other = Client::connect(chain.caller.at("out")).await;
    let small = Request::get("http://echo/small").body(()).unwrap();
    assert_eq!(whole(other.call(small, "").await.unwrap().into_body()).await, "ok");
}

#[tokio::test]
async fn a_refused_stream_goes_to_another_endpoint() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = refused.clone();
    let refuses = App::start(move |_, mut respond| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move { respond.send_reset(Reason::REFUSED_STREAM) }
    })
    .await;
    let echo = App::echo().await;
    let chain = Chain::start(&[refuses.address, echo.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    for _ in 0..20 {
        let response = client.call(grpc(), "hello").await.unwrap();
        assert_eq!(whole(response.into_body()).await, "hello");
    }
    assert!(refused.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_refused_stream_that_ended_with_an_empty_frame_ends_at_the_other_endpoint_too() {
    let refuses = App::start(|request, mut respond| async move {
        whole(request.into_body()).await;
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let echo = App::echo().await;
    let chain = Chain::start(&[refuses.address, echo.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    for _ in 0..20 {
        let (response, mut stream) =
            client.send.clone().ready().await.unwrap().send_request(grpc(), false).unwrap();
        stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(whole(response.into_body()).await, "hello");
    }
}

#[tokio::test]
async fn errors_of_our_own_are_grpc_to_grpc() {
    let chain = Chain::start(&[nobody()]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let response = client.call(grpc(), "hello").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["outrigger-error"], "no-endpoint");
    let plain = Request::get("http://echo/").body(()).unwrap();
    assert_eq!(client.call(plain, "").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let connect = Request::builder().method(Method::CONNECT).uri("echo:1").body(()).unwrap();
    assert_eq!(client.call(connect, "").await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_callers_deadline_counts() {
    let app = App::start(|_, mut respond| async move {
        let _reset = poll_fn(|cx| respond.poll_reset(cx)).await;
    })
    .await;
    let chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let mut request = grpc();
    request.headers_mut().insert("grpc-timeout", "200m".parse().unwrap());
    assert_eq!(client.call(request, "hello").await.unwrap().headers()["grpc-status"], "4");
}

#[tokio::test]
async fn a_stream_that_runs_is_finished_while_the_callee_stops() {
    let (opened, mut opens) = mpsc::unbounded_channel();
    let app = App::start(move |request, mut respond| {
        let opened = opened.clone();
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            opened.send(()).unwrap();
            let body = whole(request.into_body()).await;
            send.send_data(body, true).unwrap();
        }
    })
    .await;
    let mut chain = Chain::start(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let (response, mut stream) = send.send_request(grpc(), false).unwrap();
    within(opens.recv()).await.unwrap();
    let callee = chain.callees.remove(0);
    let finish = async {
        let body = within(response).await.unwrap().into_body();
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.send_data("late".into(), true).unwrap();
        assert_eq!(whole(body).await, "late");
    };
    let (ended, ()) = tokio::join!(callee.stop(), finish);
    assert!(ended);
}
