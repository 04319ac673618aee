//! One try at a time, against applications over real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use outrigger_lifecycle::Tasks;
use outrigger_wire::Ask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// An application that answers every connection so, and what it was sent.
async fn application(answer: Vec<u8>) -> (SocketAddr, Arc<Mutex<String>>, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<String>>::default();
    let told = heard.clone();
    let mut tasks = Tasks::new();
    tasks.spawn("application", async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && tcp.read_buf(&mut request).await.unwrap() > 0 {}
            *told.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
            if answer.is_empty() {
                continue;
            }
            let _hung_up = tcp.write_all(&answer).await;
            // Says no more, and does not close.
            let _hung_up = tcp.read(&mut [0]).await;
        }
    });
    (address, heard, tasks)
}

fn get(status: &[(u16, u16)], body: Option<&str>) -> Check {
    let ask = Ask::Http {
        path: "/healthz?deep=1".into(),
        host: None,
        headers: [("x-probe".to_owned(), "mesh".to_owned())].into(),
        status: status.iter().copied().collect(),
        body: body.map(str::to_owned),
    };
    Check { timeout_ms: 5_000, ..Check::new(ask) }
}

fn at(addresses: &[SocketAddr]) -> Target {
    Target { addresses: addresses.to_vec(), introduced: false }
}

/// What comes of one try; nothing: it passed.
async fn tried(check: &Check, address: SocketAddr) -> String {
    ask::ask(check, &at(&[address]), "cart").await.err().map(|why| why.to_string()).unwrap_or_default()
}

/// What is answered; good status codes, text that must be there; what comes of it.
type Answered<'a> = (&'a str, &'a [(u16, u16)], Option<&'a str>, &'a str);

#[tokio::test]
async fn a_get_is_answered_as_expected_or_says_why_not() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{}ready", "x".repeat(69_995));
    let table: [Answered<'_>; 12] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", &[], None, ""),
        ("HTTP/1.0 204 No Content\r\n\r\n", &[], None, ""),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", &[], None, "GET /healthz?deep=1 answered 503"),
        ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", &[], None, "GET /healthz?deep=1 answered 302"),
        ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", &[(200, 200), (300, 399)], None, ""),
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            &[(200, 200), (300, 399)],
            None,
            "GET /healthz?deep=1 answered 204",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n",
            &[],
            Some("ready"),
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndown",
            &[],
            Some("ready"),
            "GET /healthz?deep=1 answered 200 without \"ready\"",
        ),
        (&long, &[], Some("ready"), "GET /healthz?deep=1 answered 200 without \"ready\""),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &[], None, ""),
        ("SSH-2.0-OpenSSH\r\n\r\n", &[], None, "GET /healthz?deep=1: that is no answer of HTTP/1"),
        ("", &[], None, "GET /healthz?deep=1: the connection closed before an answer"),
    ];
    for (answer, status, body, expected) in table {
        let (address, heard, _tasks) = application(answer.as_bytes().to_vec()).await;
        assert_eq!(tried(&get(status, body), address).await, expected, "{answer:.60}");
        let heard = heard.lock().unwrap().clone();
        let version = env!("CARGO_PKG_VERSION");
        for line in ["GET /healthz?deep=1 HTTP/1.1", "host: cart", "x-probe: mesh"] {
            assert!(heard.lines().any(|heard| heard == line), "{line}: {heard}");
        }
        assert!(heard.contains(&format!("user-agent: outrigger-health/{version}\r\n")), "{heard}");
    }
}

#[tokio::test]
async fn a_try_is_bounded_in_time_and_in_bytes() {
    let endless = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 200_000]].concat();
    let (address, _, _tasks) = application(endless).await;
    assert_eq!(tried(&get(&[], None), address).await, "GET /healthz?deep=1: that is no answer of HTTP/1");
    let (address, _, _tasks) = application(b"HTTP/1.1 200 OK\r\n".to_vec()).await;
    let hasty = Check { timeout_ms: 500, ..get(&[], None) };
    assert_eq!(tried(&hasty, address).await, "GET /healthz?deep=1: no answer within 500 ms");
    // Without an end, and nothing is looked for in it: the head has said it, and the rest takes no longer than a try may.
    let (address, _, _tasks) = application(b"HTTP/1.1 200 OK\r\n\r\nx".to_vec()).await;
    assert_eq!(tried(&hasty, address).await, "");
}

