//! Each target over its examples and their mutations, for a moment and the same way each time.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;

/// Mutated inputs for each target.
const ROUNDS: u64 = 2_000;
/// Pieces that matter to a reader of HTTP, JSON or DNS.
const PIECES: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b": ",
    b",",
    b";",
    b"\0",
    b"\xff",
    b"0",
    b"0\r\n\r\n",
    b"chunked",
    b"content-length: 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"host: a\r\n",
    b"connection: close\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / ",
    b"http://a",
    b"*",
    b"#",
    b"%0d%0a",
    b"\x0b",
    b"\xc0\x0c",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"null",
    b"99999999999999999999",
];

fn examples(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn mutated(examples: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = rng.choice(examples).unwrap().clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..12)).min(bytes.len());
        match rng.u8(..6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, rng.choice(PIECES).unwrap().iter().copied())),
            2 => drop(bytes.splice(at..end, rng.choice(PIECES).unwrap().iter().copied())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.usize(..=bytes.len());
                drop(bytes.splice(to..to, copy));
            }
            4 if at < bytes.len() => bytes[at] = rng.u8(..),
            _ => {
                let other = rng.choice(examples).unwrap();
                bytes.truncate(at);
                bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
    }
    bytes
}

/// Runs a target; what makes it panic is shown with the seed that made it.
fn run(name: &str, target: fn(&[u8])) {
    let examples = examples(name);
    let hold = |seed: u64, bytes: &[u8]| {
        assert!(
            catch_unwind(|| target(bytes)).is_ok(),
            "{name}, seed {seed}: {:?}",
            bytes.escape_ascii().to_string()
        );
    };
    examples.iter().for_each(|example| hold(0, example));
    for seed in 1..=ROUNDS {
        hold(seed, &mutated(&examples, &mut Rng::with_seed(seed)));
    }
}

#[test]
fn http_messages_read_the_same_however_they_come() {
    run("http-requests", super::http_requests);
    run("http-responses", super::http_responses);
    run("chunks", super::chunks);
}

#[test]
fn what_is_spoken_stays_what_it_is() {
    run("first-bytes", super::first_bytes);
}

#[test]
fn a_proxy_header_names_the_same_client_however_it_comes() {
    run("proxy-headers", super::proxy_headers);
}

#[test]
fn dns_messages_are_answered_as_they_ask_or_not_at_all() {
    run("dns-query", super::dns_query);
}

#[test]
fn what_the_agent_answers_and_what_proves_a_task_is_taken_whole_or_refused() {
    run("task-answers", super::task_answers);
    run("proofs", super::proofs);
}

#[test]
fn answers_to_health_checks_come_to_the_same_however_they_come() {
    let passes =
        |answer: &Vec<u8>| crate::probe::fuzz::tried(answer[0] != b'g', &answer[1..], 4096).is_none();
    assert_eq!(examples("health-answers").iter().filter(|answer| passes(answer)).count(), 4);
    run("health-answers", super::health_answers);
}

#[test]
fn frames_of_a_hand_over_and_resources_are_taken_whole_or_refused() {
    run("hand-over", super::hand_over);
    run("resources", super::resources);
}
