//! Abuse of HTTP/2: the connection ends or the stream is refused, memory stays bounded, others are served.

use std::time::{Duration, Instant};

use super::frames::*;
use crate::http_mesh::Chain;
use crate::http_two::{App, Client, grpc};
use crate::mesh::{Ca, within};

/// What becomes of the abuse.
#[derive(Debug)]
enum Ends {
    /// The connection ends, with GOAWAY and one of these codes, or at once.
    Connection(&'static [u32]),
    /// The stream ends with RST_STREAM and one of these codes; the connection lives.
    Stream(&'static [u32]),
    /// One of the two, by what was read in the meantime.
    Either(&'static [u32]),
    /// An answer comes and the connection lives.
    Answered,
    /// Nothing happens but that the sender has to wait.
    Stalls,
}

use Ends::{Answered, Connection, Either, Stalls, Stream};

/// Longest that another client may wait for an answer during abuse, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Memory that one abusive connection may cost, with what tests beside this one take.
const MEMORY: usize = 96 << 20;

/// Runs a case over each of the three ways in, with a client beside it that must be answered all the time.
async fn hold(cases: Vec<(&str, Vec<u8>, Ends)>) {
    let app = App::echo().await;
    let ca = Ca::new();
    let chain = Chain::start_of(&ca, &[app.address]).await;
    let mut wrong = Vec::new();
    for (name, bytes, ends) in &cases {
        for way in ["out", "plain", "mesh"] {
            let (caller, callee) = (&chain.caller, &chain.callees[0]);
            let witness = Client::connect(caller.at("out")).await;
            let mut frames = match way {
                "out" => Frames::plain(caller.at("out")).await,
                "plain" => Frames::plain(callee.at("plain")).await,
                _ => Frames::mesh(&ca, callee.at("mesh")).await,
            };
            let before = memory();
            let mut sending = Box::pin(frames.send(bytes));
            let sent = loop {
                let asked = Instant::now();
                tokio::select! {
                    sent = &mut sending => break sent,
                    answer = witness.call(grpc(), "hello") => {
                        assert_eq!(answer.unwrap().status(), 200, "{name} ({way})");
                        assert!(asked.elapsed() < PATIENCE, "{name} ({way}): {:?}", asked.elapsed());
                    }
                }
            };
            drop(sending);
            assert_eq!(witness.call(grpc(), "hello").await.unwrap().status(), 200, "{name} ({way})");
            let grown = memory().saturating_sub(before);
            let seen = match (sent, ends) {
                (false, Stalls) => continue,
                (_, Stalls | Connection(_)) => frames.seen().await,
                // A sign of life may overtake the answer.
                (_, Answered | Stream(_) | Either(_)) => {
                    within(frames.seen_until(|seen| !seen.is_silent())).await
                }
            };
            let good = match ends {
                Connection(codes) => !seen.lives && seen.goaway.is_none_or(|code| codes.contains(&code)),
                Stream(codes) => seen.lives && seen.resets.iter().any(|(_, code)| codes.contains(code)),
                Either(codes) => {
                    let mut told = seen.resets.iter().map(|(_, code)| *code).chain(seen.goaway);
                    told.all(|code| codes.contains(&code)) && (!seen.lives || !seen.resets.is_empty())
                }
                Answered => seen.lives && !seen.answered.is_empty(),
                Stalls => seen.lives,
            };
            if !good || grown > MEMORY {
                let few = seen.resets.len().min(5);
                wrong.push(format!(
                    "{name} ({way}): sent: {sent}, GOAWAY {:?}, {} resets {:?}, {} answered, lives: {}, {} KiB more",
                    seen.goaway, seen.resets.len(), &seen.resets[..few], seen.answered.len(), seen.lives, grown >> 10
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Resident, bytes.
fn memory() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &GET)
}

/// A GET with more behind its head's pseudo fields.
fn with(fields: &[Vec<u8>]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&GET[..], &fields.concat()].concat())
}

fn many(count: u32, piece: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| piece(2 * n + 1)).collect()
}

#[tokio::test]
async fn floods_end_their_connection_or_wait() {
    let cancel = 8_u32.to_be_bytes();
    hold(vec![
        (
            "rapid reset",
            many(20_000, |n| [get(n), frame(RST_STREAM, 0, n, &cancel)].concat()),
            Connection(&[CALM]),
        ),
        (
            "CONTINUATION without end",
            [
                frame(HEADERS, END_STREAM, 1, &GET),
                many(50_000, |_| frame(CONTINUATION, 0, 1, &literal("x", "y"))),
            ]
            .concat(),
            Connection(&[CALM, PROTOCOL_ERROR]),
        ),
        (
            "empty CONTINUATION without end",
            [frame(HEADERS, END_STREAM, 1, &GET), many(50_000, |_| frame(CONTINUATION, 0, 1, &[]))].concat(),
            Connection(&[CALM, PROTOCOL_ERROR]),
        ),
        ("SETTINGS", many(100_000, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])), Stalls),
        ("PING", many(200_000, |_| frame(PING, 0, 0, &[0; 8])), Stalls),
        ("PRIORITY", many(100_000, |n| frame(PRIORITY, 0, n, &[0, 0, 0, 0, 1])), Stalls),
        ("frames of no known kind", many(100_000, |_| frame(0xee, 0, 0, &[0; 8])), Stalls),
        (
            "empty DATA",
            [frame(HEADERS, END_HEADERS, 1, &POST), many(100_000, |_| frame(DATA, 0, 1, &[]))].concat(),
            Connection(&[CALM]),
        ),
        (
            "malformed requests",
            many(20_000, |n| {
                frame(HEADERS, END_STREAM | END_HEADERS, n, &[&GET[..], &literal("X", "y")].concat())
            }),
            Connection(&[CALM, PROTOCOL_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn heads_have_a_size() {
    // One entry of the table, then a byte for each time it is meant: 4,000 bytes a time.
    let mut bomb = [&GET[..], &[0x40, 1, b'x', 0x7f, 0xa1, 0x1e]].concat();
    bomb.extend([b'y'; 4000]);
    bomb.extend([0xbe; 10_000]);
    let large = |count| {
        let fields: Vec<u8> = (0..count).flat_map(|_| literal("x", &"y".repeat(100))).collect();
        let head = [&GET[..], &fields].concat();
        let mut pieces = head.chunks(16_000).peekable();
        let mut bytes = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
        while let Some(piece) = pieces.next() {
            bytes.extend(frame(
                CONTINUATION,
                if pieces.peek().is_none() { END_HEADERS } else { 0 },
                1,
                piece,
            ));
        }
        bytes
    };
    hold(vec![
        (
            "HPACK bomb",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb),
            Connection(&[CALM, PROTOCOL_ERROR]),
        ),
        ("a large head", large(300), Answered),
        ("a head over the limit", large(1_000), Answered),
        ("a head far over it", large(10_000), Connection(&[CALM, PROTOCOL_ERROR])),
        (
            "an index of nothing",
            with(&[vec![0xff, 0xff, 0xff, 0x7f]]),
            Connection(&[PROTOCOL_ERROR, COMPRESSION_ERROR]),
        ),
        ("an integer without end", with(&[vec![0xff; 16]]), Connection(&[PROTOCOL_ERROR, COMPRESSION_ERROR])),
        (
            "a table that grows",
            with(&[vec![0x3f, 0xff, 0xff, 0xff, 0x0f]]),
            Connection(&[PROTOCOL_ERROR, COMPRESSION_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn frames_come_where_they_may() {
    let window = |stream: u32, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    let open = || frame(HEADERS, END_HEADERS, 1, &POST);
    hold(vec![
        ("DATA on an idle stream", frame(DATA, 0, 99, b"x"), Connection(&[PROTOCOL_ERROR])),
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        (
            "DATA after the end",
            [get(1), frame(DATA, 0, 1, b"x")].concat(),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        ("an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &GET), Connection(&[PROTOCOL_ERROR])),
        ("a stream behind", [get(5), get(3)].concat(), Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])),
        ("no window", window(0, 0), Connection(&[PROTOCOL_ERROR])),
        ("too much window", window(0, 0x7fff_ffff), Connection(&[FLOW_CONTROL_ERROR])),
        (
            "too much window of a stream",
            [open(), window(1, 0x7fff_ffff)].concat(),
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        ("a frame too large", frame(PING, 0, 0, &[0; 100_000]), Connection(&[FRAME_SIZE_ERROR])),
        ("PING of 4 bytes", frame(PING, 0, 0, &[0; 4]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        (
            "more DATA than the window",
            [
                open(),
                many(9, |_| frame(DATA, 0, 1, &[b'x'; 16_384])),
                many(300, |_| frame(DATA, 0, 1, &[b'x'; 16_384])),
            ]
            .concat(),
            Either(&[FLOW_CONTROL_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn malformed_requests_are_streams_refused() {
    let no = |fields: &[Vec<u8>]| with(fields);
    let post = |fields: &[Vec<u8>], body: &[u8]| {
        let head = [&POST[..], &fields.concat()].concat();
        [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, body)].concat()
    };
    let refused = || Stream(&[PROTOCOL_ERROR]);
    // What HPACK cannot give back leaves its tables in doubt.
    let ended = || Connection(&[PROTOCOL_ERROR]);
    hold(vec![
        ("upper case", no(&[literal("X", "y")]), ended()),
        ("connection", no(&[literal("connection", "close")]), refused()),
        ("transfer-encoding", no(&[literal("transfer-encoding", "chunked")]), refused()),
        ("te", no(&[literal("te", "gzip")]), refused()),
        ("a colon in a name", no(&[literal("x:y", "z")]), ended()),
        ("a space in a name", no(&[literal("x y", "z")]), ended()),
        ("CR LF in a value", no(&[literal("x", "y\r\nz: 1")]), ended()),
        ("NUL in a value", no(&[literal("x", "\0")]), ended()),
        ("a pseudo field late", no(&[literal("x", "y"), literal(":path", "/b")]), refused()),
        ("two paths", no(&[literal(":path", "/b")]), refused()),
        ("an unknown pseudo field", no(&[literal(":x", "y")]), ended()),
        ("a status", no(&[literal(":status", "200")]), refused()),
        (
            "two lengths",
            post(&[literal("content-length", "5"), literal("content-length", "6")], b"hello"),
            refused(),
        ),
        ("a signed length", post(&[literal("content-length", "+5")], b"hello"), refused()),
        ("shorter than said", post(&[literal("content-length", "6")], b"hello"), refused()),
        ("longer than said", post(&[literal("content-length", "4")], b"hello"), refused()),
        (
            "a space in the path",
            frame(HEADERS, 5, 1, &[&[0x82, 0x86, 1, 1, b'a'][..], &literal(":path", "/a b")].concat()),
            refused(),
        ),
        (
            "CR LF in the path",
            frame(HEADERS, 5, 1, &[&[0x82, 0x86, 1, 1, b'a'][..], &literal(":path", "/\r\nx")].concat()),
            refused(),
        ),
        ("another host", no(&[literal("host", "b")]), Answered),
        ("two hosts", no(&[literal("host", "a"), literal("host", "a")]), Answered),
    ])
    .await;
}

/// Streams beyond the limit are refused, those within it live.
#[tokio::test]
async fn streams_are_counted() {
    hold(vec![(
        "1,100 open streams",
        many(1_100, |n| frame(HEADERS, END_HEADERS, n, &POST)),
        Stream(&[REFUSED_STREAM]),
    )])
    .await;
}

/// A client that opens its window a byte at a time gets bytes; one that never does costs what its streams may hold.
#[tokio::test]
async fn windows_are_opened_by_the_client() {
    let app = App::start(|_, mut respond| async move {
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        let body = bytes::Bytes::from(vec![b'x'; 16 << 10]);
        loop {
            send.reserve_capacity(body.len());
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(Ok(size)) => {
                    if send.send_data(body.slice(..size.min(body.len())), false).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    })
    .await;
    let chain = Chain::start_of(&Ca::new(), &[app.address]).await;
    for way in ["out", "plain"] {
        let address = if way == "out" { chain.caller.at("out") } else { chain.callees[0].at("plain") };
        let mut frames = Frames::plain(address).await;
        let begun = memory();
        frames.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        // One from outside may have 128 at once; the application of this workload may have what it likes.
        frames.send(&many(if way == "plain" { 1_000 } else { 100 }, get)).await;
        let mut bytes = 0;
        for _ in 0..50 {
            frames.send(&many(100, |n| frame(WINDOW_UPDATE, 0, n, &1_u32.to_be_bytes()))).await;
            bytes += frames.seen().await.data;
        }
        within(async {
            while bytes < 50 * 100 {
                bytes += frames.seen().await.data;
            }
        })
        .await;
        assert_eq!(bytes, 50 * 100, "{way}");
        let grown = memory().saturating_sub(begun);
        assert!(grown < MEMORY, "{way}: {} KiB", grown >> 10);
    }
}
