//! The process that owns the namespace: what it does before anything joins, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use outrigger_wire::port;

use crate::namespace::{LIMIT, Neighbour, inside, run};

/// A holder that holds; what it writes from now on.
fn hold(words: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-sidecar"));
    let mut child = command.arg("hold").args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    (child, output, line)
}

/// How it ends after SIGTERM, and how long that takes.
fn end(mut child: Child) -> (ExitStatus, Duration) {
    run(&format!("kill -TERM {}", child.id()));
    let begun = Instant::now();
    (child.wait().unwrap(), begun.elapsed())
}

#[test]
fn the_namespace_is_closed_before_anything_joins_and_the_holder_keeps_no_capability() {
    inside("hold::the_namespace_is_closed_before_anything_joins_and_the_holder_keeps_no_capability", || {
        let _neighbour = Neighbour::new();
        let (child, _output, line) = hold(&["--capture"]);
        assert_eq!(line, "holding; the rules are set\n");
        assert!(run("nft list table inet outrigger").contains("redirect to :15001"));
        let error = TcpStream::connect("10.9.0.2:80").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "no sidecar yet: closed");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        for set in ["CapEff:", "CapPrm:", "CapInh:"] {
            let row = status.lines().find(|line| line.starts_with(set)).unwrap();
            assert_eq!(row.split_whitespace().nth(1), Some("0000000000000000"), "{row}");
        }
        let (status, took) = end(child);
        assert!(status.success());
        assert!(took < Duration::from_secs(1), "nobody to wait for: {took:?}");
    });
}

#[test]
fn it_stays_until_the_last_peer_has_gone() {
    inside("hold::it_stays_until_the_last_peer_has_gone", || {
        let neighbour = Neighbour::new();
        let (mut child, _output, line) = hold(&[]);
        assert_eq!(line, "holding\n");
        let listener = TcpListener::bind(("::", port::MESH)).unwrap();
        let peer = neighbour.does(|| TcpStream::connect(("10.9.0.1", port::MESH)).unwrap());
        let accepted = listener.accept().unwrap();
        run(&format!("kill -TERM {}", child.id()));
        // Longer than the moment that callers get who have no connection.
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(child.try_wait().unwrap().is_none(), "a peer is still there");
        drop((peer, accepted));
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < LIMIT, "the last peer has gone");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}
