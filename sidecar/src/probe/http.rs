//! A `GET` over HTTP/1.1, and what must come back.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::USER_AGENT;
use super::ask::Failure;

/// Bytes of an answer's head.
const HEAD: usize = 16 * 1024;
/// Bytes of a body that are looked at.
const BODY: usize = 64 * 1024;

/// For a body in which nothing is looked for: an application that is hung up on while it answers would complain.
const LINGER: Duration = Duration::from_millis(50);

/// What is asked and expected.
pub(super) struct Wanted<'a> {
    pub path: &'a str,
    pub host: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub status: &'a BTreeSet<(u16, u16)>,
    pub body: Option<&'a str>,
}

pub(super) async fn ask(io: impl AsyncRead + AsyncWrite + Unpin, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let path = || wanted.path.to_owned();
    let broken =
        |error: hyper::Error| Failure::Broken { what: format!("GET {}", wanted.path), why: reason(&error) };
    let mut request = Request::get(wanted.path)
        .header(header::HOST, wanted.host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    for (name, value) in wanted.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Failure::Broken {
        what: format!("GET {}", wanted.path),
        why: format!("it cannot be asked so: {error}"),
    })?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(io)).await.map_err(broken)?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let reading = read(answer, wanted.body);
        let found = match wanted.body {
            Some(_) => reading.await,
            None => tokio::time::timeout(LINGER, reading).await.unwrap_or_default(),
        };
        if !is_good(wanted.status, status) {
            return Err(Failure::Status { path: path(), status });
        }
        match wanted.body {
            Some(text) if !found => Err(Failure::Body { path: path(), status, text: text.to_owned() }),
            _ => Ok(()),
        }
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        // The connection may end before its last answer has been read.
        _ended = &mut connection => exchange.await,
    }
}

fn is_good(ranges: &BTreeSet<(u16, u16)>, status: u16) -> bool {
    match ranges.is_empty() {
        true => (200..=299).contains(&status),
        false => ranges.iter().any(|(first, last)| (*first..=*last).contains(&status)),
    }
}

/// Reads what is looked at of the body; true if `text` is in it.
async fn read(answer: Response<Incoming>, text: Option<&str>) -> bool {
    let (mut body, mut read) = (answer.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        // A piece of it may have come before.
        let looked_at = read.len().saturating_sub(text.map_or(0, str::len));
        read.extend(data.into_iter().take(BODY - read.len()));
        if let (Some(text), Some(new)) = (text, read.get(looked_at..))
            && contains(new, text.as_bytes())
        {
            return true;
        }
        if read.len() >= BODY {
            return false;
        }
    }
    false
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    part.is_empty() || all.windows(part.len()).any(|window| window == part)
}

/// Without the words that change from time to time.
fn reason(error: &hyper::Error) -> String {
    if error.is_parse() {
        return "that is no answer of HTTP/1".to_owned();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "the connection closed before an answer".to_owned();
    }
    "the connection broke".to_owned()
}
