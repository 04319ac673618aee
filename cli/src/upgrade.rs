//! `outrigger upgrade`: asks the controller to replace sidecars, and shows how it goes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixStream;

use crate::args::UpgradeArguments;

/// Longest deadline, seconds: a day.
const LONGEST: u64 = 86_400;
/// Longest event or message that is read, bytes.
const LONGEST_LINE: usize = 1 << 20;

/// What the controller tells, line by line. Fields that are not known here are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Planned {
        image: String,
        workloads: Vec<String>,
        current: Vec<String>,
        refused: Vec<Refused>,
    },
    Started {
        workload: String,
    },
    Serving {
        workload: String,
        ms: u64,
    },
    Done {
        workload: String,
        ms: u64,
        cut: Option<String>,
    },
    Failed {
        workload: String,
        what: String,
    },
    Finished {
        upgraded: usize,
        failed: usize,
        left: usize,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Refused {
    workload: String,
    why: String,
}

/// Runs the command.
pub fn run(arguments: &UpgradeArguments) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(upgrade(arguments))
}

/// Seconds, or a number with `s`, `m` or `h`; a day at most.
pub fn deadline(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, text.get(digits.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let factor = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let seconds = seconds.filter(|seconds| *seconds <= LONGEST);
    seconds.map(Duration::from_secs).ok_or_else(|| "write seconds, or 30s, 5m, 1h; 24h at most".into())
}

async fn upgrade(arguments: &UpgradeArguments) -> io::Result<ExitCode> {
    let body = json!({
        "names": arguments.names,
        "image": arguments.image,
        "dry_run": arguments.dry_run,
        "deadline_s": arguments.deadline.as_secs(),
    });
    let mut shown = Shown { json: arguments.json, named: !arguments.names.is_empty(), ..Shown::default() };
    let (mut sender, connection) = match dial(&arguments.socket).await {
        Ok(dialled) => dialled,
        Err(error) => {
            let socket = arguments.socket.display();
            return Err(io::Error::other(format!(
                "cannot reach the controller at {socket}: {error}\n\
                 Ask it from inside its container: docker compose exec outrigger /outrigger upgrade\n\
                 Elsewhere, say where its state directory is: --socket DIRECTORY/admin.sock"
            )));
        }
    };
    let request =
        Request::post("/upgrade").header(HOST, "outrigger").header(CONTENT_TYPE, "application/json");
    let request = request.body(Full::<Bytes>::from(body.to_string())).map_err(io::Error::other)?;
    let follow = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let mut lines = Lines { body: response.into_body(), rest: Vec::new() };
        if status != StatusCode::OK {
            let said = lines.next().await?.unwrap_or_default();
            return Err(io::Error::other(format!("the controller refuses: {}", said.trim_end())));
        }
        while let Some(line) = lines.next().await? {
            shown.line(&line)?;
        }
        shown.end(arguments.dry_run)
    };
    let mut follow = std::pin::pin!(follow);
    tokio::select! {
        ended = &mut follow => ended,
        // The connection may end before the last of the body is read from it.
        _ended = connection => follow.await,
    }
}

type Dialled = (http1::SendRequest<Full<Bytes>>, http1::Connection<TokioIo<UnixStream>, Full<Bytes>>);

async fn dial(socket: &Path) -> io::Result<Dialled> {
    let stream = UnixStream::connect(socket).await?;
    http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
}

/// The lines of a body as they come.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(end + 1);
                let line = std::mem::replace(&mut self.rest, after);
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(io::Error::other("the controller's answer has a line over 1 MiB"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                // Cut off: what has come is all that is known.
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }
}

/// What was shown.
#[derive(Debug, Default)]
struct Shown {
    json: bool,
    named: bool,
    of: usize,
    at: usize,
    failed: bool,
    finished: bool,
}