#[tokio::test]
async fn a_connection_is_enough_or_is_refused() {
    let (address, _, tasks) = application(Vec::new()).await;
    let check = Check::new(Ask::Tcp);
    assert_eq!(tried(&check, address).await, "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(tried(&check, free).await, format!("no connection to {free}: connection refused"));
    assert!(ask::ask(&check, &at(&[free, address]), "cart").await.is_ok(), "the second address");
    drop(tasks);
}

/// A gRPC server that gives this health status, or this gRPC status alone; what it was asked for.
async fn health(message: &'static [u8], status: &'static str) -> (SocketAddr, Arc<Mutex<String>>, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<String>>::default();
    let told = heard.clone();
    let mut tasks = Tasks::new();
    tasks.spawn("gRPC", async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (head, mut body) = request.into_parts();
            // The message may follow in a frame of its own.
            let asked = tokio::select! {
                data = body.data() => data.unwrap().unwrap(),
                _closed = std::future::poll_fn(|context| connection.poll_closed(context)) => return,
            };
            *told.lock().unwrap() = format!("{} {asked:?}", head.uri.path());
            let answer = ::http::Response::builder().header("content-type", "application/grpc");
            if message.is_empty() {
                let only = answer.header("grpc-status", status).body(()).unwrap();
                respond.send_response(only, true).unwrap();
                continue;
            }
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            stream.send_data(bytes::Bytes::from_static(message), false).unwrap();
            let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
            stream.send_trailers(::http::HeaderMap::from_iter(trailers)).unwrap();
        }
    });
    (address, heard, tasks)
}

#[tokio::test]
async fn grpc_serves_or_says_what_it_does() {
    let table: [(&[u8], &str, &str); 8] = [
        (&[0, 0, 0, 0, 2, 8, 1], "0", ""),
        (&[0, 0, 0, 0, 2, 8, 2], "0", "the gRPC health service answered NOT_SERVING"),
        (&[0, 0, 0, 0, 2, 8, 3], "0", "the gRPC health service answered SERVICE_UNKNOWN"),
        (&[0, 0, 0, 0, 0], "0", "the gRPC health service answered UNKNOWN"),
        (&[0, 0, 0, 0, 2, 8], "0", "the gRPC health service answered what is no health status"),
        (&[0, 0, 0, 0, 2, 8, 1], "13", "the gRPC health service answered gRPC status 13"),
        (&[], "12", "the gRPC health service answered gRPC status 12"),
        (&[0], "0", "the gRPC health service answered what is no health status"),
    ];
    let check = |service: &str| Check::new(Ask::Grpc { service: service.into() });
    for (message, status, expected) in table {
        let (address, heard, _tasks) = health(message, status).await;
        assert_eq!(tried(&check("shop.Cart"), address).await, expected, "{message:?}");
        assert_eq!(
            *heard.lock().unwrap(),
            r#"/grpc.health.v1.Health/Check b"\0\0\0\0\x0b\n\tshop.Cart""#,
            "{message:?}"
        );
    }
    let (address, _, _tasks) = application(b"HTTP/1.1 400 Bad\r\n\r\n".to_vec()).await;
    let failed = tried(&check(""), address).await;
    assert!(failed.starts_with("the gRPC health service"), "{failed}");
}

#[tokio::test]
async fn nothing_is_sent_where_a_connection_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(tried(&Check::new(Ask::Tcp), address).await, "");
    let (mut tcp, _): (TcpStream, _) = listener.accept().await.unwrap();
    assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0);
}

/// An application that wants to hear who calls would take a question without it for garbage.
#[tokio::test]
async fn one_that_speaks_the_proxy_protocol_is_told_that_it_is_the_sidecars_own_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { introduced: true, ..at(&[listener.local_addr().unwrap()]) };
    let check = get(&[], None);
    let answer = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut first = [0; crate::proxy_protocol::LOCAL.len()];
        tcp.read_exact(&mut first).await.unwrap();
        assert_eq!(first, crate::proxy_protocol::LOCAL);
        let mut line = [0; 4];
        tcp.read_exact(&mut line).await.unwrap();
        assert_eq!(line, *b"GET ");
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (passed, ()) = tokio::join!(ask::ask(&check, &target, "cart"), answer);
    assert!(passed.is_ok(), "{passed:?}");
}
