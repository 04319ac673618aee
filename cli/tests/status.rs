//! The command as users run it, against a controller that is a few lines here.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// A sound mesh; its certificates end in the year 2100, since the command reads the clock.
static SHOP: LazyLock<String> =
    LazyLock::new(|| include_str!("../src/status/cases/shop.json").replace("1763966400", "4102444800"));
const BROKEN: &str = include_str!("../src/status/cases/broken.json");

/// Serves `answers` in turn, the last one for ever; gives its address.
fn controller(status: &'static str, answers: &[&'static str]) -> String {
    let mut answers = Vec::from(answers).into_iter();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut body = "";
        for stream in listener.incoming() {
            body = answers.next().unwrap_or(body);
            let _the_client_may_be_gone = answer(stream.unwrap(), status, body);
        }
    });
    format!("http://{address}")
}

fn answer(stream: TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    assert_eq!(line, "GET /status HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    reader.get_mut().write_all((head + body).as_bytes())
}

fn outrigger(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).env_remove("OUTRIGGER_CONTROLLER").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = outrigger(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_sound_mesh_is_zero_and_without_colour_in_a_pipe() {
    let url = controller("200 OK", &[&SHOP]);
    let (code, stdout, stderr) = run(&["status", "--controller", &url]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("mesh shop, scope project shop"), "{stdout}");
    assert!(!stdout.contains('\x1b'));
    let (_, painted, _) = run(&["status", "--controller", &url, "--color", "always"]);
    assert!(painted.contains("\x1b[32mready\x1b[0m"), "{painted}");
}

#[test]
fn a_mesh_with_faults_is_one() {
    let url = controller("200 OK", &[BROKEN]);
    let output = outrigger(&["status"]).env("OUTRIGGER_CONTROLLER", &url).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("write \"true\" or \"false\""), "{stdout}");
}

#[test]
fn json_keeps_what_this_version_does_not_know() {
    let url = controller("200 OK", &[&SHOP]);
    let (code, stdout, _) = run(&["status", "--controller", &url, "--json"]);
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!((code, value(&stdout)), (Some(0), value(&SHOP)));
}

#[test]
fn nobody_there_is_one_and_says_the_way_out() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, stdout, stderr) = run(&["status", "--controller", &format!("http://{free}")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("cannot reach the controller at {free}")), "{stderr}");
    assert!(stderr.contains("docker compose exec outrigger /outrigger status"), "{stderr}");
}

#[test]
fn somebody_else_there_is_one_and_says_so() {
    for (status, body) in [("200 OK", "<html>"), ("200 OK", "{}"), ("404 Not Found", "{}")] {
        let url = controller(status, &[body]);
        let (code, _, stderr) = run(&["status", "--controller", &url]);
        assert_eq!(code, Some(1));
        assert!(stderr.contains("not an Outrigger controller"), "{status} {body}: {stderr}");
    }
}

#[test]
fn bad_usage_is_64() {
    for arguments in [&["status", "--no-such-flag"][..], &["stauts"], &[], &["status", "--watch", "0"]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(stderr.contains("--help") || stderr.contains("Usage"), "{arguments:?}: {stderr}");
    }
    assert_eq!(
        run(&["--version"]),
        (Some(0), format!("outrigger {}\n", env!("CARGO_PKG_VERSION")), String::new())
    );
    assert_eq!(run(&["status", "--help"]).0, Some(0));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{shell}");
        assert!(stdout.contains("status") && stdout.contains("controller"), "{shell}");
    }
}

/// Ends the child whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn watch_shows_changes_until_it_is_ended() {
    let url = controller("200 OK", &[&SHOP, BROKEN]);
    let arguments = ["status", "--controller", &url, "--watch", "1"];
    let mut child = Running(outrigger(&arguments).stdout(Stdio::piped()).spawn().unwrap());
    let mut stdout = child.0.stdout.take().unwrap();
    let begun = Instant::now();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    let both = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen);
        text.contains("Nothing is wrong") && text.contains("things are wrong")
    };
    while !both(&seen) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", String::from_utf8_lossy(&seen));
        let read = stdout.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "it ended by itself");
        seen.extend_from_slice(&buffer[..read]);
    }
}
