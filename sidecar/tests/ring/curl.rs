//! A client that we did not write: curl, where it is installed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_lifecycle::Tasks;
use tokio::net::{TcpListener, TcpStream};

use crate::http_mesh::Chain;
use crate::mesh::within;

/// Answers with method, path, HTTP version, caller as the sidecar tells it, and the body.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let caller = head.headers.get("x-forwarded-client-cert").cloned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let first = format!("{} {} {:?}\n", head.method, head.uri.path(), head.version);
    // hyper would send the body of an answer to HEAD over HTTP/2.
    let first = if head.method == Method::HEAD { String::new() } else { first };
    let mut response = Response::new(Full::new([first.as_bytes(), &body].concat().into()));
    if let Some(caller) = caller {
        response.headers_mut().insert("x-caller", caller);
    }
    Ok(response)
}

async fn serve(tcp: TcpStream, http2: bool) {
    let (io, service) = (TokioIo::new(tcp), service_fn(answer));
    let _client_gone = if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

async fn application(tasks: &mut Tasks, http2: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("application", async move {
        let mut connections = Tasks::new();
        while let Ok((tcp, _)) = listener.accept().await {
            connections.spawn("connection", serve(tcp, http2));
        }
    });
    address
}

/// Runs curl; its standard output, or `None` where there is no curl.
async fn curl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let (words, input) =
        (arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), input.to_vec());
    let shown = words.clone();
    let run = move || {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "--max-time", "15"]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = match curl.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            child => child.unwrap(),
        };
        let mut stdin = child.stdin.take().unwrap();
        let feed = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
        let done = child.wait_with_output().unwrap();
        feed.join().unwrap();
        assert!(done.status.success(), "curl {shown:?} ended with {}", done.status);
        Some(done.stdout)
    };
    within(tokio::task::spawn_blocking(run)).await.unwrap()
}

/// curl through two sidecars to an application that speaks one version of HTTP.
async fn through(version: &str, http2: bool) {
    let mut tasks = Tasks::new();
    let chain = Chain::start(&[application(&mut tasks, http2).await]).await;
    let url = format!("http://{}/a/b?c=d", chain.caller.at("out"));
    let Some(got) = curl(&[version, &url], b"").await else {
        return eprintln!("skipped: curl is not installed");
    };
    let spoken = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
    assert_eq!(String::from_utf8_lossy(&got), format!("GET /a/b {spoken}\n"));

    let body: Vec<u8> = (0..2_000_000u32).map(|i| (i % 251) as u8).collect();
    let posted = curl(&[version, "--data-binary", "@-", "-H", "expect:", &url], &body).await.unwrap();
    assert!(posted.starts_with(b"POST") && posted.ends_with(&body), "{} bytes came back", posted.len());
    // Without a length: chunked in HTTP/1.1, a stream in HTTP/2.
    let put = curl(&[version, "-T", "-", &url], &body).await.unwrap();
    assert!(put.starts_with(b"PUT") && put.ends_with(&body), "{} bytes came back", put.len());
    // `expect: 100-continue`.
    let expected = curl(&[version, "-H", "expect: 100-continue", "-d", "hello", &url], b"").await.unwrap();
    assert!(expected.ends_with(b"\nhello"));

    let head = String::from_utf8(curl(&[version, "-I", &url], b"").await.unwrap()).unwrap();
    assert!(head.contains(" 200"), "{head}");
    assert!(
        head.to_ascii_lowercase().contains("x-caller: ") && head.contains("spiffe://test.internal/shop/web"),
        "{head}"
    );
    // Several on one connection; curl 7.88 cannot do that with prior knowledge, whoever answers.
    let again: &[&str] = if http2 { &[&url] } else { &[&url, &url, &url] };
    let several = curl(&[&[version], again].concat(), b"").await.unwrap();
    assert_eq!(several.iter().filter(|byte| **byte == b'\n').count(), again.len());
    let edges = chain.callees[0].runtime.telemetry().edges();
    assert_eq!(
        (edges.len(), edges[0].requests, edges[0].errors, edges[0].mtls),
        (1, 5 + again.len() as u64, 0, true)
    );
}

#[tokio::test]
async fn curl_speaks_http_1_through_two_sidecars() {
    through("--http1.1", false).await;
}

#[tokio::test]
async fn curl_speaks_http_2_with_prior_knowledge_through_two_sidecars() {
    through("--http2-prior-knowledge", true).await;
}
