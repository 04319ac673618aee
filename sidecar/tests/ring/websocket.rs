//! WebSockets of HTTP/2 clients (RFC 8441) to an application that knows those of HTTP/1.1 (RFC 6455).

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use crate::http_mesh::{App, Chain, Raw, field};
use crate::http_two::Client;
use crate::mesh::within;

/// An application that switches, says `hello`, and echoes until the client ends; then it says `bye`. What it was asked is
/// told. Only `/chat` is a WebSocket.
async fn chat() -> (App, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let app = App::start(move |mut raw| {
        let tell = tell.clone();
        async move {
            while let Some(head) = raw.maybe_head().await {
                tell.send(head.clone()).unwrap();
                match head.split(' ').nth(1) {
                    Some("/chat") => return talk(raw).await,
                    Some("/plain") => raw.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").await,
                    _ => raw.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await,
                }
            }
        }
    })
    .await;
    (app, told)
}

async fn talk(mut raw: Raw) {
    raw.send(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\nhello",
    )
    .await;
    while let Some(byte) = raw.piece(1).await {
        if byte == "!" {
            raw.tcp.set_zero_linger().unwrap();
            return;
        }
        raw.send(byte).await;
    }
    raw.send("bye").await;
}

fn connect(path: &str, protocol: &'static str) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://echo:7000{path}"))
        .header("sec-websocket-protocol", "chat")
        .header("sec-websocket-version", "13")
        .header("origin", "http://echo")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request
}

async fn open(client: &Client, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
    let (response, send) = client.open(request).await;
    (within(response).await.unwrap(), send)
}

/// So many bytes.
async fn read(recv: &mut RecvStream, size: usize) -> String {
    let mut text = Vec::new();
    while text.len() < size {
        let data = within(recv.data()).await.expect("more").unwrap();
        recv.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_websocket_of_http_2_is_one_of_http_1_to_the_application() {
    let (app, mut told) = chat().await;
    let chain = Chain::start_http(&[app.address]).await;
    let (here, there) = (chain.caller.at("out"), chain.callees[0].at("plain"));
    for at in [here, there] {
        let client = Client::connect(at).await;
        client.extended_connect().await;
        let (answer, mut send) = open(&client, connect("/chat", "websocket")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        for none in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!answer.headers().contains_key(none), "{none}");
        }
        let head = within(told.recv()).await.unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        for (name, value) in
            [("host", "echo:7000"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
        {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
        assert_eq!(field(&head, "sec-websocket-key").map(str::len), Some(24), "{head}");
        let identity = field(&head, "x-forwarded-client-cert");
        assert_eq!(identity, (at == here).then_some("URI=spiffe://test.internal/shop/web"), "{head}");

        let mut recv = answer.into_body();
        assert_eq!(read(&mut recv, 5).await, "hello");
        for text in ["ping", "pong"] {
            send.send_data(text.into(), false).unwrap();
            assert_eq!(read(&mut recv, 4).await, text);
        }
        // Another one beside it, on the same connection.
        let (other, _send) = open(&client, connect("/chat", "websocket")).await;
        assert_eq!(read(&mut other.into_body(), 5).await, "hello");
        within(told.recv()).await.unwrap();
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(read(&mut recv, 3).await, "bye");
        while let Some(data) = within(recv.data()).await {
            assert_eq!(data.expect("an orderly end is one to the other side, too"), "");
        }
    }
}

#[tokio::test]
async fn what_the_application_refuses_is_no_websocket() {
    let (app, _told) = chat().await;
    let chain = Chain::start_http(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    client.extended_connect().await;
    let (answer, _send) = open(&client, connect("/secret", "websocket")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(read(&mut answer.into_body(), 2).await, "no");
    // Success would say to this client that it may talk.
    let (answer, _send) = open(&client, connect("/plain", "websocket")).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["outrigger-error"], "bad-response");
    let (answer, _send) = open(&client, connect("/chat", "connect-udp")).await;
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    let mut differs = connect("/chat", "websocket");
    differs.headers_mut().insert("host", "other".parse().unwrap());
    assert_eq!(open(&client, differs).await.0.status(), StatusCode::BAD_REQUEST);
    let plain = Request::builder().method(Method::CONNECT).uri("echo:7000").body(()).unwrap();
    assert_eq!(open(&client, plain).await.0.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_break_on_one_side_is_one_on_the_other() {
    let (app, _told) = chat().await;
    let chain = Chain::start_http(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    client.extended_connect().await;
    let (answer, mut send) = open(&client, connect("/chat", "websocket")).await;
    let mut recv = answer.into_body();
    assert_eq!(read(&mut recv, 5).await, "hello");
    send.send_data("!".into(), false).unwrap();
    let error = within(recv.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL), "RFC 8441, section 5");

    let (gone, mut is_gone) = mpsc::unbounded_channel();
    let app = App::start(move |mut raw| {
        let gone = gone.clone();
        async move {
            raw.head().await;
            raw.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
                .await;
            let mut byte = [0];
            let broken = tokio::io::AsyncReadExt::read_exact(&mut raw.tcp, &mut byte).await.unwrap_err();
            gone.send(broken.kind()).unwrap();
        }
    })
    .await;
    let chain = Chain::start_http(&[app.address]).await;
    let client = Client::connect(chain.caller.at("out")).await;
    client.extended_connect().await;
    let (_answer, mut send) = open(&client, connect("/chat", "websocket")).await;
    send.send_reset(Reason::CANCEL);
    assert_eq!(within(is_gone.recv()).await, Some(std::io::ErrorKind::ConnectionReset));
}
