use std::future::poll_fn;

use bytes::BytesMut;
use http::{HeaderMap, Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::framing::Length;
use crate::http::head::Request;

/// A connection that has carried one exchange, and the application's end of it.
async fn used() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    let mut conn = Conn::new(Stream::Plain(tcp), BytesMut::new());
    send(&mut conn).await.unwrap();
    assert!(application.read(&mut [0; 1024]).await.unwrap() > 0);
    application.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    poll_fn(|cx| conn.poll_response(cx, &Method::GET)).await.unwrap();
    (conn, application)
}

async fn send(conn: &mut Conn) -> io::Result<()> {
    let (method, uri, headers) = (Method::POST, Uri::from_static("/"), HeaderMap::new());
    conn.start_request(&Request { method, uri, headers, length: Length::Empty, upgrade: None }, None, None);
    poll_fn(|cx| conn.poll_flush(cx)).await
}

async fn failure(conn: &mut Conn) -> Broken {
    poll_fn(|cx| conn.poll_response(cx, &Method::POST)).await.expect_err("no response comes")
}

#[tokio::test]
async fn sent_to_a_socket_that_was_closed_already() {
    let (mut conn, application) = used().await;
    let start = conn.written();
    drop(application);
    send(&mut conn).await.unwrap();
    let error = failure(&mut conn).await;
    for host in [Host::Own, Host::Another] {
        assert!(never_delivered(&conn, start, true, &error, host), "{error:?}");
    }
}

#[tokio::test]
async fn closed_with_the_request_unread() {
    let (mut conn, application) = used().await;
    let start = conn.written();
    send(&mut conn).await.unwrap();
    application.readable().await.unwrap();
    drop(application);
    let error = failure(&mut conn).await;
    assert!(matches!(&error, Broken::Io(e) if e.kind() == io::ErrorKind::ConnectionReset), "{error:?}");
    assert!(never_delivered(&conn, start, true, &error, Host::Own));
    assert!(!never_delivered(&conn, start, false, &error, Host::Own), "more of it was to come");
    assert!(
        !never_delivered(&conn, start, true, &error, Host::Another),
        "whoever stands between may have sent it"
    );
}

#[tokio::test]
async fn closed_after_the_request_was_read() {
    let (mut conn, mut application) = used().await;
    let start = conn.written();
    send(&mut conn).await.unwrap();
    assert!(application.read(&mut [0; 1024]).await.unwrap() > 0);
    drop(application);
    let error = failure(&mut conn).await;
    assert!(!never_delivered(&conn, start, true, &error, Host::Own), "{error:?}");
}

#[tokio::test]
async fn read_in_the_instant_before_the_close() {
    for _ in 0..50 {
        let (mut conn, mut application) = used().await;
        let start = conn.written();
        let read = async {
            let size = application.read(&mut [0; 1024]).await.unwrap();
            drop(application);
            size
        };
        let (size, sent) = tokio::join!(read, send(&mut conn));
        sent.unwrap();
        let error = failure(&mut conn).await;
        assert!(size > 0 && !never_delivered(&conn, start, true, &error, Host::Own), "{error:?}");
    }
}

#[tokio::test]
async fn nothing_was_written() {
    let (conn, _application) = used().await;
    assert!(never_delivered(&conn, conn.written(), false, &Broken::Closed, Host::Own));
}

/// The application of a task in bridge mode is called at its host (`app-address: 172.17.0.1`).
#[test]
fn an_application_in_another_namespace_is_on_another_host() {
    let own = |address: &str, from: &str| is_own(address.parse().unwrap(), Some(from.parse().unwrap()));
    assert!(own("127.0.0.1", "127.0.0.1") && own("::1", "::1"));
    assert!(own("10.0.0.2", "10.0.0.2") && own("::ffff:10.0.0.2", "10.0.0.2"));
    assert!(!own("172.17.0.1", "172.17.0.2") && !own("fd00::1", "fd00::2"));
    assert!(!is_own("10.0.0.2".parse().unwrap(), None), "nothing is known");
}
