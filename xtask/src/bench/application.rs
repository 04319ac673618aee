//! The application behind the proxies, and the programs that load them; all on the other CPU.

use std::net::SocketAddr;

use super::process::{Process, free_port, pinned};
use super::program::fill;
use super::{Bench, Outcome, ask, tools};

/// Keep-alive connections of the HTTP/1.1 load.
const CONNECTIONS: &str = "64";
/// Connections and streams of each of the HTTP/2 load.
const H2_CONNECTIONS: &str = "10";
const H2_STREAMS: &str = "10";

/// nginx with fixed answers, in one process.
pub struct Application {
    _process: Process,
    pub http1: SocketAddr,
    /// HTTP/2 with prior knowledge.
    pub http2: SocketAddr,
}

impl Application {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(bench: &Bench) -> Outcome<Self> {
        let (http1, http2) = (free_port()?, free_port()?);
        bench.scratch.write("64k", &"x".repeat(Body::Large.bytes()))?;
        let words = [
            ("folder", bench.scratch.0.display().to_string()),
            ("http1", http1.to_string()),
            ("http2", http2.to_string()),
            ("body", "x".repeat(Body::Small.bytes())),
        ];
        let text = fill(include_str!("peers/nginx/application.conf"), &words);
        let file = bench.scratch.write("application.conf", &text)?;
        let mut command = tools::command("nginx");
        command.arg("-c").arg(file).arg("-e").arg(bench.scratch.path("nginx-early.log"));
        let mut process =
            Process::start("application", &command, bench.cpus.load.as_deref(), &bench.scratch)?;
        process.listens(http1)?;
        process.listens(http2)?;
        Ok(Self { _process: process, http1, http2 })
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub enum Body {
    /// 1 KiB.
    Small,
    /// 64 KiB.
    Large,
}

impl Body {
    pub fn bytes(self) -> usize {
        match self {
            Self::Small => 1024,
            Self::Large => 64 * 1024,
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Small => "/",
            Self::Large => "/64k",
        }
    }
}

/// One answer is 200 and has the whole body.
///
/// # Errors
/// It is not; the text says what came.
pub fn check(entry: SocketAddr, body: Body) -> Outcome<()> {
    match ask::get(entry, body.path()) {
        Some((200, text)) if text.len() == body.bytes() => Ok(()),
        Some((status, text)) => Err(format!("answered with {status} and {} bytes", text.len())),
        None => Err("does not answer".into()),
    }
}

/// Requests over HTTP/1.1, as fast as they are answered; how many in that time. With `anew` each has a connection
/// of its own.
///
/// # Errors
/// One failed, was not answered with 200, or lacks a part of its body.
pub fn http1(bench: &Bench, entry: SocketAddr, body: Body, anew: bool, seconds: u64) -> Outcome<f64> {
    let mut wrk = tools::command("wrk");
    wrk.args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
    if anew {
        wrk.args(["-H", "Connection: close"]);
    }
    wrk.arg(format!("http://{entry}{}", body.path()));
    let said = output(bench, &wrk)?;
    let done = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests = done.and_then(|(requests, _)| requests.parse::<f64>().ok()).unwrap_or_default();
    let read = done.and_then(|(_, rest)| size(rest.split_once(", ")?.1.strip_suffix(" read")?));
    let whole = read.is_some_and(|read| read >= requests * body.bytes() as f64);
    if requests == 0.0 || said.contains("Non-2xx") || said.contains("Socket errors") || !whole {
        return Err(format!("requests failed under load:\n{said}"));
    }
    Ok(requests)
}

/// The same over HTTP/2: ten connections of ten streams.
///
/// # Errors
/// As [`http1`].
pub fn http2(bench: &Bench, entry: SocketAddr, seconds: u64) -> Outcome<f64> {
    let mut h2load = tools::command("h2load");
    h2load.args(["-t", "1", "-c", H2_CONNECTIONS, "-m", H2_STREAMS, "-D", &seconds.to_string()]);
    h2load.arg(format!("http://{entry}{}", Body::Small.path()));
    let said = output(bench, &h2load)?;
    let requests = answered(&said).ok_or_else(|| format!("requests failed under load:\n{said}"))?;
    // "traffic: 10MB (…) total, 1MB (…) headers (…), 9MB (9437184) data"
    let data = said
        .lines()
        .find(|line| line.starts_with("traffic:"))
        .and_then(|line| line.rsplit_once(" (")?.1.split_once(')')?.0.parse::<f64>().ok());
    if data.is_none_or(|data| data < requests * Body::Small.bytes() as f64) {
        return Err(format!("bodies are short:\n{said}"));
    }
    Ok(requests)
}

/// How many requests h2load saw answered with 2xx; none where others were not.
pub fn answered(said: &str) -> Option<f64> {
    let requests = said.lines().find(|line| line.starts_with("requests:"))?;
    let codes = said.lines().find(|line| line.starts_with("status codes:"))?;
    // Of the last requests a status may have come and not the body: they are no successes yet.
    let number = |line: &str, name: &str| {
        let before = line.split_once(&format!(" {name}"))?.0;
        before.rsplit([' ', ':']).next()?.parse::<f64>().ok()
    };
    let wrong = ["failed", "errored", "timeout"].iter().filter_map(|name| number(requests, name));
    let other = ["3xx", "4xx", "5xx"].iter().filter_map(|name| number(codes, name));
    let good = number(requests, "succeeded").filter(|good| *good > 0.0);
    good.filter(|_| wrong.chain(other).sum::<f64>() == 0.0)
}

/// What a load on its CPU prints.
///
/// # Errors
/// It cannot be started.
pub fn output(bench: &Bench, command: &std::process::Command) -> Outcome<String> {
    let output = pinned(command, bench.cpus.load.as_deref()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// wrk's `1.50GB`, rounded to two places, as the most that it may stand for.
fn size(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)? {
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    Some((digits.parse::<f64>().ok()? + 0.005) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_anything_but_2xx_does_not_count() {
        let said = |failed: u32, other: u32| {
            format!(
                "finished in 1.00s, 10.00 req/s, 11.00KB/s\n\
                 requests: 12 total, 12 started, 12 done, 10 succeeded, {failed} failed, 0 errored, 0 timeout\n\
                 status codes: 11 2xx, 0 3xx, 0 4xx, {other} 5xx\n"
            )
        };
        assert_eq!(answered(&said(0, 0)), Some(10.0));
        assert_eq!(answered(&said(1, 0)), None);
        assert_eq!(answered(&said(0, 1)), None);
        assert_eq!(answered("finished"), None);
    }

    #[test]
    fn sizes_of_wrk() {
        assert_eq!(size("2.00KB"), Some(2.005 * 1024.0));
        assert_eq!(size("x"), None);
    }
}
