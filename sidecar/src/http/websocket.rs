//! WebSockets of HTTP/2 clients (RFC 8441): one that bootstraps with an extended CONNECT is a switch of HTTP/1.1 to whoever
//! comes next, which every application that speaks WebSocket understands.

use h2::ext::Protocol;
use http::Method;
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};

use super::error::BadMessage;
use super::framing::Length;
use super::head::Request;

/// The only protocol of an extended CONNECT that is carried.
const WEBSOCKET: &str = "websocket";
/// RFC 6455 section 4.1: bytes of a key.
const KEY: usize = 16;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Makes the request that HTTP/1.1 has for it.
///
/// # Errors
/// Another protocol is asked for.
pub(super) fn bootstrap(request: &mut Request, protocol: &Protocol) -> Result<(), BadMessage> {
    if protocol.as_str() != WEBSOCKET {
        return Err(BadMessage::ConnectProtocol);
    }
    request.method = Method::GET;
    request.upgrade = Some(HeaderValue::from_static(WEBSOCKET));
    // Its DATA is the WebSocket's, and comes after the switch.
    request.length = Length::Empty;
    let headers = &mut request.headers;
    headers.remove(header::CONTENT_LENGTH);
    // RFC 8441 section 5: the key is of HTTP/1.1 alone.
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key()).expect("letters and digits"));
    if !headers.contains_key(header::SEC_WEBSOCKET_VERSION) {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    let Some(authority) = request.uri.authority() else { return Ok(()) };
    let host = headers.get(header::HOST);
    // One that differs is left for whoever checks all requests.
    if host.is_none_or(|host| host.as_bytes() == authority.as_str().as_bytes())
        && !authority.as_str().contains('@')
    {
        let value = HeaderValue::from_str(authority.as_str());
        headers.insert(header::HOST, value.map_err(|_| BadMessage::Malformed(":authority"))?);
        let path = request.uri.path_and_query().cloned();
        request.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    Ok(())
}

/// A nonce in base64. It proves to the client that the server speaks WebSocket; here the switch itself has to do.
fn key() -> String {
    let bytes: [u8; KEY] = std::array::from_fn(|_| fastrand::u8(..));
    let mut text = String::with_capacity(24);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * digit)) as usize & 63);
            let letter = letter.filter(|_| digit <= three.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn asked(uri: &str, fields: &[(&'static str, &str)]) -> Request {
        let headers: HeaderMap =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Request {
            method: Method::CONNECT,
            uri: uri.parse().unwrap(),
            headers,
            length: Length::Unknown,
            upgrade: None,
        }
    }

    #[test]
    fn an_extended_connect_becomes_a_switch() {
        let fields = [
            ("origin", "http://a"),
            ("sec-websocket-protocol", "chat"),
            ("content-length", "0"),
            ("sec-websocket-key", "x"),
        ];
        let mut request = asked("http://shop.example:81/chat?room=1", &fields);
        bootstrap(&mut request, &Protocol::from_static("websocket")).unwrap();
        assert_eq!((request.method, request.length), (Method::GET, Length::Empty));
        assert_eq!(request.uri, "/chat?room=1");
        assert_eq!(request.upgrade.unwrap(), "websocket");
        assert_eq!(request.headers["host"], "shop.example:81");
        assert_eq!(request.headers["sec-websocket-version"], "13");
        assert_eq!(request.headers["sec-websocket-protocol"], "chat");
        let key = request.headers["sec-websocket-key"].to_str().unwrap();
        assert!(key.len() == 24 && key.ends_with("==") && !key.contains(' '), "{key}");
        assert!(!request.headers.contains_key("content-length"));
    }

    #[test]
    fn what_is_not_one_stays_what_it_is() {
        let mut other = asked("http://a/", &[]);
        assert_eq!(
            bootstrap(&mut other, &Protocol::from_static("connect-udp")),
            Err(BadMessage::ConnectProtocol)
        );
        assert_eq!(other.method, Method::CONNECT);
        let mut differs = asked("http://a/", &[("host", "b")]);
        bootstrap(&mut differs, &Protocol::from_static("websocket")).unwrap();
        assert!(differs.uri.authority().is_some(), "refused by whoever compares them");
    }
}
