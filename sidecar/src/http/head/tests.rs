use super::*;

fn request(bytes: &[u8]) -> Result<Option<(Request, Wire)>, BadMessage> {
    take_request(&mut BytesMut::from(bytes))
}

fn accepted(bytes: &[u8]) -> (Request, Wire) {
    request(bytes).unwrap().expect("whole")
}

fn response(bytes: &[u8], method: Method) -> Response {
    take_response(&mut BytesMut::from(bytes), &method).unwrap().expect("whole").0
}

/// What two parsers could read differently is refused.
#[test]
fn smuggling_table() {
    use BadMessage::{BareLineFeed, Coding, Connect, HeadTooLarge, Malformed, TargetTooLong, Version};
    let table: &[(&[u8], BadMessage)] = &[
        (b"GET / HTTP/1.1\r\n\r\n", Malformed("host: missing")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n", Malformed("host: more than one")),
        (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", Malformed("host")),
        (b"GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", Malformed("host")),
        (b"GET http://a HTTP/1.1\r\n\r\n", Malformed("host: missing")),
        (b"GET / HTTP/1.1\nhost: a\n\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\n", BareLineFeed),
        (b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", Malformed("field name")),
        (b"GET / HTTP/1.1\r\n host: a\r\n\r\n", Malformed("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", Malformed("field name")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", Malformed("field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\n\r\n", Malformed("field value")),
        (b"GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n", Malformed("field name")),
        (b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Malformed("request line")),
        (b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n", Malformed("line ending")),
        (b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", Malformed("request line")),
        (b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", Malformed("target: a fragment")),
        (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", Version),
        (b"GET a HTTP/1.1\r\nhost: a\r\n\r\n", Malformed("target")),
        (b"GET * HTTP/1.1\r\nhost: a\r\n\r\n", Malformed("target")),
        (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", Connect),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            Malformed("framing: content-length and transfer-encoding"),
        ),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
            Malformed("content-length"),
        ),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 4\r\n\r\n", Malformed("content-length")),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\n", Malformed("content-length")),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\n", Malformed("content-length")),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3,\r\n\r\n", Malformed("content-length")),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n", Malformed("content-length")),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\n",
            Malformed("content-length"),
        ),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Coding),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
            Malformed("transfer-encoding"),
        ),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n",
            Malformed("transfer-encoding"),
        ),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            Malformed("transfer-encoding"),
        ),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n", Malformed("field value")),
        (
            b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            Malformed("framing: transfer-encoding in HTTP/1.0"),
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(request(bytes).err(), Some(*expected), "{}", String::from_utf8_lossy(bytes));
    }
    let long = vec![b'a'; MAX_HEAD + 1];
    assert_eq!(request(&[b"GET /", &long[..]].concat()).err(), Some(TargetTooLong));
    let field = [b"GET / HTTP/1.1\r\nhost: a\r\nx: ", &long[..]].concat();
    assert_eq!(request(&field).err(), Some(HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS));
    assert_eq!(request(many.as_bytes()).err(), Some(HeadTooLarge));
}

#[test]
fn a_request_that_comes_byte_by_byte() {
    let bytes = b"\r\nPOST /a?b HTTP/1.1\r\nHost: cart:8080\r\nContent-Length: 2\r\n\r\nhi";
    let mut buffer = BytesMut::new();
    let mut found = None;
    for byte in bytes {
        buffer.put_u8(*byte);
        if let Some(request) = take_request(&mut buffer).unwrap() {
            found = Some(request);
        }
    }
    let (request, wire) = found.expect("whole");
    assert_eq!((request.method, request.uri.to_string()), (Method::POST, "/a?b".to_owned()));
    assert_eq!((request.length, wire.keep_alive), (Length::Known(2), true));
    assert_eq!(buffer, "hi");
}

#[test]
fn order_and_values_stay_and_the_hop_goes() {
    let (request, wire) = accepted(
        b"GET / HTTP/1.1\r\nX-B: 1\r\nHost: a\r\nConnection: close, X-Private, host\r\nx-private: 2\r\n\
          X-A: \xff; v\r\nKeep-Alive: timeout=5\r\nTE: trailers, deflate\r\nX-B: 3\r\nproxy-connection: x\r\n\r\n",
    );
    let mut out = BytesMut::new();
    put_request(&mut out, &request, false, None, None);
    let expected: &[u8] =
        b"GET / HTTP/1.1\r\nx-b: 1\r\nx-b: 3\r\nhost: a\r\nx-a: \xff; v\r\nte: trailers\r\n\
        connection: te\r\n\r\n";
    assert_eq!(out, expected, "{}", String::from_utf8_lossy(&out));
    assert!(!wire.keep_alive);
}

#[test]
fn forms_of_the_target() {
    let (absolute, _) = accepted(b"GET http://u@cart:80?x HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(absolute.uri.to_string(), "/?x");
    assert_eq!(absolute.headers.get("host").unwrap(), "cart:80");
    let (pathless, _) = accepted(b"GET http://cart?x HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(pathless.uri, "/?x", "an empty path is sent as one");
    let (asterisk, _) = accepted(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = BytesMut::new();
    put_request(&mut out, &asterisk, false, None, None);
    assert!(out.starts_with(b"OPTIONS * HTTP/1.1\r\n"), "{out:?}");
    accepted(b"GET / HTTP/1.1\r\nHost:\r\n\r\n");
    accepted(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
}

#[test]
fn connections_live_as_their_version_says() {
    let alive = |bytes: &[u8]| accepted(bytes).1.keep_alive;
    assert!(!alive(b"GET / HTTP/1.0\r\n\r\n"));
    assert!(alive(b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"));
    assert!(alive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert!(!alive(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Close\r\n\r\n"));
}

#[test]
fn only_real_upgrades_are_upgrades() {
    let upgrade = |bytes: &[u8]| accepted(bytes).0.upgrade.is_some();
    assert!(upgrade(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"));
    assert!(!upgrade(b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n"));
    assert!(!upgrade(b"GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"));
    let h2c = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: A\r\n\r\n";
    assert!(!upgrade(h2c));
    assert!(!accepted(h2c).0.headers.contains_key("http2-settings"));
}

#[test]
fn equal_lengths_become_one() {
    for head in ["content-length: 3, 3\r\n", "content-length: 3\r\ncontent-length: 3\r\n"] {
        let (request, _) = accepted(format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n").as_bytes());
        let said: Vec<_> = request.headers.get_all("content-length").iter().collect();
        assert_eq!(said, ["3"]);
    }
}

#[test]
fn bodies_of_responses() {
    let length = |bytes: &[u8], method| response(bytes, method).length;
    assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Method::GET), Length::Known(3));
    assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Method::HEAD), Length::Empty);
    assert_eq!(length(b"HTTP/1.1 304 \r\ncontent-length: 3\r\n\r\n", Method::GET), Length::Empty);
    assert_eq!(length(b"HTTP/1.1 204\r\n\r\n", Method::GET), Length::Empty);
    assert_eq!(length(b"HTTP/1.1 200 OK\r\n\r\n", Method::GET), Length::UntilClose);
    let both =
        response(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: Chunked\r\n\r\n", Method::GET);
    assert_eq!((both.length, both.headers.contains_key("content-length")), (Length::Unknown, false));
    let bad = take_response(
        &mut BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n"),
        &Method::GET,
    );
    assert!(bad.is_err());
    let head = response(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Method::HEAD);
    assert_eq!(head.headers.get("content-length").unwrap(), "3");
}

/// Whatever is accepted is written so that it reads the same again: no field can become a line of its own.
#[test]
fn mutated_requests_never_change_their_meaning() {
    let seeds: [&[u8]; 4] = [
        b"POST /a?b=c HTTP/1.1\r\nHost: cart:80\r\nTransfer-Encoding: chunked\r\nConnection: x, close\r\nX: y\r\n\r\n",
        b"GET http://cart/ HTTP/1.1\r\nHost: other\r\nTE: trailers\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n",
        b"PUT / HTTP/1.0\r\nContent-Length: 10, 10\r\nKeep-Alive: timeout=5\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 0\r\nx: \x80\xff\r\n\r\n",
    ];
    let pieces: [&[u8]; 12] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b":",
        b" ",
        b"\t",
        b"chunked",
        b"content-length: 5\r\n",
        b",",
        b"\xff",
        b"@",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut bytes = seeds[random.usize(..seeds.len())].to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => drop(bytes.splice(at..at, pieces[random.usize(..pieces.len())].iter().copied())),
                1 => bytes[at] = random.u8(..),
                _ => drop(bytes.remove(at)),
            }
        }
        let Ok(Some((request, _))) = take_request(&mut BytesMut::from(&bytes[..])) else { continue };
        accepted += 1;
        let mut out = BytesMut::new();
        put_request(&mut out, &request, request.length == Length::Unknown, None, None);
        if !request.headers.contains_key("host") {
            continue;
        }
        let text = String::from_utf8_lossy(&out).into_owned();
        let (again, _) = take_request(&mut out).unwrap_or_else(|e| panic!("{e}: {text}")).expect("whole");
        assert!(out.is_empty(), "{text}");
        assert_eq!(
            (&again.method, &again.uri, again.length),
            (&request.method, &request.uri, request.length)
        );
        for (name, value) in &request.headers {
            assert!(again.headers.get_all(name).iter().any(|v| v == value), "{name}: {text}");
        }
    }
    assert!(accepted > 5_000, "{accepted}");
}
