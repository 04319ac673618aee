//! What a connection speaks, from its port and its first bytes.

use outrigger_wire::Protocol;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.x.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Anything else.
    Bytes,
}

/// How a connection's protocol becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is known.
    Known(Spoken),
    /// Look; `Http1` answers for anything that is not HTTP.
    LookForHttp,
    /// Look; bytes where it is not HTTP, or where the client says nothing for a while.
    Look,
}

/// First bytes of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Ports where the server speaks first, or that are well known for something that is not HTTP: bytes
/// unless declared otherwise. SSH, FTP, SMTP, POP3, IMAP and their TLS forms, MS SQL, Oracle, MQTT,
/// NFS, ZooKeeper, MySQL, PostgreSQL, AMQP, Redis, Cassandra, Kafka, memcached, MongoDB.
const OPAQUE: [u16; 28] = [
    21, 22, 23, 25, 110, 143, 465, 587, 636, 389, 993, 995, 1433, 1521, 1883, 2049, 2181, 3306, 4222, 5432,
    5671, 5672, 6379, 8883, 9042, 9092, 11211, 27017,
];

/// Methods of RFC 9110, PATCH, and those of WebDAV and its kin.
const METHODS: [&[u8]; 24] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"MKACTIVITY",
    b"CHECKOUT",
    b"MERGE",
    b"PURGE",
    b"QUERY",
    b"MKCALENDAR",
];

/// The rule for a port that is declared to speak `protocol`.
pub fn rule(protocol: Protocol, port: u16) -> Rule {
    match protocol {
        Protocol::Detect if OPAQUE.contains(&port) => Rule::Known(Spoken::Bytes),
        Protocol::Detect => Rule::Look,
        Protocol::Http => Rule::LookForHttp,
        Protocol::Http2 => Rule::Known(Spoken::Http2),
        Protocol::Tcp => Rule::Known(Spoken::Bytes),
    }
}

/// Looks at the first bytes; `None` when more are needed. Never needs more than 24.
pub fn look(first: &[u8]) -> Option<Spoken> {
    if first.starts_with(PREFACE) {
        return Some(Spoken::Http2);
    }
    if PREFACE.starts_with(first) {
        return None;
    }
    let method_end = first.iter().position(|byte| !byte.is_ascii_uppercase());
    let Some(end) = method_end else {
        let may_become = METHODS.iter().any(|method| method.starts_with(first));
        return if may_become { None } else { Some(Spoken::Bytes) };
    };
    let (method, rest) = first.split_at(end);
    if !METHODS.contains(&method) {
        return Some(Spoken::Bytes);
    }
    // The target begins with `/`, `*`, a scheme, or (CONNECT) a host.
    match rest {
        [b' '] => None,
        [b' ', b'/' | b'*' | b'h' | b'H', ..] => Some(Spoken::Http1),
        [b' ', host, ..] if method == b"CONNECT" && host.is_ascii_graphic() => Some(Spoken::Http1),
        _ => Some(Spoken::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        let table: [(&[u8], Option<Spoken>); 16] = [
            (b"", None),
            (b"G", None),
            (b"GET", None),
            (b"GET ", None),
            (b"GET /", Some(Spoken::Http1)),
            (b"OPTIONS * HTTP/1.1\r\n", Some(Spoken::Http1)),
            (b"POST http://a/ HTTP/1.1", Some(Spoken::Http1)),
            (b"CONNECT example.test:443 HTTP/1.1", Some(Spoken::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PRI * HTTP/3", Some(Spoken::Bytes)),
            (b"\x16\x03\x01", Some(Spoken::Bytes)),
            (b"PING\r\n", Some(Spoken::Bytes)),
            (b"SET key value\r\n", Some(Spoken::Bytes)),
            (b"GET key\r\n", Some(Spoken::Bytes)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Spoken::Bytes)),
        ];
        for (bytes, expected) in table {
            assert_eq!(look(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn no_more_than_the_preface_is_needed() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let bytes: Vec<u8> =
                (0..24).map(|_| if rng.bool() { rng.u8(b'A'..=b'Z') } else { rng.u8(..) }).collect();
            assert!(look(&bytes).is_some(), "{bytes:?}");
        }
    }

    #[test]
    fn servers_that_speak_first_are_bytes_unless_declared() {
        assert_eq!(rule(Protocol::Detect, 3306), Rule::Known(Spoken::Bytes));
        assert_eq!(rule(Protocol::Http, 3306), Rule::LookForHttp);
        assert_eq!(rule(Protocol::Detect, 8080), Rule::Look);
    }
}