impl Shown {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let event: Event = serde_json::from_str(line).map_err(io::Error::other)?;
        let mut text = self.text(&event);
        if self.json {
            line.clone_into(&mut text);
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn text(&mut self, event: &Event) -> String {
        match event {
            Event::Planned { image, workloads, current, refused } => {
                (self.of, self.failed) = (workloads.len(), self.named && !refused.is_empty());
                planned(image, workloads, current, refused)
            }
            Event::Started { workload } => {
                self.at += 1;
                format!("[{}/{}] {workload}: the new sidecar starts\n", self.at, self.of)
            }
            Event::Serving { workload, ms } => {
                format!("[{}/{}] {workload}: it serves after {ms} ms\n", self.at, self.of)
            }
            Event::Done { workload, ms, cut } => {
                let cut =
                    cut.as_ref().map_or_else(String::new, |cut| format!("; the deadline passed: {cut}"));
                format!("[{}/{}] {workload}: the old one has ended after {ms} ms{cut}\n", self.at, self.of)
            }
            Event::Failed { workload, what } => {
                self.failed = true;
                if workload.is_empty() {
                    format!("{what}\n")
                } else {
                    format!("[{}/{}] {workload}: {what}\n", self.at, self.of)
                }
            }
            Event::Finished { upgraded, failed, left } => {
                self.finished = true;
                let mut text = format!("{upgraded} replaced");
                if *failed > 0 {
                    text += &format!(", {failed} failed");
                }
                if *left > 0 {
                    text += &format!(", {left} left as they were");
                }
                text + "\n"
            }
            Event::Unknown => String::new(),
        }
    }

    fn end(&self, dry_run: bool) -> io::Result<ExitCode> {
        if !self.finished && !dry_run {
            return Err(io::Error::other(
                "the controller ended in the middle. When it is back it brings the sidecar it was at to its end; then run \
                 this again",
            ));
        }
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn planned(image: &str, workloads: &[String], current: &[String], refused: &[Refused]) -> String {
    let mut text = match (workloads.len(), current.len()) {
        (0, 0) => format!("{image}: no sidecar to replace\n"),
        (0, has) => format!("{image}: nothing to do, {has} of {has} sidecars have it\n"),
        (1, 0) => format!("{image}: 1 sidecar to replace: {}\n", workloads.join(", ")),
        (more, has) => {
            let has = if has > 0 { format!(", {has} have it already") } else { String::new() };
            format!("{image}: {more} sidecars to replace: {}{has}\n", workloads.join(", "))
        }
    };
    for Refused { workload, why } in refused {
        text += &format!("{workload}: left as it is: {why}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("1h", 3600), ("0", 0)] {
            assert_eq!(deadline(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "-1", "1d", "25h", "99999999999999999999h", "1.5m"] {
            assert!(deadline(bad).unwrap_err().contains("5m"), "{bad}");
        }
    }

    #[test]
    fn what_is_told_is_shown_and_decides_the_exit_code() {
        let told = [
            r#"{"event":"planned","image":"i:2","workloads":["a","b"],"current":["c"],"refused":[]}"#,
            r#"{"event":"started","workload":"a"}"#,
            r#"{"event":"from-the-future"}"#,
            r#"{"event":"done","workload":"a","ms":7,"cut":null,"more":1}"#,
            r#"{"event":"failed","workload":"b","what":"no"}"#,
            r#"{"event":"finished","upgraded":1,"failed":1,"left":0}"#,
        ];
        let mut shown = Shown::default();
        let text: String = told.iter().map(|line| shown.text(&serde_json::from_str(line).unwrap())).collect();
        assert_eq!(
            text,
            "i:2: 2 sidecars to replace: a, b, 1 have it already\n[1/2] a: the new sidecar starts\n[1/2] a: the old one has \
             ended after 7 ms\n[1/2] b: no\n1 replaced, 1 failed\n"
        );
        assert_eq!(shown.end(false).unwrap(), ExitCode::FAILURE);
        assert!(Shown::default().end(false).is_err(), "cut off");
        assert_eq!(Shown::default().end(true).unwrap(), ExitCode::SUCCESS);
    }
}
