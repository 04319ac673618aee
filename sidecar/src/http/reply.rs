//! Answers that this sidecar gives itself.

use bytes::Bytes;
use h2::Reason;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::error::{Broken, OVERLOADED, RequestError};
use super::framing::Length;
use super::head::Response;
use crate::route::{Own, has_body};

/// Tells an answer of the sidecar from one of the application.
const ERROR: HeaderName = HeaderName::from_static("outrigger-error");
/// How a gRPC call went.
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a client gets for an error.
pub(super) fn of(error: &RequestError, grpc: bool, method: &Method) -> (Response, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(ERROR, HeaderValue::from_static(error.flag()));
    if let RequestError::RateLimited(refusal) = error {
        refusal.write(&mut headers, grpc);
    }
    if grpc {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from_static(error.grpc_status()));
        if let Ok(message) = HeaderValue::from_str(&percent_encoded(&error.to_string())) {
            headers.insert(GRPC_MESSAGE, message);
        }
        let status = StatusCode::OK;
        return (Response { status, headers, length: Length::Empty, upgrade: None }, Bytes::new());
    }
    let text = Bytes::from(format!("outrigger: {error}\n"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    if error.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"),
        );
    }
    let (length, text) = match *method {
        Method::HEAD => (Length::Empty, Bytes::new()),
        _ => (Length::Known(text.len() as u64), text),
    };
    (Response { status: error.status(), headers, length, upgrade: None }, text)
}

/// An answer of a replica's sidecar: its application is given no more for now.
pub(super) fn is_overloaded(headers: &HeaderMap) -> bool {
    headers.get(ERROR).is_some_and(|error| error.as_bytes() == OVERLOADED.as_bytes())
}

/// What a client gets from a route.
pub(super) fn own(own: Own, method: &Method) -> (Response, Bytes) {
    let body = has_body(method, &own);
    let length = if body { Length::Known(own.body.len() as u64) } else { Length::Empty };
    let text = if body { own.body } else { Bytes::new() };
    (Response { status: own.status, headers: own.headers, length, upgrade: None }, text)
}

/// What an HTTP/2 client gets instead of an answer, where one would hide what it must know: a reset is passed on,
/// and a peer's sidecar learns what it may send elsewhere.
pub(super) fn reset_of(error: &RequestError, mesh: bool) -> Option<Reason> {
    match error {
        _ if mesh && error.never_delivered() => Some(Reason::REFUSED_STREAM),
        RequestError::Upstream(Broken::Stream(error)) if error.is_reset() && error.is_remote() => {
            error.reason()
        }
        _ => None,
    }
}

/// gRPC over HTTP/2, "Responses": printable ASCII but `%` as it is.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(byte.into()),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_learns_of_an_error_in_trailers_alone() {
        let error = RequestError::NoEndpoint("cart 100%\u{e4}".into());
        let (response, body) = of(&error, true, &Method::POST);
        assert_eq!((response.status, response.length, body.len()), (StatusCode::OK, Length::Empty, 0));
        let field = |name: &str| response.headers.get(name).and_then(|v| v.to_str().ok());
        assert_eq!(field("grpc-status"), Some("14"));
        assert_eq!(field("grpc-message"), Some("no endpoint of cart 100%25%C3%A4 is ready"));
    }
}
