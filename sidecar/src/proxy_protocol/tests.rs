use super::*;

fn client(text: &str) -> Said {
    Said::Client(text.parse().unwrap())
}

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 2, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn version_1_in_all_its_forms() {
    let table: [(&str, Result<Said, &str>); 18] = [
        ("PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n", Ok(client("192.0.2.7:56324"))),
        ("PROXY TCP6 2001:db8::7 ::1 1 0\r\n", Ok(client("[2001:db8::7]:1"))),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 0\r\n", Ok(client("192.0.2.7:1"))),
        ("PROXY UNKNOWN\r\n", Ok(Said::Nobody)),
        ("PROXY UNKNOWN ffff::1 whatever 99999\r\n", Ok(Said::Nobody)),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\n", Err("LF")),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 56324\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 56324 443 1\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.7  10.0.0.2 56324 443\r\n", Err("two")),
        ("PROXY TCP4 2001:db8::7 ::1 1 1\r\n", Err("two")),
        ("PROXY TCP6 192.0.2.7 10.0.0.2 1 1\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.007 10.0.0.2 1 1\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 01 1\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 +1 1\r\n", Err("two")),
        ("PROXY TCP4 192.0.2.7 10.0.0.2 65536 1\r\n", Err("two")),
        ("PROXY UDP4 192.0.2.7 10.0.0.2 1 1\r\n", Err("neither")),
        ("PROXY \r\n", Err("neither")),
        ("GET / HTTP/1.1\r\n", Err("no PROXY header")),
    ];
    for (text, expected) in table {
        let rest = format!("{text}GET / HTTP/1.1\r\n");
        match (read(rest.as_bytes()), expected) {
            (Ok(Some(found)), Ok(said)) => assert_eq!(found, (said, text.len()), "{text}"),
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn version_2_in_all_its_forms() {
    let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 12], &[0; 15], &[1], &[0, 80, 1, 187]].concat();
    // What the load balancers of AWS add: the id of a VPC endpoint (0xEA), and a checksum.
    let amazon = [&V4[..], &[0xea, 0, 5, 1, b'v', b'p', b'c', b'e'], &[3, 0, 4, 1, 2, 3, 4]].concat();
    let table: [(Vec<u8>, Result<Said, &str>); 16] = [
        (binary(0x21, 0x11, &V4), Ok(client("192.0.2.7:56324"))),
        (binary(0x21, 0x21, &v6), Ok(client("[2001:db8::]:80"))),
        (binary(0x21, 0x11, &amazon), Ok(client("192.0.2.7:56324"))),
        // Broken TLVs are read over as well.
        (binary(0x21, 0x11, &[&V4[..], &[1]].concat()), Ok(client("192.0.2.7:56324"))),
        (binary(0x20, 0x00, &[]), Ok(Said::Nobody)),
        (binary(0x20, 0xff, &[1, 2, 3]), Ok(Said::Nobody)),
        (binary(0x21, 0x00, &[0; 40]), Ok(Said::Nobody)),
        (binary(0x21, 0x12, &V4), Ok(Said::Nobody)),
        (binary(0x21, 0x31, &[b'/'; 216]), Ok(Said::Nobody)),
        (binary(0x21, 0x11, &V4[..11]), Err("too short")),
        (binary(0x21, 0x21, &V4), Err("too short")),
        (binary(0x21, 0x41, &v6), Err("family")),
        (binary(0x21, 0x13, &v6), Err("family")),
        (binary(0x22, 0x11, &V4), Err("command")),
        (binary(0x11, 0x11, &V4), Err("version")),
        (binary(0x21, 0x11, &[0; MAX_HEADER - FIXED + 1]), Err("4 KiB")),
    ];
    for (bytes, expected) in table {
        let rest = [&bytes[..], b"GET /"].concat();
        match (read(&rest), expected) {
            (Ok(Some(found)), Ok(said)) => assert_eq!(found, (said, bytes.len()), "{bytes:?}"),
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{bytes:?}: {error}"),
            (found, _) => panic!("{bytes:?}: {found:?}"),
        }
    }
}

#[test]
fn what_is_not_whole_needs_more_and_never_without_end() {
    let whole =
        [b"PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n".to_vec(), binary(0x21, 0x11, &V4), LOCAL.to_vec()];
    for bytes in whole {
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
        }
        assert!(read(&bytes).unwrap().is_some());
    }
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(read(&endless[..MAX_LINE - 1]), Ok(None));
    assert!(read(&endless[..MAX_LINE]).is_err());
    assert!(read(&[&endless[..MAX_LINE - 1], b"\r\n"].concat()).is_err());
    assert!(read(&[&endless[..MAX_LINE - 2], b"\r\n"].concat()).unwrap().is_some());
}

#[test]
fn what_is_written_reads_as_who_called() {
    let addresses = ["192.0.2.7:80", "[2001:db8::7]:65535", "[::ffff:192.0.2.7]:1"];
    let called = ["10.0.0.2:8080", "[::1]:8080"];
    let caller = SpiffeId::try_from("spiffe://test.internal/shop/web".to_owned()).unwrap();
    for (client, called) in addresses.iter().flat_map(|client| called.map(|called| (client, called))) {
        for caller in [None, Some(&caller)] {
            let client: SocketAddr = client.parse().unwrap();
            let bytes = header(client, called.parse().unwrap(), caller);
            let client = SocketAddr::new(client.ip().to_canonical(), client.port());
            assert_eq!(read(&bytes), Ok(Some((Said::Client(client), bytes.len()))));
            assert!(bytes.len() <= 536, "what every receiver takes");
        }
    }
    let bytes = header("192.0.2.7:80".parse().unwrap(), "10.0.0.2:81".parse().unwrap(), Some(&caller));
    let id = b"spiffe://test.internal/shop/web";
    // PP2_TYPE_SSL: client and verify, then version and common name.
    let expected = [&[0x20, 0, 49, 7, 0, 0, 0, 0, 0x21, 0, 7][..], b"TLSv1.3", &[0x22, 0, 31], id].concat();
    assert_eq!(bytes[28..], expected);
}

use outrigger_wire::SpiffeId;
